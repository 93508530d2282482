"""Who is timed: each is made ready for a stage, and then is one call without arguments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from inspect import signature
from typing import Any

import torch
from captum.attr import LRP  # type: ignore[import-untyped]
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from zennit import rules  # type: ignore[import-untyped]
from zennit.attribution import Gradient  # type: ignore[import-untyped]
from zennit.composites import layer_map_base  # type: ignore[import-untyped]
from zennit.core import Composite  # type: ignore[import-untyped]
from zennit.torchvision import ResNetCanonizer  # type: ignore[import-untyped]

import relprop as rp
from benchmarks import floor
from benchmarks.cases import ALL, EIGHT, TEN
from benchmarks.networks import NETWORKS, Stage, layers

Call = Callable[[], object]
Contender = Callable[[Stage, str], AbstractContextManager[Call]]

EPS = 1e-6


class UnavailableError(Exception):
    """A contender cannot do this case; the message says why, for the table."""


def rules_of(it: Stage, method: str) -> dict[str, str]:
    """Return which rule each weighted layer has under a method, by module path."""
    return floor.rules_of(rp.plan(it.model, it.x[:1], method))


# -- what the others are measured against -----------------------------------------------------------


@contextmanager
def forward(it: Stage, _: str) -> Iterator[Call]:
    """Run the model, with no gradient wanted."""

    def call() -> Tensor:
        with torch.no_grad():
            out: Tensor = it.model(it.x)
            return out

    yield call


@contextmanager
def gradient(it: Stage, _: str) -> Iterator[Call]:
    """Compute the gradient of the target's logit by the input, and no weight's (no parameter requires one)."""

    def call() -> Tensor:
        x = it.x.detach().requires_grad_()
        logit = it.model(x).gather(1, it.target[:, None]).sum()
        return torch.autograd.grad(logit, x)[0]

    yield call


def _floor(four: bool) -> Contender:
    @contextmanager
    def ready(it: Stage, method: str) -> Iterator[Call]:
        rules = rules_of(it, method)
        if four and floor.ALPHA2 not in rules.values():
            raise UnavailableError("a ReLU above saves a pass with alpha 2 alone")
        passes = floor.floor(layers(it), rules, four)

        def call() -> None:
            with torch.no_grad():
                for each in passes:
                    each.call()

        yield call

    return ready


# -- relprop ----------------------------------------------------------------------------------------


@contextmanager
def relprop(it: Stage, method: str) -> Iterator[Call]:
    """Explain by relprop: audit and ledger at their defaults."""
    options = _options(it)
    yield lambda: rp.attribute(it.model, it.x, target=it.target, method=method, **options)


def _options(it: Stage) -> dict[str, Any]:
    """Return the precision of relevance, where it is not float32 and the engine lets it be chosen."""
    reduced = it.x.dtype != torch.float32 and "dtype" in signature(rp.attribute).parameters
    return {"dtype": it.x.dtype} if reduced else {}


@contextmanager
def ten_at_once(it: Stage, _: str) -> Iterator[Call]:
    """Explain ten classes of one picture by one call of relprop's."""
    yield lambda: rp.explain(it.model, it.x, targets=list(range(10)), methods=["cmp-alpha1-flat"])


@contextmanager
def ten_apart(it: Stage, _: str) -> Iterator[Call]:
    """Explain ten classes of one picture by ten calls of relprop's."""
    yield lambda: [rp.attribute(it.model, it.x, target=t, method="cmp-alpha1-flat") for t in range(10)]


@contextmanager
def eight_at_once(it: Stage, _: str) -> Iterator[Call]:
    """Explain by the paper's eight configurations in one call of relprop's."""
    yield lambda: rp.explain(it.model, it.x, targets=[it.target], methods=EIGHT)


@contextmanager
def eight_apart(it: Stage, _: str) -> Iterator[Call]:
    """Explain by the paper's eight configurations in eight calls of relprop's."""
    yield lambda: [rp.attribute(it.model, it.x, target=it.target, method=method) for method in EIGHT]


# -- zennit -----------------------------------------------------------------------------------------


def zennit_composite(it: Stage, method: str) -> Any:
    """Return the method as a composite of zennit's: the same rule in each weighted layer, after its own canonizer.

    The rules that need the fewest passes are taken: ZPlus for alpha 1.
    """
    eps = 1e-12 if method == "lrp-z" else EPS  # zennit divides by zero without one
    hooks = {
        floor.EPSILON: rules.Epsilon(eps),
        floor.ALPHA1: rules.ZPlus(),
        floor.ALPHA2: rules.AlphaBeta(2, 1),
        floor.FLAT: rules.Flat(),
    }
    chosen = rules_of(it, method)
    others = layer_map_base()

    def hook(_: dict[str, Any], path: str, module: nn.Module) -> Any:
        if path in chosen:
            return hooks[chosen[path]]
        return next((rule for kinds, rule in others if isinstance(module, kinds)), None)

    return Composite(hook, canonizers=[ResNetCanonizer()])  # merges BatchNorms; does no more without residual blocks


