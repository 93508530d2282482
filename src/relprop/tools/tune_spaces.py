"""The spaces that `tune` knows by name, each as plain data; `tune_space` says what they mean."""

from __future__ import annotations

from typing import Any

_INPUT = "on.first(1) & ~on.head"
_CONVS = "on.weighted & ~on.head"
_SIDES = {"rule": "AlphaBeta", "alpha": [1.0, 2.0], "bias": [True, False]}


def _gamma(*gammas: float) -> dict[str, Any]:
    return {"rule": "Gamma", "gamma": list(gammas)}


def _slot(on: str | list[str], *rules: Any) -> dict[str, Any]:
    return {"on": on, "rules": list(rules)}


def _thirds(low: list[Any], middle: list[Any], high: list[Any]) -> list[dict[str, Any]]:
    """Rules by depth: the lowest third of the layers below the fully connected ones, the highest, and what is left."""
    return [
        _slot(f"on.first(0.33, of={_CONVS})", *low),
        _slot(f"on.last(0.33, of={_CONVS})", *high),
        _slot(_CONVS, *middle),
    ]


_FLAT = [_slot(_INPUT, "none", "Flat"), _slot(f"on.first(3, of={_CONVS})", "none", "Flat")]

SPACES: dict[str, dict[str, Any]] = {
    # The paper's composites, with the biases in and out, and gamma: 2 x 6.
    "small": {
        "name": "small",
        "slot": [
            _slot(_INPUT, "none", "Flat"),
            _slot("on.head", "Epsilon"),
            _slot("on.weighted", _SIDES, _gamma(0.25), "ZPlus"),
        ],
    },
    # Flat on none, the lowest or the lowest three; below and above another rule: 4 x 5 x 6 = 120, 90 of them distinct.
    "default": {
        "name": "default",
        "slot": [
            *_FLAT,
            _slot("on.head", "Epsilon"),
            _slot(f"on.last(0.33, of={_CONVS})", _SIDES, _gamma(0.25), "Epsilon"),
            _slot("on.weighted", _SIDES, _gamma(0.25)),
        ],
    },
    # A rule for each third of the layers, more numbers, two epsilons, zB: 6,048; drawn from the seed.
    "large": {
        "name": "large",
        "slot": [
            _slot(_INPUT, "none", "Flat", "ZBox", "WSquare"),
            _slot(f"on.first(3, of={_CONVS})", "none", "Flat"),
            _slot("on.head", {"rule": "Epsilon", "eps": [1e-6, 0.1]}),
            *_thirds(
                [_SIDES, _gamma(0.1, 0.5)],
                [_SIDES, _gamma(0.1, 0.5, 1.0)],
                [_SIDES, _gamma(0.1, 0.5), {"rule": "Epsilon", "eps": [1e-6, 0.1]}, "Z"],
            ),
        ],
    },
    # Numbers of ranges, for Optuna: gamma and alpha of each third.
    "gamma": {
        "name": "gamma",
        "slot": [
            *_FLAT,
            _slot("on.head", "Epsilon"),
            *_thirds(
                *(
                    [
                        {"rule": "Gamma", "gamma": {"from": 0.01, "to": 10.0, "log": True}},
                        {"rule": "AlphaBeta", "alpha": {"from": 1.0, "to": 3.0}, "bias": [True, False]},
                    ]
                    for _ in range(3)
                )
            ),
        ],
    },
    # For networks that attend: attention's weights as a gate or not, gamma in convolutions and linear layers: 30.
    "attention": {
        "name": "attention",
        "slot": [
            _slot("on.attention", {"rule": "Attend", "through": ["all", "values"]}),
            _slot("on.conv", _gamma(0.25), "ZPlus", "Epsilon"),
            _slot("on.linear & ~on.projection", "none", _gamma(0.05, 0.1, 0.25, 1.0)),
            _slot("on.any", "Epsilon"),
        ],
    },
}
