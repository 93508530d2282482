"""Every fast path is taken where it should be, and gives what the slow one gives.

That it is taken is seen from beneath, by the kernels that run. What it gives is compared with a twin: a network that
does the same in words for which there is no fast path, such as `y.clamp(min=0)` for a ReLU.
"""

import weakref
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import reference
import relprop as rp
from conftest import Calls, randomised
from kernels import kernels_of
from relprop.ops import parts  # the one seam: how many numbers are worked on at a time, which no small network reaches

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


class Clamp(nn.Module):
    """A ReLU of which nothing is known but that it gives no negative number."""

    def forward(self, y):
        return y.clamp(min=0)


def inplace():
    return nn.ReLU(inplace=True)


def network(act, norm=False):
    return randomised(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            act(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3, groups=2),
            act(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 7),
            act(),
            nn.Linear(7, 5),
        )
    )


def networks(*acts, norm=False):
    """The same network with other ReLUs."""
    found = [network(act, norm) for act in acts]
    for other in found[1:]:
        other.load_state_dict(found[0].state_dict())
    return found


def twin(slow, fast, features=256):
    """Two networks of the same weights that do the same in two ways."""
    pair = [randomised(Calls(middle, features)) for middle in (slow, fast)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def picture(batch=2):
    """For `Calls`."""
    return torch.randn(batch, 3, 8, 8, dtype=D)


def pictures(batch=3):
    return torch.randn(batch, 3, 12, 12, dtype=D)


def beneath(model, x, targets, methods, **options):
    """What runs beneath an explanation."""
    return kernels_of(lambda: rp.explain(model, x, targets, methods, **options))


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
    overwriting, apart = networks(inplace, nn.ReLU, norm=norm)
    x = pictures()
    fast, slow = (beneath(model, x, [1], ["lrp-epsilon"]) for model in (overwriting, apart))
    assert fast.calls["relu_"] == slow.calls["relu"] == 3
    assert fast.written["clone"] == slow.written["clone"]
    assert fast.calls["equal"] == slow.calls["equal"]
    assert fast.passes == slow.passes  # and nothing is computed again
    assert fast.peak < slow.peak


@pytest.mark.parametrize("norm", [False, True])
def test_relevance_is_the_same_without_the_copy(norm):
    overwriting, apart, unproved = networks(inplace, nn.ReLU, Clamp, norm=norm)
    x = pictures()
    plain = rp.explain(unproved, x, [1, 2], MIXED)
    assert_same(plain, rp.explain(apart, x, [1, 2], MIXED))
    assert_same(plain, rp.explain(overwriting, x, [1, 2], MIXED))


@pytest.mark.parametrize("below_flat", [False, True])
def test_a_sum_that_an_inplace_relu_overwrote_is_made_again_where_it_is_needed(below_flat):
    method = "lrp-epsilon"
    if below_flat:
        method = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.weighted, rp.rules.Epsilon())])
    slow, fast = twin(*((lambda y, f=f: F.avg_pool2d(f(y + y.flip(2)), 1)) for f in (F.relu, torch.relu_)))
    x = picture()
    apart, overwriting = (beneath(model, x, [1], {"it": method}) for model in (slow, fast))
    assert overwriting.written["clone"] == apart.written["clone"]
    assert (overwriting.calls["add"] > apart.calls["add"]) == below_flat
    assert_same(rp.explain(slow, x, [1], {"it": method}), rp.explain(fast, x, [1], {"it": method}))


def read_through_a_view(y, inplace):
    twice = 2 * y[:, :2]
    z = F.relu(y.add_(0) if inplace else y + 0, inplace=inplace)
    return torch.cat([z[:, :2] + twice, z[:, 2:]], 1)


