"""A test bed whose truth is known: `run` measures, `write` makes tables, figures and a page of what was found.

docs/testbed.md says what is measured. `bench` is what a protocol is; `redrawn`, `mosaics`, `apart` and `planted` are
the protocols.
"""

from relprop.tools.testbed.report import Written, write
from relprop.tools.testbed.results import TestBed
from relprop.tools.testbed.running import run

__all__ = ["TestBed", "Written", "run", "write"]
