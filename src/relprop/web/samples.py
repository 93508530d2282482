"""Pictures that are in the package, to begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

from relprop.data.sample import FILE
from relprop.support.suggest import did_you_mean
from relprop.web.document import Code
from relprop.web.refused import Refused, shown

SAMPLES = {"digits": "Two digits on a cluttered photograph"}
"""What each shows, by name."""

DIGITS = Code("sample()", ("from relprop.data.sample import sample",))


@dataclass(frozen=True)
class Sample:
    """One of them.

    Attributes:
        data: gives its file's bytes.
        code: how Python code gets at it.
    """

    data: Callable[[], bytes]
    code: Code


def sample(name: str) -> Sample:
    """Return a picture by its name.

    Raises:
        Refused: there is none of that name.
    """
    if name not in SAMPLES:
        raise Refused(404, f"no sample {shown(name)!r}{did_you_mean(name, SAMPLES)}")
    return Sample(_digits, DIGITS)


def _digits() -> bytes:
    return (resources.files("relprop.data") / FILE).read_bytes()