READ_TWICE = {
    "read by another": lambda y, inplace: 2 * y + F.relu(y, inplace=inplace),
    "a view": lambda y, inplace: F.relu(y[:, :2], inplace=inplace).repeat(1, 2, 1, 1),
    "read through a view before a write that changed nothing": read_through_a_view,
    "no zeros": lambda y, inplace: F.leaky_relu(y, 0.1, inplace=inplace),
}


@pytest.mark.parametrize("case", READ_TWICE)
def test_other_inplace_calls_keep_their_copies(case):
    act = READ_TWICE[case]
    slow, fast = twin(lambda y: act(y, False), lambda y: act(y, True))
    x = picture()
    apart, overwriting = (beneath(model, x, [1], ["lrp-epsilon"]) for model in (slow, fast))
    assert overwriting.written["clone"] > apart.written["clone"]
    assert_same(rp.explain(slow, x, [1], EVERY), rp.explain(fast, x, [1], EVERY))


# -- a layer's own output is not kept where the rules see that of the BatchNorm after it --------------


class Normed(nn.Module):
    """A convolution, a BatchNorm, and something after them; it knows whether somebody holds the convolution's output.

    Args:
        after: makes something of the convolution's output y and the BatchNorm's.
        before: does so of y, before BatchNorm reads it.
    """

    def __init__(self, after, before=None):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5)
        self.after, self.before = after, before
        self.held = None

    def forward(self, x):
        y = self.conv(x)
        with torch._C.DisableTorchFunction():
            memory = weakref.ref(y.untyped_storage())
        if self.before is not None:
            self.before(y)
        n = self.norm(y)
        z = self.after(y, n).flatten(1)
        del y, n
        self.held = memory() is not None
        return self.fc(z)


@pytest.mark.parametrize(
    ("after", "held"),
    [
        (lambda y, n: F.relu(n), False),
        (lambda y, n: F.relu(n) + y, True),
        (lambda y, n: F.relu(n) + y.detach(), True),
        (lambda y, n: torch.cat([F.relu(n).sum(1, keepdim=True), y[:, 1:]], 1), True),
    ],
)
def test_what_a_batchnorm_alone_reads_is_held_no_longer(after, held):
    model, x = randomised(Normed(after)), picture()
    e = rp.explain(model, x, [1], EVERY)
    assert model.held == held
    assert all(ledger.error < 1e-12 for ledger in e.ledger.values())
    (norm,) = (step for step in rp.plan(model, x, "lrp-z") if step.op == "batch_norm")
    assert ("merged into conv" in norm.why) == (not held)
    read_before = randomised(Normed(after, before=torch.mean))  # so that it is held until the end
    read_before.load_state_dict(model.state_dict())
    assert_same(rp.explain(read_before, x, [1], EVERY), e)
    assert read_before.held


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
    sought, noted = (beneath(model, x, [1, 2], ["lrp-z"]).calls for model in (slow, fast))
    assert sought["max_pool2d_with_indices"] > noted["max_pool2d_with_indices"] == 1
    assert_same(rp.explain(slow, x, [1, 2], EVERY), rp.explain(fast, x, [1, 2], EVERY))


@pytest.mark.parametrize("indices", [False, True])
def test_ties_of_a_max_pool_go_to_the_first_either_way(indices):
    fc = randomised(nn.Linear(16, 5))

    def model(x):
        pooled = F.max_pool2d(x, 2, return_indices=indices)
        return fc((pooled[0] if indices else pooled).flatten(1))

    R = rp.attribute(model, torch.ones(2, 1, 8, 8, dtype=D), 1, "lrp-z")
    assert (R[..., ::2, ::2] != 0).all()
    assert R.count_nonzero() == 2 * 16


