"""Explain the decisions of PyTorch models with Layer-wise Relevance Propagation, exactly.

    import relprop as rp

    R = rp.attribute(model, x, target=243)  # relevance of x's shape

See `relprop --help` for the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name stands. It is imported when it is first used, so that `relprop --help` needs no torch.
_PLACES = {
    "Check": "relprop.checking:Check",
    "Composite": "relprop.composites.composite:Composite",
    "Explanation": "relprop.explanation:Explanation",
    "InputError": "relprop.support.errors:InputError",
    "Patterns": "relprop.catalogue.patterns:Patterns",
    "RelpropError": "relprop.support.errors:RelpropError",
    "RuleError": "relprop.support.errors:RuleError",
    "UnsupportedOp": "relprop.support.errors:UnsupportedOp",
    "at": "relprop.tokens:at",
    "attribute": "relprop.propagate:attribute",
    "check": "relprop.checking:check",
    "explain": "relprop.propagate:explain",
    "fit_patterns": "relprop.catalogue.pattern_fit:fit_patterns",
    "methods": "relprop.catalogue.table:methods",
    "metrics": "relprop.metrics",
    "models": "relprop.models",
    "on": "relprop.composites.on",
    "plan": "relprop.planning:plan",
    "plots": "relprop.plots",
    "quantus": "relprop.quantus",
    "rules": "relprop.rules",
    "study": "relprop.study",
    "tune": "relprop.tools.tune:tune",
}

# The same again, for editors and mypy.
if TYPE_CHECKING:
    from relprop import metrics as metrics
    from relprop import models as models
    from relprop import plots as plots
    from relprop import quantus as quantus
    from relprop import rules as rules
    from relprop import study as study
    from relprop.catalogue.pattern_fit import fit_patterns as fit_patterns
    from relprop.catalogue.patterns import Patterns as Patterns
    from relprop.catalogue.table import methods as methods
    from relprop.checking import Check as Check
    from relprop.checking import check as check
    from relprop.composites import on as on
    from relprop.composites.composite import Composite as Composite
    from relprop.explanation import Explanation as Explanation
    from relprop.planning import plan as plan
    from relprop.propagate import attribute as attribute
    from relprop.propagate import explain as explain
    from relprop.support.errors import InputError as InputError
    from relprop.support.errors import RelpropError as RelpropError
    from relprop.support.errors import RuleError as RuleError
    from relprop.support.errors import UnsupportedOp as UnsupportedOp
    from relprop.tokens import at as at
    from relprop.tools.tune import tune as tune

__all__ = [*_PLACES]  # noqa: PLE0604


if not TYPE_CHECKING:  # to a type checker, a module with this function has every name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'relprop' has no attribute {name!r}")
        module, _, attribute = _PLACES[name].partition(":")
        found = import_module(module)
        return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(_PLACES)
