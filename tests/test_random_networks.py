"""Random networks by random composites, against LRP written into autograd: 1e-10, whatever the inside looks like.

`pytest tests/test_random_networks.py --networks 5000` runs as many; a failing test prints the network's source.
"""

import random
from dataclasses import dataclass, field

import pytest
import torch

import relprop as rp
from autograd_reference import Reference
from random_networks import CLASSES, random_network
from reference_composites import NAMED, STARTS_AT_ONE, RefusedError, as_relprop
from reference_program import OpaqueError

BOUND = 1e-10
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@dataclass
class Tally:
    """What the networks of this run came to."""

    networks: int = 0
    maps: int = 0
    refused: list[int] = field(default_factory=list)
    composites_refused: int = 0
    unsure: list[int] = field(default_factory=list)
    worst: float = 0.0
    where: str = ""


@pytest.fixture(scope="session")
def tally():
    return Tally()


# -- composites ----------------------------------------------------------------------------------------


def random_rule(rng):
    """Any rule of the paper with any numbers."""
    rules = [
        ("Z",),
        ("Epsilon", rng.choice([1e-6, 0.01, 0.3])),
        ("AlphaBeta", rng.choice([1.0, 2.0, 3.0])),
        ("AlphaBeta", rng.choice([1.0, 2.0, 0.5]), None, rng.choice([True, False])),
        ("AlphaBeta", rng.choice([1.0, 2.0, 0.0]), None, "whole"),
        ("ZPlus",),
        ("Gamma", rng.choice([0.0, 0.25, 2.0])),
        ("WSquare",),
        ("WSquare", True),
        ("ZBox", -2.5, rng.choice([1.0, 3.0])),
        ("Pass",),
    ]
    return rng.choice(rules)


def random_composite(rng, net):
    """An ordered list that ends in a rule for every layer."""
    not_head = ("and", ("conv",), ("not", ("head",)))
    paths = sorted({step.path for step in net.steps if step.path})
    entries = []
    for _ in range(rng.choice([0, 1, 2, 3])):
        n = rng.choice([1, 1, 2, 3])
        selector = rng.choice(
            [
                ("first", n, ("weighted",)),
                ("last", n, ("weighted",)),
                ("last", n, ("conv",)),
                ("head",),
                ("conv",),
                ("linear",),
                ("pool",),
                ("norm",),
                ("add",),
                ("or", ("pool",), ("add",)),
                ("path", rng.choice(paths or ["*"])),
                ("path", "conv*"),
                ("not", ("first", n, ("weighted",))),
            ]
        )
        entries.append((selector, random_rule(rng)))
    if rng.random() < 0.5:
        selector = rng.choice(
            [not_head, ("first", 2, not_head), ("pool",), ("add",), ("norm",), ("or", ("pool",), not_head)]
        )
        entries.insert(0, (selector, ("Flat", *rng.choice([(), (), ("kernel",)]))))
    last = rng.choice([("any",), ("weighted",)])
    return [*entries, (last, random_rule(rng))]


def drawn(seed, net, *, named=3, own=2):
    """Some methods by name and some composites, as data."""
    rng = random.Random(-seed)
    methods = {name: NAMED[name] for name in rng.sample([*NAMED], named)}
    return methods | {f"own {k}": random_composite(rng, net) for k in range(own)}


def for_engine(name, composite):
    """A method as the engine takes it: by its name if it has one."""
    return name if name in NAMED else as_relprop(composite)


# -- the comparison ------------------------------------------------------------------------------------


def compared(net, x, methods, targets, tally):
    """Check every method and target of a network; all that the engine takes go in one walk."""
    judge = Reference(net, x)
    expected, refused = {}, set()
    for name, composite in methods.items():
        one = name in STARTS_AT_ONE
        try:
            maps = [(judge.relevance(composite, t, one=one), judge.largest) for t in targets]
        except RefusedError:
            refused.add(name)
            continue
        expected[name] = maps
    for name in refused:
        with pytest.raises(rp.RuleError):
            rp.attribute(net, x, 0, for_engine(name, methods[name]))
    taken = {name: for_engine(name, methods[name]) for name in expected}
    if not taken:
        return
    e = rp.explain(net, x, list(targets), taken)
    torch.testing.assert_close(e.outputs, judge.logits.detach(), rtol=1e-12, atol=1e-12)
    for name, maps in expected.items():
        for k, (R, largest) in enumerate(maps):
            error = relative(e.relevance[name][k], R, largest)
            if error >= BOUND and error < unsure(net, x, methods[name], targets[k], R, largest):
                tally.unsure.append(net.seed)
                continue
            assert error < BOUND, f"{name} {methods[name]}\ntarget {targets[k]}: {error:.1e}\n{net}"
            tally.maps += 1
            if error > tally.worst:
                tally.worst, tally.where = error, f"network {net.seed}, {name}"
        adds_up(e, name, max(largest for _, largest in maps))
    tally.composites_refused += len(refused)


def relative(ours, R, largest):
    """The largest difference, relative to the largest sum of relevance over any value of the reference.

    Relevance is rounded at every op relative to what stands there. What reaches the input may be far less, where biases
    and cut values took the rest, so the map alone is no scale.
    """
    return float((ours - R).abs().max()) / max(largest, 1e-300)


