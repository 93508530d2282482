"""Work that processes of Ray are given in tests; they import it by its name."""

import os
import signal

from relprop.support.errors import InputError


def squares():
    """Opens in no time."""
    return lambda part: part**2


def refusing():
    """One part cannot be done."""

    def work(part):
        if part == 2:
            raise InputError("part two is no part")
        return part

    return work


def nothing():
    """Cannot be opened at all."""
    raise InputError("there is no such network")


def deadly():
    """Whoever does the first part dies of it."""

    def work(part):
        if part == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    return work


def failing():
    """The first part fails in whatever process."""

    def work(part):
        if part == 0:
            raise OSError(5, "Input/output error")
        return part

    return work