# -- some pictures and some maps at a time -----------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 500, 2000])
def test_a_layer_in_parts_is_the_layer(monkeypatch, at_once):
    class Counted(rp.rules.Epsilon):
        def share(self, layer, R):
            shares.append(1)
            return super().share(layer, R)

    shares = []
    counted = {"it": rp.Composite([(rp.on.weighted, Counted())])}
    model, x = network(inplace), pictures(4)
    whole = rp.explain(model, x, [0, 1, 2], MIXED)
    rp.explain(model, x, [0, 1, 2], counted)
    once = len(shares)
    assert once == 4
    monkeypatch.setattr(parts, "AT_ONCE", at_once)
    shares.clear()
    rp.explain(model, x, [0, 1, 2], counted)
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


def noting(eps, places):
    """Epsilon in every layer, as a rule that notes whether the quotient was written where relevance had been."""

    class Noting(rp.rules.Rule):
        def share(self, layer, R):
            s, took = layer.quotient(R, layer.z, eps)
            places.append(s.data_ptr() == R.data_ptr())
            return rp.rules.Share((layer.backward(s, layer.w) * layer.x,), layer.dot(s, layer.b), took)

    return rp.Composite([(rp.on.weighted, Noting()), (rp.on.any, rp.rules.Epsilon(eps))])


def test_relevance_from_above_is_overwritten_only_where_nobody_else_needs_it():
    model, x = network(inplace), pictures()
    alone, together = [], []
    rp.explain(model, x, [1], {"it": noting(1e-6, alone)})
    assert alone == [True] * 4
    methods = {"a": noting(1e-6, together), "b": noting(1e-3, together)}
    e = rp.explain(model, x, [1], methods)  # both start from the same relevance
    assert together[:2] == [False, True]
    for name, eps in (("a", 1e-6), ("b", 1e-3)):
        wanted = rp.attribute(model, x, 1, f"lrp-epsilon:eps={eps}")
        torch.testing.assert_close(e.relevance[name][0], wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("inner", [rp.rules.Epsilon(), rp.rules.AlphaBeta(2), rp.rules.Gamma(0.3), rp.rules.WSquare()])
def test_relevance_that_lies_in_one_place_for_two_values_is_not_overwritten(inner):
    """Flat gives both terms of a sum the same tensor; an activation hands on the one that it got."""

    class Residual(nn.Module):
        def __init__(self, add):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.fc, self.add = nn.Linear(192, 5), add

        def forward(self, x):
            return self.fc(self.add(self.a(x), self.b(x)).flatten(1))

    composite = rp.Composite([(rp.on.add, rp.rules.Flat()), (rp.on.weighted, inner)])
    shared = randomised(Residual(torch.add))
    apart = randomised(Residual(lambda a, b: 2 * torch.stack([a, b]).mean(0)))  # each term has memory of its own
    apart.load_state_dict(shared.state_dict())
    even = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.weighted, inner)])
    x = picture()
    one, other = rp.attribute(shared, x, 1, composite), rp.attribute(apart, x[:1], 1, even)
    torch.testing.assert_close(one[:1], other, rtol=1e-11, atol=1e-13)


# -- what is made once -------------------------------------------------------------------------------


def test_denominators_are_made_once_for_all_methods_and_targets():
    model = randomised(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 5)))
    x = pictures()

    def forward(methods):
        calls = beneath(model, x, [0, 1, 2], methods).calls
        return calls["convolution"], calls["addmm"]  # one of each is the model's

    assert forward(["lrp-alpha1"]) == (2, 2)
    assert forward(["lrp-alpha1", "lrp-alpha2"]) == (3, 3)  # z+ as before, and z-
    together = rp.explain(model, x, [0, 1, 2], ["lrp-alpha1", "lrp-alpha2"])
    for name, R in together.relevance.items():
        torch.testing.assert_close(R, rp.explain(model, x, [0, 1, 2], [name]).relevance[name], rtol=1e-12, atol=1e-14)


def test_denominators_are_made_once_though_maps_go_in_parts(monkeypatch):
    model = randomised(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 5)))
    monkeypatch.setattr(parts, "AT_ONCE", 500)
    calls = beneath(model, pictures(1), [0, 1, 2], ["lrp-alpha1"]).calls
    assert calls["convolution_backward"] == 3  # a map at a time
    assert (calls["convolution"], calls["addmm"]) == (2, 2)