@contextmanager
def zennit(it: Stage, method: str) -> Iterator[Call]:
    """Explain by zennit; its hooks are registered, and BatchNorms merged, once and beforehand."""
    composite, model = zennit_composite(it, method), _own(it)
    with Gradient(model, composite) as attributor:
        yield lambda: attributor(it.x.clone(), _one_hot(it, it.target))


@contextmanager
def zennit_ten(it: Stage, _: str) -> Iterator[Call]:
    """Explain ten classes of one picture by ten runs of zennit's."""
    composite, model = zennit_composite(it, "cmp-alpha1-flat"), _own(it)
    with Gradient(model, composite) as attributor:
        yield lambda: [attributor(it.x.clone(), _one_hot(it, it.target * 0 + t)) for t in range(10)]


@contextmanager
def zennit_eight(it: Stage, _: str) -> Iterator[Call]:
    """Explain by the eight configurations in eight runs of zennit's, each of which registers its hooks."""
    composites, model = [zennit_composite(it, method) for method in EIGHT], _own(it)

    def call() -> None:
        for composite in composites:
            with Gradient(model, composite) as attributor:
                attributor(it.x.clone(), _one_hot(it, it.target))

    yield call


def _one_hot(it: Stage, target: Tensor) -> Tensor:
    return nn.functional.one_hot(target, NETWORKS[it.name].classes).to(it.x.dtype)


# -- Captum -----------------------------------------------------------------------------------------


@contextmanager
def captum(it: Stage, method: str) -> Iterator[Call]:
    """Explain by Captum in the nearest configuration that it has: alpha 1 stands in for the flat rule.

    Its ReLUs are made to work out of place, as its hooks want them.
    """
    chosen = rules_of(it, method)
    if floor.ALPHA2 in chosen.values():
        raise UnavailableError("Captum has no rule with alpha 2")
    if NETWORKS[it.name].residual:
        raise UnavailableError(
            "Captum knows additions only as a module of its own; in torchvision's ResNets, which add by themselves, it "
            "runs, but the relevance doubles at every addition"
        )
    model = _own(it)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

    def call() -> Tensor:
        for path, module in model.named_modules():  # Captum takes the rules away after every run
            if path in chosen:
                module.rule = EpsilonRule(EPS) if chosen[path] == floor.EPSILON else Alpha1_Beta0_Rule()
            elif isinstance(module, nn.Flatten | nn.BatchNorm2d):
                module.rule = EpsilonRule()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own, at every run
            out: Tensor = LRP(model).attribute(it.x.clone().requires_grad_(), target=it.target)
        return out.detach()

    yield call


def _own(it: Stage) -> nn.Module:
    """Return a model that may be changed."""
    return deepcopy(it.model) if it.copy else it.model


# -- all of them ------------------------------------------------------------------------------------

BASES: dict[str, Contender] = {"forward": forward, "gradient": gradient}
OURS: dict[str, Contender] = {"floor": _floor(four=False), "floor-four": _floor(four=True), "relprop": relprop}
PEERS: dict[str, Contender] = {"zennit": zennit, "captum": captum}
SHARING: dict[str, dict[str, Contender]] = {
    TEN: {"relprop": ten_at_once, "relprop-apart": ten_apart, "zennit": zennit_ten},
    ALL: {"relprop": eight_at_once, "relprop-apart": eight_apart, "zennit": zennit_eight},
}
FOREIGN = frozenset(PEERS)
"""Whose failures are told in the table; another's ends the run."""


def contenders(method: str) -> dict[str, Contender]:
    """Return who takes part in a case, in the order of its rounds."""
    if method in SHARING:
        return {"gradient": gradient, **SHARING[method]}
    return {**BASES, **OURS, **PEERS}


class Counter(TorchDispatchMode):
    """Adds up floating-point operations by PyTorch's table of them.

    PyTorch's own counter follows modules by hooks, and those do not go with zennit's and Captum's.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call, and count it if it is in the table."""
        del types
        out = func(*args, **(kwargs or {}))
        flops = flop_registry.get(func.overloadpacket)
        if flops is not None:
            self.total += flops(*args, **(kwargs or {}), out_val=out)
        return out


def counted(call: Call) -> int:
    """Return the floating-point operations of the convolutions and matrix products that a call makes."""
    counter = Counter()
    with counter:
        call()
    return counter.total
