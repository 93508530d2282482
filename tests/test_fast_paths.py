"""Every fast path is taken where it should be, and gives what the slow one gives."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

import relprop as rp
from conftest import Calls, randomised
from relprop.ops import layer as layer_file
from relprop.ops import parts
from relprop.record.prepare import recorded
from relprop.rules import division as stabilize
from relprop.tape.trees import mapped, tensors_of
from relprop.walk import walk

D = torch.float64
EVERY = ["lrp-z", "lrp-epsilon", "lrp-alpha1", "lrp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat:layers=stack"]
MIXED = {
    **{name: name for name in EVERY},
    "gamma": rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.3))]),
    # what flat and w-square hand down is not 0 where a ReLU gave 0, and the layer below divides it by what stood there
    "epsilon below flat": rp.Composite([(rp.on.path("4"), rp.rules.Flat()), (rp.on.weighted, rp.rules.Epsilon(1e-3))]),
    "gamma below w-square": rp.Composite(
        [(rp.on.path("4"), rp.rules.WSquare()), (rp.on.weighted, rp.rules.Gamma(0.3))]
    ),
}


def network(inplace, norm=False):
    return randomised(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            nn.ReLU(inplace=inplace),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3, groups=2),
            nn.ReLU(inplace=inplace),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 7),
            nn.ReLU(inplace=inplace),
            nn.Linear(7, 5),
        )
    )


def picture(batch=2):
    """For `Calls`."""
    return torch.randn(batch, 3, 8, 8, dtype=D)


def pictures(batch=3):
    return torch.randn(batch, 3, 12, 12, dtype=D)


def assert_same(a, b):
    assert a.relevance.keys() == b.relevance.keys()
    for name, R in a.relevance.items():
        assert R.abs().max() > 0
        torch.testing.assert_close(R, b.relevance[name], rtol=1e-11, atol=1e-13)
    for name, ledger in a.ledger.items():
        assert ledger.error < 1e-12
        for mine, theirs in zip(ledger, b.ledger[name], strict=True):
            for column in ("relevance_in", "relevance_out", "bias", "eps", "lost", "magnitude"):
                torch.testing.assert_close(getattr(mine, column), getattr(theirs, column), rtol=1e-9, atol=1e-12)


# -- what an in-place ReLU overwrote is not kept -----------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
def test_no_copy_is_kept_of_what_an_inplace_relu_alone_reads(norm):
    model, x = network(inplace=True, norm=norm), pictures()
    nodes = recorded(model, x, lean=True).nodes
    before = [node.inputs[0] for node in nodes if node.op.name == "relu"]
    after = [node.outputs[0] for node in nodes if node.op.name == "relu"]
    assert len(before) == 3
    assert all(v.rectified for v in before)
    assert [v.data.data_ptr() for v in before] == [v.data.data_ptr() for v in after]
    nodes = recorded(model, x).nodes
    assert not any(v.rectified for node in nodes for v in node.inputs)


@pytest.mark.parametrize("norm", [False, True])
def test_relevance_is_the_same_without_the_copy(norm):
    model, x = network(inplace=True, norm=norm), pictures()
    apart = network(inplace=False, norm=norm)
    apart.load_state_dict(model.state_dict())
    assert_same(rp.explain(model, x, [1, 2], MIXED), rp.explain(apart, x, [1, 2], MIXED))


def twin(slow, fast, features=256):
    """Two networks of the same weights that do the same in two ways."""
    pair = [randomised(Calls(middle, features)) for middle in (slow, fast)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


@pytest.mark.parametrize("method", ["lrp-epsilon", "below flat"])
def test_a_sum_that_an_inplace_relu_overwrote_is_made_again_where_it_is_needed(method):
    if method == "below flat":
        method = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.weighted, rp.rules.Epsilon())])
    slow, fast = twin(*((lambda y, f=f: F.avg_pool2d(f(y + y.flip(2)), 1)) for f in (F.relu, torch.relu_)))
    x = picture()
    assert [v.rectified for node in recorded(fast, x, lean=True).nodes for v in node.outputs if node.kind == "add"] == [
        True
    ]
    assert_same(rp.explain(slow, x, [1], {"it": method}), rp.explain(fast, x, [1], {"it": method}))


@pytest.mark.parametrize(
    "act",
    [
        lambda y: 2 * y + torch.relu_(y),  # read by another
        lambda y: F.relu(y[:, :2], inplace=True).repeat(1, 2, 1, 1),  # a view
        lambda y: F.leaky_relu(y, 0.1, inplace=True),  # no zeros
    ],
)
def test_other_inplace_calls_keep_their_copies(act):
    nodes = recorded(randomised(Calls(act)), picture(), lean=True).nodes
    assert not any(v.rectified for node in nodes for v in (*node.inputs, *node.outputs))


# -- a layer's own output is not kept where the rules see that of the BatchNorm after it --------------


class Normed(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.conv, self.norm, self.fc, self.after = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5), after

    def forward(self, x):
        y = self.conv(x)
        return self.fc(self.after(y, self.norm(y)).flatten(1))


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (lambda y, n: F.relu(n), False),
        (lambda y, n: F.relu(n) + y, True),
        (lambda y, n: F.relu(n) + y.detach(), True),
        (lambda y, n: torch.cat([F.relu(n).sum(1, keepdim=True), y[:, 1:]], 1), True),
    ],
)
def test_what_a_batchnorm_alone_reads_is_held_no_longer(after, kept):
    model, x = randomised(Normed(after)), picture()
    (lean,) = (node for node in recorded(model, x, lean=True).nodes if node.kind == "conv")
    (whole,) = (node for node in recorded(model, x).nodes if node.kind == "conv")
    assert (lean.outputs[0].data.numel() > 0) == kept
    assert (lean.merged is None) == (whole.merged is None) == kept
    if kept:
        assert torch.equal(lean.outputs[0].data, whole.outputs[0].data)
    e = rp.explain(model, x, [1], EVERY)
    assert all(ledger.error < 1e-12 for ledger in e.ledger.values())


# -- a max-pool remembers its winners ----------------------------------------------------------------

POOLS = [
    ({"kernel_size": 2}, 64),
    ({"kernel_size": 3, "stride": 2, "padding": 1}, 64),
    ({"kernel_size": (3, 2), "stride": (2, 1), "ceil_mode": True}, 112),
    ({"kernel_size": 2, "dilation": 2, "stride": 1}, 144),
]


@pytest.mark.parametrize(("settings", "features"), POOLS)
@pytest.mark.parametrize("batch", [1, 3])
def test_winners_of_a_max_pool_are_noted_and_get_all(settings, features, batch):
    slow, fast = twin(
        lambda y: F.max_pool2d(F.relu(y), **settings, return_indices=True)[0],
        lambda y: F.max_pool2d(F.relu(y), **settings),
        features,
    )
    x = picture(batch)
    for model, wanted in ((slow, False), (fast, True)):
        nodes = recorded(model, x).nodes
        assert [node.noted is not None for node in nodes if node.op.name == "max_pool2d"] == [wanted]
    assert_same(rp.explain(slow, x, [1, 2], EVERY), rp.explain(fast, x, [1, 2], EVERY))


def test_ties_of_a_max_pool_go_to_the_first_either_way():
    model = randomised(Calls(lambda y: F.max_pool2d(0 * y, 2), 64))
    pooled = recorded(model, picture()).nodes
    (winners,) = [node.noted.indices for node in pooled if node.noted is not None]
    assert winners[0, 0, 0].tolist() == [0, 2, 4, 6]


# -- division in blocks, in place --------------------------------------------------------------------


@given(
    maps=st.integers(1, 3),
    rows=st.integers(1, 3),
    numbers=st.integers(1, 9),
    eps=st.sampled_from([0.0, 1e-6, 0.1, 1e-310]),
    scale=st.sampled_from([1.0, -1.0, 2.0]),
    block=st.sampled_from([1, 4, 2**18]),
    zeros=st.sampled_from([0.0, 0.4, 1.0]),
    side=st.sampled_from([-1, 0, 1]),
    room=st.sampled_from(["none", "R", "z"]),
    seed=st.integers(0, 99),
)
def test_division_in_blocks_is_division(maps, rows, numbers, eps, scale, block, zeros, side, room, seed):
    generator = torch.Generator().manual_seed(seed)
    R = torch.randn(maps, rows, numbers, 1, dtype=D, generator=generator)
    z = torch.randn(rows, numbers, 1, dtype=D, generator=generator)
    z = z.abs() * side if side else z
    z = torch.where(torch.rand(z.shape, generator=generator) < zeros, z * 0.0, z)  # -0 too
    wanted = stabilize.divide(R, z, eps)
    took = stabilize.taken(R, wanted, z, eps)
    took = torch.zeros(maps, rows, dtype=D) if took is None else took.flatten(2).sum(2)
    place = {"none": None, "R": R, "z": z if maps == 1 else None}[room]
    given_R, given_z = R.clone(), z.clone()
    old, stabilize.BLOCK = stabilize.BLOCK, block
    try:
        s, sums = stabilize.quotient(R, z, eps, scale, rows=rows, total=lambda t: t.flatten(2).sum(2), into=place)
    finally:
        stabilize.BLOCK = old
    torch.testing.assert_close(s, scale * wanted, rtol=1e-14, atol=0)
    torch.testing.assert_close(sums, scale * took, rtol=1e-12, atol=1e-300)
    assert (s.data_ptr() == R.data_ptr()) == (place is R)
    assert place is R or torch.equal(R, given_R)
    assert (place is z and maps == 1) or torch.equal(z, given_z)


def test_what_cannot_be_cut_into_rows_is_divided_all_the_same():
    R, z = torch.randn(2, 3, 4, dtype=D), torch.randn(3, 1, dtype=D)
    s, sums = stabilize.quotient(R, z, 0.1, 2.0, rows=3, total=lambda t: t.sum(2))
    torch.testing.assert_close(s, 2 * stabilize.divide(R, z, 0.1))
    assert sums.shape == (2, 3)


# -- some pictures and some maps at a time -----------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 500, 2000])
def test_a_layer_in_parts_is_the_layer(monkeypatch, at_once):
    model, x = network(inplace=True), pictures(4)
    whole = rp.explain(model, x, [0, 1, 2], MIXED)
    shares = []
    share = rp.rules.Epsilon.share
    monkeypatch.setattr(rp.rules.Epsilon, "share", lambda *args: (shares.append(1), share(*args))[1])
    rp.explain(model, x, [0, 1, 2], ["lrp-epsilon"])
    once = len(shares)
    monkeypatch.setattr(parts, "AT_ONCE", at_once)
    shares.clear()
    rp.explain(model, x, [0, 1, 2], ["lrp-epsilon"])
    assert len(shares) > once
    in_parts = rp.explain(model, x, [0, 1, 2], MIXED)
    assert_same(whole, in_parts)


@pytest.mark.parametrize("targets", [[1], [0, 1, 2]])
def test_a_layer_in_parts_that_writes_over_what_it_read_keeps_a_true_ledger(monkeypatch, targets):
    same = [layer for _ in range(3) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True))]
    model, x = randomised(nn.Sequential(*same, nn.Flatten(), nn.Linear(432, 5))), pictures(4)
    whole = rp.explain(model, x, targets, EVERY)
    monkeypatch.setattr(parts, "AT_ONCE", 500)
    for names in (EVERY, ["lrp-epsilon"]):
        in_parts = rp.explain(model, x, targets, names)
        for name in names:
            assert in_parts.ledger[name].error < 1e-12
            torch.testing.assert_close(in_parts.relevance[name], whole.relevance[name], rtol=1e-11, atol=1e-13)
            for mine, theirs in zip(in_parts.ledger[name], whole.ledger[name], strict=True):
                torch.testing.assert_close(mine.relevance_out, theirs.relevance_out, rtol=1e-9, atol=1e-12)
                torch.testing.assert_close(mine.magnitude, theirs.magnitude, rtol=1e-9, atol=1e-12)


def test_relevance_from_above_is_overwritten_only_where_nobody_else_needs_it(monkeypatch):
    spent = []
    down = walk.handed_down

    def noticed(node, rule, R, visit):
        spent.append((node.path, visit.may_overwrite))
        return down(node, rule, R, visit)

    monkeypatch.setattr(walk, "handed_down", noticed)
    model, x = network(inplace=True), pictures()
    rp.explain(model, x, [1], ["lrp-epsilon"])
    assert all(may for path, may in spent if path in ("0", "4", "8", "10"))
    spent.clear()
    rp.explain(model, x, [1], ["lrp-epsilon", "lrp-z"])  # both start from the same relevance
    assert [may for path, may in spent if path == "10"] == [False, True]


# -- what is made once -------------------------------------------------------------------------------


def test_denominators_are_made_once_for_all_methods_and_targets(monkeypatch):
    calls = []
    forward = layer_file.LinearOp.forward
    monkeypatch.setattr(layer_file.LinearOp, "forward", lambda *args: (calls.append(1), forward(*args))[1])
    model = randomised(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 5)))
    x = pictures()
    rp.explain(model, x, [0, 1, 2], ["lrp-alpha1"])
    alone = len(calls)
    calls.clear()
    together = rp.explain(model, x, [0, 1, 2], ["lrp-alpha1", "lrp-alpha2"])
    assert len(calls) == alone * 2  # z+ as before, and z-
    apart = {name: rp.explain(model, x, [0, 1, 2], [name]).relevance[name] for name in together.relevance}
    for name, R in together.relevance.items():
        torch.testing.assert_close(R, apart[name], rtol=1e-12, atol=1e-14)


def test_methods_share_the_way_down_as_long_as_their_rules_agree(monkeypatch):
    calls = []
    backward = layer_file.LinearOp.backward
    monkeypatch.setattr(layer_file.LinearOp, "backward", lambda *args: (calls.append(1), backward(*args))[1])
    model, x = network(inplace=False), pictures()
    rp.explain(model, x, [1], ["cmp-alpha1-flat"])
    one = len(calls)
    calls.clear()
    rp.explain(model, x, [1], ["cmp-alpha1", "cmp-alpha1-flat"])
    assert len(calls) <= one + 3  # the input layer of cmp-alpha1, whose input has both signs, and nothing else


@pytest.mark.parametrize(
    ("moved", "features"),
    [
        (lambda y: torch.cat([y, 2 * y, y[:, :1]], 1), 576),
        (lambda y: torch.cat([y, 3 * y], -1), 512),
        (lambda y: y.flatten(2).unsqueeze(1).reshape(len(y), -1, 2).squeeze(-1), 256),
        (lambda y: torch.cat([y, torch.ones_like(y)], 1), 512),
    ],
)
def test_simple_moves_are_moved_back_directly(moved, features):
    model, x = randomised(Calls(moved, features)), picture()
    both = rp.explain(model, x, [1, 2], ["lrp-epsilon"])  # two maps: the vector-Jacobian product of the call
    for k, target in enumerate((1, 2)):
        one = rp.attribute(model, x, target, "lrp-epsilon")
        torch.testing.assert_close(one, both.relevance["lrp-epsilon"][k], rtol=1e-12, atol=1e-14)


class Pair(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    "tree",
    [
        (torch.ones(1), 2, "x", None, slice(1, 2)),
        ([torch.ones(1), (torch.zeros(2),)], {"k": torch.ones(3), "d": torch.float32}),
        Pair(torch.ones(1), [Pair(1, torch.ones(2))]),
        torch.Size([1, 2]),
        torch.max(torch.ones(2, 2), 1),
    ],
)
def test_own_trees_are_torchs_trees(tree):
    assert [id(t) for t in tensors_of(tree)] == [id(t) for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]
    ours, theirs = mapped(torch.Tensor, torch.numel, tree), tree_map_only(torch.Tensor, torch.numel, tree)
    assert ours == theirs
    assert type(ours) is type(theirs)


# -- reduced precision -------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("method", ["lrp-epsilon:eps=0.01", "cmp-alpha1-flat", "cmp-alpha2-flat"])
def test_reduced_precision_is_near_float64_and_the_ledger_sums_in_float32(dtype, bound, method):
    model, x = network(inplace=True), pictures()
    exact = rp.attribute(model, x, 1, method)
    e = rp.explain(model, x, [1], [method], dtype=dtype)
    (R,), ledger = e.relevance[method], e.ledger[method]
    assert R.dtype == dtype
    assert float((R.double() - exact).norm() / exact.norm()) < bound
    assert {getattr(row, c).dtype for row in ledger for c in ("relevance_in", "bias", "eps")} == {torch.float32}
    assert ledger.error < bound
    assert torch.equal(rp.attribute(model, x, 1, method, dtype=torch.float64), exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, "float32"])
def test_a_precision_that_rules_cannot_work_in_is_refused(dtype):
    with pytest.raises(rp.InputError, match="bfloat16"):
        rp.attribute(network(inplace=True), pictures(), 1, "lrp-z", dtype=dtype)


# -- below a ReLU, z+ needs no pass of its own -------------------------------------------------------

SIGNED = {
    "lrp-alpha2": "lrp-alpha2",
    "alpha3": rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(3.0))]),
    "gamma": rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.3))]),
}
BELOW_A_RELU = {
    "relu": (F.relu, lambda y: y.clamp(min=0)),
    "in place": (torch.relu_, lambda y: y.clamp(min=0)),
    "relu6": (F.relu6, lambda y: y.clamp(0, 6)),
    "relu and max-pool": (lambda y: F.max_pool2d(F.relu(y), 2), lambda y: F.max_pool2d(y.clamp(min=0), 2)),
}
"""A call below which relevance is known to vanish where its input is not positive; one that does the same, unknown."""


def layers_of_every_kind(act):
    """Convolutions and linear layers with biases, a merged BatchNorm, and inputs of both signs."""
    conv = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
    parts = nn.ModuleList([conv, nn.Conv2d(6, 6, 3, groups=2), nn.Linear(6, 7), nn.Linear(7, 5)])

    def forward(x):
        y = act(parts[1](act(parts[0](x))))
        return parts[3](torch.relu(parts[2](y.mean((2, 3)))))

    return randomised(Around(parts, forward))


class Around(nn.Module):
    def __init__(self, parts, forward):
        super().__init__()
        self.parts = parts
        self.way = forward

    def forward(self, x):
        return self.way(x)


@pytest.mark.parametrize("kind", BELOW_A_RELU)
def test_below_a_relu_the_positive_side_is_the_output_less_the_negative_one(kind, monkeypatch):
    calls = []
    forward = layer_file.LinearOp.forward
    monkeypatch.setattr(layer_file.LinearOp, "forward", lambda *args: (calls.append(1), forward(*args))[1])
    passes, found = [], []
    for act in BELOW_A_RELU[kind]:
        torch.manual_seed(5)
        model = layers_of_every_kind(act)
        torch.manual_seed(6)
        x = pictures()
        calls.clear()
        found.append(rp.explain(model, x, [0, 3], ["lrp-alpha2"]))
        passes.append(len(calls))
        found.append(rp.explain(model, x, [0, 3], SIGNED))
    fast, slow = passes
    # z- of inputs of both signs takes two calls; the last layer but one ends in a ReLU in both, the last in none
    assert (fast, slow) == (2 + 1 + 1 + 2, 4 + 2 + 1 + 2)
    assert_same(found[0], found[2])
    assert_same(found[1], found[3])


@pytest.mark.parametrize(
    "after",
    [
        lambda y: F.relu(y) + y,  # a second way past the ReLU
        lambda y: F.relu(-y),
        lambda y: -F.relu(-y),
        F.leaky_relu,
        lambda y: F.relu(y) + 0.5,
        lambda y: F.relu(y) * y.sigmoid(),
        lambda y: F.interpolate(F.relu(y), scale_factor=2, mode="nearest"),
    ],
)
def test_where_relevance_may_stand_at_negative_outputs_both_sides_are_computed(after):
    model, x = randomised(Calls(after, 1024 if after(torch.ones(1, 1, 2, 2)).shape[2] > 2 else 256)), picture()
    both = rp.explain(model, x, [1], {"a": "lrp-alpha2", "b": SIGNED["gamma"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_file.LinearOp, "fires", property(lambda _: False))
        slow = rp.explain(model, x, [1], {"a": "lrp-alpha2", "b": SIGNED["gamma"]})
    assert_same(both, slow)


def test_relevance_that_stands_where_a_relu_gave_nothing_finds_its_denominators():
    """Flat and w-square hand relevance to inputs of 0: the layer below them may not take z+ from its output."""
    below = {
        f"{rule} below {upper}": rp.Composite([(rp.on.path("4"), upper), (rp.on.weighted, rule)])
        for upper in (rp.rules.Flat(), rp.rules.WSquare())
        for rule in (rp.rules.AlphaBeta(2), rp.rules.Gamma(0.3))
    }
    for inplace in (False, True):
        model, x = network(inplace), pictures()
        fast = rp.explain(model, x, [1], below | {"lrp-alpha2": "lrp-alpha2"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layer_file.LinearOp, "fires", property(lambda _: False))
            assert_same(fast, rp.explain(model, x, [1], below | {"lrp-alpha2": "lrp-alpha2"}))


def test_the_positive_side_is_as_exact_in_float32_as_a_pass_of_its_own(monkeypatch):
    """Where z_j > 0, z_j - z_j^- adds two positive numbers: nothing cancels, however small z_j^- is."""
    torch.manual_seed(3)
    model = layers_of_every_kind(F.relu).double()
    x = torch.randn(8, 3, 12, 12, dtype=D)
    exact = rp.attribute(model, x, 1, "lrp-alpha2")
    model, x = model.float(), x.float()
    fast = rp.attribute(model, x, 1, "lrp-alpha2")
    monkeypatch.setattr(layer_file.LinearOp, "fires", property(lambda _: False))
    slow = rp.attribute(model, x, 1, "lrp-alpha2")
    assert not torch.equal(fast, slow)
    error = [float((R.double() - exact).norm() / exact.norm()) for R in (fast, slow)]
    assert error[0] < max(2 * error[1], 1e-6)


def test_a_model_of_lower_precision_than_its_rules_gives_no_denominators():
    """Its output is rounded; the rules compute both sides from what went in."""
    torch.manual_seed(0)
    model, x = randomised(layers_of_every_kind(F.relu)).to(torch.bfloat16), pictures().to(torch.bfloat16)
    fast = rp.attribute(model, x, 1, "lrp-alpha2", dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_file.LinearOp, "fires", property(lambda _: False))
        assert torch.equal(fast, rp.attribute(model, x, 1, "lrp-alpha2", dtype=torch.float64))
