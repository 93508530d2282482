"""Explain the decisions of PyTorch models with Layer-wise Relevance Propagation, exactly.

    import relprop as rp

    R = rp.attribute(model, x, target=243)  # relevance of x's shape

See `relprop --help` for the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives. They are imported when first used, so that `relprop --help` needs no torch.
_HOMES = {
    "attribute": "relprop.propagate",
    "explain": "relprop.propagate",
    "Explanation": "relprop.propagate",
    "plan": "relprop.planning",
    "fit_patterns": "relprop.catalogue.pattern_fit",
    "Patterns": "relprop.catalogue.patterns",
    "Composite": "relprop.composites.composite",
    "RelpropError": "relprop.support.errors",
    "InputError": "relprop.support.errors",
    "RuleError": "relprop.support.errors",
    "UnsupportedOp": "relprop.support.errors",
}
_MODULES = {
    "metrics": "relprop.metrics",
    "models": "relprop.models",
    "on": "relprop.composites.on",
    "rules": "relprop.rules",
}

if TYPE_CHECKING:
    from relprop import metrics, models, rules
    from relprop.catalogue.pattern_fit import fit_patterns
    from relprop.catalogue.patterns import Patterns
    from relprop.composites import on
    from relprop.composites.composite import Composite
    from relprop.planning import plan
    from relprop.propagate import Explanation, attribute, explain
    from relprop.support.errors import InputError, RelpropError, RuleError, UnsupportedOp

__all__ = [
    "Composite",
    "Explanation",
    "InputError",
    "Patterns",
    "RelpropError",
    "RuleError",
    "UnsupportedOp",
    "attribute",
    "explain",
    "fit_patterns",
    "methods",
    "metrics",
    "models",
    "on",
    "plan",
    "rules",
]


def methods() -> list[str]:
    """The name of every method."""
    from relprop.catalogue.baselines import BASELINES  # noqa: PLC0415  (imports torch)
    from relprop.catalogue.presets import PRESETS  # noqa: PLC0415

    return [*PRESETS, *BASELINES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'relprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
