"""A process per case, for programs that limit their own memory; what all of them import is imported once."""

import os
import sys
import traceback


def for_each(cases, work):
    """Do the work of each case in a fork of this process, one after the other; leave with an error if one failed."""
    failed = False
    for case in cases:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(case)
                code = 0
            except BaseException:  # noqa: BLE001 - it is printed, and the process ends
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        failed |= os.waitpid(pid, 0)[1] != 0
    sys.exit(int(failed))
