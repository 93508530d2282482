"""A command in a process of its own that is a fork of this one: what every command imports is imported once.

`python -m relprop` takes seconds before it begins. Where a test asks what befalls a command later on, a fork is as
good: it has its own memory, descriptors, limits and signals. How a command begins from nothing is tested elsewhere.
"""

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import contextmanager

import sklearn.datasets  # noqa: F401 - seconds, for every fork that draws digits; here once

from relprop.cli import main

PATIENCE = 300
"""Seconds that a command may take."""


class Command:
    """A running command, to be asked as `subprocess.Popen` is; it must not fork while it has threads of its own."""

    def __init__(self, words, prepare):
        self.told = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - `started` closes them
        self.returncode = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons', where the runner of tests has threads
            self.pid = os.fork()
        if self.pid == 0:
            self._work(words, prepare)

    def _work(self, words, prepare):
        """What `python -m relprop` does, in the fork; never returns."""
        code = 1
        try:
            for number, file in enumerate(self.told, start=1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
            warnings.resetwarnings()  # and then as Python begins
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sys.argv = ["relprop", *map(str, words)]
            prepare()
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:  # noqa: BLE001 - as Python itself does it
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def poll(self):
        """The exit code, the negative number of the signal that ended it, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, patience=PATIENCE):
        """Its exit code, once it has ended."""
        end = time.monotonic() + patience
        while self.poll() is None:
            assert time.monotonic() < end, f"not done after {patience} seconds"
            time.sleep(0.01)
        return self.returncode

    def communicate(self, patience=PATIENCE):
        """What it said to stdout and to stderr, once it has ended."""
        self.wait(patience)
        return self.said(0), self.said(1)

    def said(self, which=0):
        """What it has said so far, to stdout (0) or to stderr (1)."""
        return os.pread(self.told[which].fileno(), 1 << 20, 0).decode()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)


@contextmanager
def started(*words, prepare=lambda: None):
    """A command of relprop, which does not outlive the block; `prepare` is called in it before it begins."""
    command = Command(words, prepare)
    try:
        yield command
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
        for file in command.told:
            file.close()
