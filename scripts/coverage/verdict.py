"""What becomes of one case: a map that holds against every judge, a clear error, or a defect."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

import torch
from scripts.coverage.cases import Case
from scripts.coverage.judge import judged
from torch import Tensor, nn

import relprop as rp
from relprop.tape.trees import mapped, tensors_of

BOUND = 1e-5
"""Largest difference to the judge in float64, over the largest relevance: above it somebody is wrong."""


def shaken(model: nn.Module) -> nn.Module:
    """BatchNorm statistics that are not trivial, and biases that are not 0."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:  # noqa: SLF001
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.normal_(0, 0.05)
    return model.eval()


class TooLong(Exception):  # noqa: N818 - raised by a signal, and caught here
    """A case took more than its time."""


def _ring(*_: Any) -> None:
    raise TooLong


def verdict(case: Case, seconds: int) -> dict[str, Any]:
    """What became of it: a status, and what was seen."""
    torch.manual_seed(0)
    signal.signal(signal.SIGALRM, _ring)
    signal.alarm(seconds)
    began = time.monotonic()
    found: dict[str, Any] = {"group": case.group, "name": case.name}
    try:
        found |= _of(case)
    except TooLong:
        found |= {"status": "timeout"}
    except Exception as error:  # noqa: BLE001 - a defect of ours, to be told
        found |= {"status": "crash", "why": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    signal.alarm(0)
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _of(case: Case) -> dict[str, Any]:
    try:
        model, x, target = case.make()
        model = shaken(model)
        with torch.no_grad():
            own = model(**x) if isinstance(x, Mapping) else model(*x) if isinstance(x, tuple) else model(x)
    except TooLong:
        raise
    except Exception as error:  # noqa: BLE001 - the network's own
        return {"status": "fails by itself", "why": f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"}
    try:
        e = rp.explain(model, x, [target], ["lrp-z", "cmp-alpha2-flat"], check=True)
    except rp.RelpropError as error:
        return {"status": "refused", "why": str(error)[:600]}
    gap = max(ledger.error for ledger in e.ledger.values())
    open_ = any(bool(ledger.open.any()) for ledger in e.ledger.values())
    if open_ or not all(bool(torch.isfinite(R).all()) for R in tensors_of(e.relevance)):
        return {"status": "wrong", "why": f"ledger {gap:.1e}, or not finite"}
    off = _off(e.outputs, own)
    if off > 1e-4:
        return {"status": "wrong", "why": f"outputs {off:.0e} off the model's own"}
    return {"status": "map", "ledger": gap, "off": off} | _in_float64(model, x, target)


def _off(ours: Any, own: Any) -> float:
    """How far the logits are from the model's own, over the largest: 0, but where torch itself has two ways."""
    theirs = getattr(own, "logits", own)
    if not (isinstance(ours, Tensor) and isinstance(theirs, Tensor) and ours.shape == theirs.shape):
        return 0.0
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))


def _in_float64(model: nn.Module, x: Any, target: Any) -> dict[str, Any]:
    """Pictures alone against a batch, and the judge."""
    model = model.double().requires_grad_(False)  # the judge tells values from constants by their gradients
    x = mapped(Tensor, lambda t: t.double(), dict(x) if isinstance(x, Mapping) else x)
    try:
        with torch.no_grad():  # constants of an op's are made at its first run
            model(**x) if isinstance(x, Mapping) else model(*x) if isinstance(x, tuple) else model(x)
    except RuntimeError:  # it makes numbers in float32, whatever it is made of
        return {}
    whole = rp.explain(model, x, [target], ["lrp-z"])
    R = tensors_of(whole.relevance["lrp-z"])
    largest = max(float(r.abs().max()) for r in R) or 1.0
    batch = len(R[0][0])
    found: dict[str, Any] = {}
    if batch > 1:
        try:
            alone = rp.explain(model, mapped(Tensor, lambda t: t[:1], x), [target], ["lrp-z"])
        except rp.InputError:  # it takes batches of this size alone
            return found | _by_judge(model, x, target, R[0][0], largest)
        pairs = zip(R, tensors_of(alone.relevance["lrp-z"]), strict=True)
        found["batch"] = max(float((a[:, :1] - b).abs().max()) for a, b in pairs) / largest
    found |= _by_judge(model, x, target, R[0][0], largest)
    bad = found.get("batch", 0.0) > BOUND
    return found | ({"status": "wrong", "why": f"alone {found['batch']:.0e} off its batch"} if bad else {})


def _by_judge(model: nn.Module, x: Any, target: Any, R: Tensor, largest: float) -> dict[str, Any]:
    """How far the judge is off."""
    found: dict[str, Any] = {}
    if isinstance(x, tuple) or not (isinstance(target, int) or callable(target)):
        return found
    (given,) = x.values() if isinstance(x, Mapping) else (x,)

    def logits(t: Tensor) -> Tensor:
        y = model(**{next(iter(x)): t}) if isinstance(x, Mapping) else model(t)
        y = getattr(y, "logits", y)
        return target(y)[:, None] if callable(target) else y

    with torch.random.fork_rng():
        theirs, unsure = judged(logits, given, 0 if callable(target) else target)
    found["judge"] = float((R - theirs).abs().max()) / largest
    if found["judge"] > BOUND and not unsure:
        moved = rp.attribute(model, mapped(Tensor, lambda t: t * (1 + 1e-15), x), target, "lrp-z")
        unsure = "rounding moves it" * (float((moved - R).abs().max()) / largest > found["judge"] / 100)
    if unsure:
        found["unsure"] = unsure
    bad = found["judge"] > BOUND and not unsure
    return found | ({"status": "wrong", "why": f"judge {found['judge']:.0e}"} if bad else {})