def test_methods_share_the_way_down_as_long_as_their_rules_agree():
    model, x = network(nn.ReLU), pictures()
    one = beneath(model, x, [1], ["cmp-alpha1-flat"])
    both = beneath(model, x, [1], ["cmp-alpha1", "cmp-alpha1-flat"])
    # the input layer of cmp-alpha1, whose input has both signs, and nothing else: two passes up, two down
    assert both.passes == one.passes + 4


@pytest.mark.parametrize(("at_once", "passes"), [(parts.AT_ONCE, 1 + 1 + 2), (1000, 1 + 2 + 2 * 2)])
def test_methods_that_meet_again_go_on_together(monkeypatch, at_once, passes):
    """They part in the head and agree in the convolutions.

    Where maps are too large to be copied they stay together as slices of one stack: three maps of 432 numbers are two
    parts, and would be three of a method each.
    """
    layers = [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4)]
    layers += [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5)]
    model, x = randomised(nn.Sequential(*layers)), pictures(1)
    methods = {
        str(eps): rp.Composite([(rp.on.head, rp.rules.Epsilon(eps)), (rp.on.conv, rp.rules.ZPlus())])
        for eps in (0.1, 0.2, 0.3)
    }
    monkeypatch.setattr(parts, "AT_ONCE", at_once)
    assert beneath(model, x, [1], methods).calls["convolution_backward"] == passes
    e = rp.explain(model, x, [1], methods)
    for name, composite in methods.items():
        torch.testing.assert_close(e.relevance[name][0], rp.attribute(model, x, 1, composite), rtol=1e-11, atol=1e-13)


def test_the_flat_rule_works_on_one_channel():
    model, x = network(nn.ReLU), pictures()
    flat, alpha1 = (beneath(model, x, [1], [name]).written for name in ("cmp-alpha1-flat", "cmp-alpha1"))
    channels = x.shape[1]
    # both signs of the input: two passes down, each of all channels
    assert alpha1["convolution_backward"] - flat["convolution_backward"] == 2 * x.numel() - x.numel() // channels


MOVES = {
    "channels": (lambda y: torch.cat([y, 2 * y, y[:, :1]], 1), 576),
    "the last axis": (lambda y: torch.cat([y, 3 * y], -1), 512),
    "forms": (lambda y: y.flatten(2).unsqueeze(1).reshape(len(y), -1, 2).squeeze(-1), 256),
    "with a constant": (lambda y: torch.cat([y, torch.ones_like(y)], 1), 512),
}


@pytest.mark.parametrize("case", MOVES)
def test_simple_moves_are_moved_back_directly(case):
    moved, features = MOVES[case]
    model, x = randomised(Calls(moved, features)), picture()
    both = rp.explain(model, x, [1, 2], ["lrp-epsilon"])
    for k, target in enumerate((1, 2)):
        one = rp.attribute(model, x, target, "lrp-epsilon")
        torch.testing.assert_close(one, both.relevance["lrp-epsilon"][k], rtol=1e-12, atol=1e-14)
    calls = beneath(model, x, [1, 2], ["lrp-epsilon"]).calls
    # the model joins once; where a constant is among the parts the call is made again, to see what came from where
    assert calls["cat"] == {"forms": 0, "with a constant": 6}.get(case, 1)
    if case == "forms":  # no map is stacked again
        still = beneath(randomised(Calls(lambda y: y, 256)), x, [1, 2], ["lrp-epsilon"])
        assert calls["stack"] == still.calls["stack"]


class Pair(NamedTuple):
    a: Any
    b: Any


