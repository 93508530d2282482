"""Methods for networks that attend.

References: Achtibat et al. (2024), "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers"; Ali et
al. (2022), "XAI for Transformers: Better Explanations through Conservative Propagation". Gamma for pictures is how the
first of them explains vision transformers; which numbers suit is told by measurement (docs/transformers.md).

Epsilon is 0 unless it is given, also under a profile: 1e-6 alone moves the tokens of a real model by 4e-4.
"""

from __future__ import annotations

from relprop.catalogue.presets import Options
from relprop.composites import on
from relprop.composites.composite import Composite
from relprop.rules.attend import Attend
from relprop.rules.lrp import Epsilon, Gamma

CONV, LINEAR = 0.25, 0.05
"""Gamma in convolutions and in linear layers."""


def attnlrp(options: Options) -> Composite:
    """AttnLRP: relevance goes through queries and keys as well; epsilon everywhere else."""
    return _everywhere(options, options.through or "all")


def cp_lrp(options: Options) -> Composite:
    """CP-LRP: attention's weights are a gate; epsilon everywhere else."""
    return _everywhere(options, "values")


def attnlrp_vit(options: Options) -> Composite:
    """Gamma in convolutions and linear layers, for pictures; attention's weights are a gate."""
    conv, linear = (g if g is not None else options.gamma for g in (options.conv, options.linear))
    eps = options.eps or 0.0
    attend = (on.attention, Attend(eps, options.through or "values"))
    as_they_are = [(on.projection, Epsilon(eps))] if options.projections == "off" else []
    return Composite(
        [
            attend,
            *as_they_are,
            (on.conv, Gamma(CONV if conv is None else conv, eps)),
            (on.linear, Gamma(LINEAR if linear is None else linear, eps)),
            (on.any, Epsilon(eps)),
        ]
    )


def _everywhere(options: Options, through: str) -> Composite:
    eps = options.eps or 0.0
    return Composite([(on.attention, Attend(eps, through)), (on.any, Epsilon(eps))])
