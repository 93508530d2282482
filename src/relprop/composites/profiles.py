"""Numeric conventions as data: ours is the original paper's, the others are those of named libraries.

A profile never adds a code path: it changes the numbers of the rules before the walk begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from relprop import rules
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from relprop.rules.layer import Rule


@dataclass(frozen=True)
class Profile:
    """The conventions in which libraries differ.

    Attributes:
        eps: the epsilon of named methods.
        eps_of_sums: the epsilon of the default rule of additions and averages; None: `eps`.
        overrides: for a rule's class, the fields that take another value, unless the user set them.
        ties: how a max-pool treats several equal winners: the "first" takes all, or they "split" evenly.
    """

    eps: float = 1e-6
    eps_of_sums: float | None = None
    overrides: Mapping[type[Rule], Mapping[str, Any]] = field(default_factory=dict)
    ties: str = "first"

    def default(self, rule: Rule | None) -> Rule | None:
        """The rule that an op has where the composite gives it none, in this profile's conventions."""
        if isinstance(rule, rules.Epsilon):
            return rules.Epsilon(self.eps if self.eps_of_sums is None else self.eps_of_sums)
        return rule

    def adapt(self, rule: Rule) -> Rule:
        """The rule in this profile's conventions."""
        if isinstance(rule, rules.Apart):
            return replace(rule, layer=self.adapt(rule.layer), bias=self.adapt(rule.bias))
        for kind, values in self.overrides.items():
            if type(rule) is kind:
                rule = replace(rule, **{name: v for name, v in values.items() if name not in rule.given})
        return rule


PROFILES: dict[str, Profile] = {
    "paper": Profile(),
    # Alber et al. (2019): the presets use eps 0.1; all of the bias joins both sides of alpha-beta, and z+ has
    # none; additions and averages follow LRP_z.
    "innvestigate": Profile(
        eps=0.1,
        eps_of_sums=0.0,
        overrides={rules.AlphaBeta: {"bias": "whole"}, rules.ZPlus: {"bias": False}},
    ),
    # Lapuschkin et al. (2016): equal winners of a max-pool share; the Caffe version divides the flat rule
    # by the area of the kernel at padded borders too.
    "toolbox": Profile(overrides={rules.Flat: {"padding": "kernel"}}, ties="split"),
    # Anders et al. (2021): every denominator is stabilised by 1e-6; w-square keeps b^2.
    "zennit": Profile(
        overrides={
            rules.AlphaBeta: {"eps": 1e-6},
            rules.ZPlus: {"eps": 1e-6},
            rules.Gamma: {"eps": 1e-6},
            rules.Flat: {"eps": 1e-6},
            rules.WSquare: {"eps": 1e-6, "bias": True},
            rules.ZBox: {"eps": 1e-6},
        },
    ),
}


def profile_named(name: str) -> Profile:
    """The profile of that name; InputError with the near name if there is none."""
    if name not in PROFILES:
        raise InputError(f"no profile is named {name!r}{did_you_mean(name, PROFILES)}")
    return PROFILES[name]