CONTAINERS = {
    "a tuple": lambda y: torch.cat((y, F.relu(y)), 1),
    "a list": lambda y: torch.cat(tensors=[y, F.relu(y)], dim=1),
    "a named tuple": lambda y: torch.cat(Pair(y, F.relu(y)), 1),
    "a form": lambda y: torch.cat([y, F.relu(y)], 1).view(torch.Size([len(y), 512])),
    "an index": lambda y: torch.cat([y, F.relu(y)], 1)[:, [*range(8)], ..., None],
    "an index of tensors": lambda y: torch.cat([y, F.relu(y)], 1)[Pair(slice(None), torch.arange(8))],
    "what a maximum gives": lambda y: torch.cat([y, torch.max(torch.stack([y, 0 * y]), 0).values], 1),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_tensors_are_found_in_whatever_container_torch_takes(case):
    plain, contained = twin(lambda y: torch.cat([y, F.relu(y)], 1), CONTAINERS[case], 512)
    x = picture()
    for method in ("lrp-epsilon", "lrp-alpha2"):
        torch.testing.assert_close(rp.attribute(contained, x, 1, method), rp.attribute(plain, x, 1, method))


# -- reduced precision -------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("method", ["lrp-epsilon:eps=0.01", "cmp-alpha1-flat", "cmp-alpha2-flat"])
def test_reduced_precision_is_near_float64_and_the_ledger_sums_in_float32(dtype, bound, method):
    model, x = network(inplace), pictures()
    exact = rp.attribute(model, x, 1, method)
    e = rp.explain(model, x, [1], [method], dtype=dtype)
    (R,), ledger = e.relevance[method], e.ledger[method]
    assert R.dtype == torch.float32
    assert float((R.double() - exact).norm() / exact.norm()) < bound
    assert {getattr(row, c).dtype for row in ledger for c in ("relevance_in", "bias", "eps")} == {torch.float32}
    assert ledger.error < bound
    assert torch.equal(rp.attribute(model, x, 1, method, dtype=torch.float64), exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, "float32"])
def test_a_precision_that_rules_cannot_work_in_is_refused(dtype):
    with pytest.raises(rp.InputError, match="bfloat16"):
        rp.attribute(network(inplace), pictures(), 1, "lrp-z", dtype=dtype)


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
    torch.manual_seed(5)
    conv = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
    layers = nn.ModuleList([conv, nn.Conv2d(6, 6, 3, groups=2), nn.Linear(6, 7), nn.Linear(7, 5)])

    def forward(x):
        y = act(layers[1](act(layers[0](x))))
        return layers[3](torch.relu(layers[2](y.mean((2, 3)))))

    return randomised(Around(layers, forward))


class Around(nn.Module):
    def __init__(self, layers, forward):
        super().__init__()
        self.layers = layers
        self.way = forward

    def forward(self, x):
        return self.way(x)


@pytest.mark.parametrize("kind", BELOW_A_RELU)
def test_below_a_relu_the_positive_side_is_the_output_less_the_negative_one(kind):
    fast, slow = map(layers_of_every_kind, BELOW_A_RELU[kind])
    x = pictures()
    up = (2 + 1 + 1 + 2, 4 + 2 + 1 + 2)
    # z- of inputs of both signs takes two calls; the last layer but one ends in a ReLU in both, the last in none.
    # Every sign of every layer goes down once, and twice where inputs have both signs; four passes are the model's.
    down = 4 + 2 + 2 + 2
    passes = tuple(beneath(model, x, [0, 3], ["lrp-alpha2"]).passes for model in (fast, slow))
    assert passes == tuple(4 + each + down for each in up)
    for methods in (["lrp-alpha2"], SIGNED):
        assert_same(rp.explain(fast, x, [0, 3], methods), rp.explain(slow, x, [0, 3], methods))


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
    """By the definition, on the convolution written out, from the relevance that comes to its output."""
    model = randomised(Calls(after, 1024 if after(torch.ones(1, 1, 2, 2)).shape[2] > 2 else 256))
    x, same = picture(), nn.Conv2d(4, 4, 1, bias=False).double()
    y = model.conv(x).detach()
    written_out = reference.dense(model.conv, (3, 8, 8))

    def from_its_output(y):  # behind a layer that passes all, so that constants are no part of a normalisation
        return model.fc(after(same(y)).flatten(1))

    nn.init.dirac_(same.weight)
    for rule, share in (
        (rp.rules.AlphaBeta(2), reference.alpha_beta(x.flatten(1), written_out, 2, -1)),
        (rp.rules.Gamma(0.3), reference.gamma(x.flatten(1), written_out, 0.3)),
    ):
        composite = rp.Composite([(rp.on.first(), rp.rules.Pass()), (rp.on.weighted, rule)])
        above = rp.attribute(from_its_output, y, 1, composite).flatten(1)
        wanted = torch.einsum("bij,bj->bi", share, above).view(x.shape)
        R = rp.attribute(model, x, 1, rp.Composite([(rp.on.weighted, rule)]))
        torch.testing.assert_close(R, wanted, rtol=1e-10, atol=1e-12 * float(wanted.abs().max()))