def unsure(net, x, composite, target, R, largest):
    """What rounding may do: a hundred times what the map moves by if numbers move by their last digit.

    Denominators without a stabiliser may be as near to zero as they like; it takes thousands of networks to meet one
    that is near enough to be seen.
    """
    return 100 * relative(Reference(net, x, shake=2e-16).relevance(composite, target), R, largest)


def adds_up(e, name, largest):
    """Every row of the ledger, and all of them together."""
    rows = e.ledger[name]
    for row in rows:
        gap = row.relevance_in - row.relevance_out - row.bias - row.eps - row.lost
        assert gap.abs().max() <= BOUND * largest, f"{name}: {row.path} {row.op} {row.rule}"
    taken = sum(row.bias + row.eps + row.lost for row in rows)
    start = rows[0].relevance_in
    end = e.relevance[name].flatten(2).sum(2)
    assert (start - end - taken).abs().max() <= BOUND * largest * len(rows), name


def test_a_random_network_gives_what_autograd_gives(network_seed, tally):
    net, x = random_network(network_seed)
    tally.networks += 1
    targets = [torch.full((len(x),), network_seed % CLASSES), (torch.arange(len(x)) + 1) % CLASSES]
    try:
        compared(net, x, drawn(network_seed, net), targets[: 1 + network_seed % 2], tally)
    except rp.UnsupportedOp:
        tally.refused.append(network_seed)
    except OpaqueError:
        tally.refused.append(network_seed)
        with pytest.raises(rp.UnsupportedOp, match=r"no rule is known|nothing finite for 0"):
            rp.attribute(net, x, 0, "lrp-epsilon")


def test_few_networks_are_refused(tally):
    if tally.networks < 100:
        pytest.skip("too few networks to tell")
    print(f"\n{tally}")
    assert len(tally.refused) <= 0.02 * tally.networks
    assert len(tally.unsure) <= 2 + 1e-3 * tally.maps


# -- what must hold whatever the numbers are -----------------------------------------------------------


def taken_by_engine(seed, **count):
    """A network that the engine takes, its pictures, and methods that can be meant on it."""
    net, x = random_network(seed)
    methods = {}
    for name, composite in drawn(seed, net, **count).items():
        try:
            rp.attribute(net, x, 0, for_engine(name, composite))
        except rp.RelpropError:
            continue
        methods[name] = for_engine(name, composite)
    if not methods:
        pytest.skip("refused")
    return net, x, methods


def same(a, b, tolerance=1e-9):
    """Equal up to rounding, relative to the largest number."""
    return (a - b).abs().max() <= tolerance * b.abs().max()


some = pytest.mark.parametrize("seed", range(10_000, 10_024))


@some
def test_a_batch_gives_what_its_pictures_give(seed):
    net, _, methods = taken_by_engine(seed)
    x = torch.randn(3, *random_network(seed)[1].shape[1:], dtype=torch.float64)
    target = torch.tensor([0, 2, 3])
    together = rp.explain(net, x, [target], methods)
    for i in range(3):
        alone = rp.explain(net, x[[i]], [int(target[i])], methods)
        for name, R in together.relevance.items():
            assert same(R[:, [i]], alone.relevance[name]), f"{name}\n{net}"


@some
def test_targets_and_methods_together_give_what_each_gives_alone(seed):
    net, x, methods = taken_by_engine(seed, named=4, own=3)
    targets = [3, 0, 2]
    together = rp.explain(net, x, targets, methods)
    for name, method in methods.items():
        for k, target in enumerate(targets):
            assert same(together.relevance[name][k], rp.attribute(net, x, target, method)), f"{name}\n{net}"


@some
def test_relevance_is_linear_in_its_start(seed):
    net, x, methods = taken_by_engine(seed)
    methods.pop("excitation-backprop", None)
    for name, method in methods.items():
        logit = rp.explain(net, x, [1], {name: method})
        one = rp.explain(net, x, [1], {name: method}, start="one")
        factor = logit.outputs[:, 1, None, None, None]
        assert same(logit.relevance[name][0], factor * one.relevance[name][0]), f"{name}\n{net}"


def test_single_precision_is_near():
    """Most maps; where a denominator is near zero, or two inputs of a maximum are equal, single precision shows it."""
    errors = []
    for seed in range(20_000, 20_040):
        net, x, _ = taken_by_engine(seed, named=1, own=0)
        try:
            exact = rp.attribute(net, x, 1, "cmp-alpha1")
        except rp.RelpropError:
            continue
        R = rp.attribute(net.float(), x.float(), 1, "cmp-alpha1")
        assert R.dtype == torch.float32
        errors.append(float((R - exact).abs().max() / exact.abs().max().clamp(min=1e-12)))
    errors.sort()
    assert len(errors) >= 30
    assert errors[len(errors) // 2] < 1e-5
    assert errors[int(0.9 * len(errors))] < 1e-3


def test_a_plan_names_the_rules_that_were_applied():
    for seed in range(30_000, 30_012):
        net, x, methods = taken_by_engine(seed)
        for name, method in methods.items():
            applied = [(row.path, row.op, row.rule) for row in rp.explain(net, x, [0], {name: method}).ledger[name]]
            planned = [(step.path, step.op, step.rule) for step in rp.plan(net, x, method) if step.rule != "none"]
            assert applied == planned[::-1], f"{name}\n{net}"
