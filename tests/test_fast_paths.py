"""Every fast path is taken where it should be, and gives what the slow one gives.

That it is taken is seen from beneath, by the kernels that run. What it gives is compared with a twin: a network that
does the same in words for which there is no fast path, such as `y.clamp(min=0)` for a ReLU.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import relprop as rp
from conftest import randomised
from relprop.ops import parts  # the one seam: how many numbers are worked on at a time, which no small network reaches
from twins import EVERY, MIXED, Clamp, D, assert_same, beneath, inplace, network, networks, picture, pictures, twin

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
            memory = StorageWeakRef(y.untyped_storage())
        if self.before is not None:
            self.before(y)
        n = self.norm(y)
        z = self.after(y, n).flatten(1)
        del y, n
        self.held = not memory.expired()
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