def test_relevance_that_stands_where_a_relu_gave_nothing_finds_its_denominators():
    """Flat and w-square hand relevance to inputs of 0: the layer below them may not take z+ from its output."""
    below = {
        f"{rule} below {upper}": rp.Composite([(rp.on.path("4"), upper), (rp.on.weighted, rule)])
        for upper in (rp.rules.Flat(), rp.rules.WSquare())
        for rule in (rp.rules.AlphaBeta(2), rp.rules.Gamma(0.3))
    }
    x, (overwriting, apart, unproved) = pictures(), networks(inplace, nn.ReLU, Clamp)
    slow = rp.explain(unproved, x, [1], below | {"lrp-alpha2": "lrp-alpha2"})
    for fast in (overwriting, apart):
        assert_same(rp.explain(fast, x, [1], below | {"lrp-alpha2": "lrp-alpha2"}), slow)


def test_the_positive_side_is_as_exact_in_float32_as_a_pass_of_its_own():
    """Where z_j > 0, z_j - z_j^- adds two positive numbers: nothing cancels, however small z_j^- is."""
    x, models = torch.randn(8, 3, 12, 12, dtype=D), [*map(layers_of_every_kind, BELOW_A_RELU["relu"])]
    exact = rp.attribute(models[0], x, 1, "lrp-alpha2")
    fast, slow = (rp.attribute(model.float(), x.float(), 1, "lrp-alpha2") for model in models)
    assert not torch.equal(fast, slow)
    error = [float((R.double() - exact).norm() / exact.norm()) for R in (fast, slow)]
    assert error[0] < max(2 * error[1], 1e-6)


def test_a_model_of_lower_precision_than_its_rules_gives_no_denominators():
    """Its output is rounded; the rules compute both sides from what went in."""
    x = pictures().to(torch.bfloat16)
    models = [layers_of_every_kind(act).to(torch.bfloat16) for act in BELOW_A_RELU["relu"]]
    fast, slow = (rp.attribute(model, x, 1, "lrp-alpha2", dtype=torch.float64) for model in models)
    assert torch.equal(fast, slow)


def test_a_batchnorm_of_its_own_in_lower_precision_gives_none_either():
    def normed(act):
        torch.manual_seed(5)
        norm = nn.Sequential(nn.BatchNorm2d(3), act(), nn.Flatten(), nn.Linear(432, 5))
        return randomised(norm).to(torch.bfloat16)

    x = pictures().to(torch.bfloat16)
    composite = rp.Composite([(rp.on.norm, rp.rules.AlphaBeta(2)), (rp.on.weighted, rp.rules.Epsilon())])
    fast, slow = (rp.attribute(normed(act), x, 1, composite, dtype=torch.float64) for act in (nn.ReLU, Clamp))
    assert fast.abs().max() > 0
    assert torch.equal(fast, slow)
