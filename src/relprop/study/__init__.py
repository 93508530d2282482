"""The paper's study: rows measured once and kept on disk, and everything that is told from them.

    import relprop as rp
    from relprop.data.embedded import embedded

    model = rp.models.load("digits-shallow")
    study = rp.study.run(model, embedded(number=100), "results", methods=["cmp-alpha2-flat", "lrp-z", "uniform"])
    study.methods, study.mu_w.estimates()  # each mean with its 95 % interval
    rp.study.judge(study)                  # the paper's claims, each with a verdict
    rp.study.write_report("results", "report")

`docs/study.md` tells what is measured, and the same on the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Where each public name stands; imported when it is first used, as the rest of relprop is.
_PLACES = {
    "Claim": "relprop.study.verdict:Claim",
    "Study": "relprop.study.results:Study",
    "Verdict": "relprop.study.verdict:Verdict",
    "judge": "relprop.study.in_python:judge",
    "run": "relprop.study.in_python:run",
    "read": "relprop.study.in_python:read",
    "write_report": "relprop.study.in_python:write_report",
}

# The same again, for editors and mypy.
if TYPE_CHECKING:
    from relprop.study.in_python import judge as judge
    from relprop.study.in_python import read as read
    from relprop.study.in_python import run as run
    from relprop.study.in_python import write_report as write_report
    from relprop.study.results import Study as Study
    from relprop.study.verdict import Claim as Claim
    from relprop.study.verdict import Verdict as Verdict

__all__ = [*_PLACES]  # noqa: PLE0604


if not TYPE_CHECKING:  # to a type checker, a module with this function has every name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'relprop.study' has no attribute {name!r}")
        module, _, attribute = _PLACES[name].partition(":")
        return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(_PLACES)
