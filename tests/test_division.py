"""What a layer gives a rule that divides relevance by a denominator: in blocks and in place, and division all the same.

`rules.Layer.quotient`, on numbers of the test's own: a rule of ours asks for it.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64
TINY = torch.finfo(D).tiny


def asked(R, z=None, *, eps, scale=1.0, last=True):
    """What `layer.quotient` gives for R (T, B, outputs), and the layer's own z and R afterwards.

    Args:
        R: written over the relevance that comes from above.
        z: None: the layer's own output.
        eps: as for `Layer.quotient`.
        scale: likewise.
        last: likewise.
    """
    found = {}

    class Asking(rp.rules.Rule):
        def share(self, layer, upper):
            upper.copy_(R)
            before = layer.z.clone()
            s, took = layer.quotient(upper, layer.z if z is None else z.clone(), eps, scale, last=last)
            found.update(s=s.clone(), took=took, in_place=s.data_ptr() == upper.data_ptr(), R=upper)
            assert torch.equal(layer.z, before)
            return rp.rules.Share((None,), lost=layer.total(upper))

    maps, rows, outputs = R.shape
    model = nn.Linear(1, outputs).double().eval()
    if z is None:
        x = torch.linspace(-1, 1, rows, dtype=D)[:, None]
        found["z"] = model(x).detach()
    else:
        x = torch.ones(rows, 1, dtype=D)
    rp.explain(model, x, [0] * maps, {"it": rp.Composite([(rp.on.any, Asking())])})
    return found


def assert_divided(found, R, z, *, eps, scale, last=True):
    """By the formula: R / (z + eps sign(z)), with +1 for the sign of zero, and nothing where that is nothing."""
    sign = torch.where(z >= 0, 1.0, -1.0).to(D)
    d = z + eps * sign
    nothing = d.abs() < TINY
    s = torch.where(nothing, 0.0, R / d)
    took = torch.where(nothing, R, eps * sign * s).sum(2)
    torch.testing.assert_close(found["s"], scale * s, rtol=1e-14, atol=0)
    torch.testing.assert_close(found["took"], scale * took, rtol=1e-11, atol=1e-300)
    assert found["in_place"] == last
    assert last or torch.equal(found["R"], R)


@settings(deadline=None, derandomize=True, print_blob=False)
@given(
    maps=st.integers(1, 3),
    rows=st.integers(1, 3),
    numbers=st.integers(1, 9),
    eps=st.sampled_from([0.0, 1e-6, 0.1, 1e-310]),
    scale=st.sampled_from([1.0, -1.0, 2.0]),
    zeros=st.sampled_from([0.0, 0.4, 1.0]),
    side=st.sampled_from([-1, 0, 1]),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_quotient_is_a_quotient(maps, rows, numbers, eps, scale, zeros, side, last, seed):
    generator = torch.Generator().manual_seed(seed)
    R = torch.randn(maps, rows, numbers, dtype=D, generator=generator)
    z = torch.randn(rows, numbers, dtype=D, generator=generator)
    z = z.abs() * side if side else z
    z = torch.where(torch.rand(z.shape, generator=generator) < zeros, z * 0.0, z)  # -0 too
    found = asked(R, z, eps=eps, scale=scale, last=last)
    if maps == 1 and not last:  # z may be overwritten then, in the place of R
        found["in_place"] = False
    assert_divided(found, R, z, eps=eps, scale=scale, last=last)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_more_numbers_than_are_divided_at_a_time(rows, eps):
    R, z = torch.randn(2, rows, 2**18 // rows + 1, dtype=D), torch.randn(rows, 2**18 // rows + 1, dtype=D)
    z[:, ::7] = 0
    assert_divided(asked(R, z, eps=eps, scale=2.0), R, z, eps=eps, scale=2.0)


@pytest.mark.parametrize("last", [False, True])
def test_a_layers_own_output_is_not_written_over(last):
    R = torch.randn(1, 4, 6, dtype=D)
    found = asked(R, eps=1e-3, last=last)
    assert_divided(found, R, found["z"], eps=1e-3, scale=1.0, last=last)


def test_sums_over_more_numbers_than_are_added_at_a_time():
    numbers = 2**18 + 7
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(numbers, 2)).double().eval()
    x = torch.randn(2, 1, 1, numbers, dtype=D)
    e = rp.explain(model, x, [1, 0], ["lrp-z"])
    conv = next(row for row in e.ledger["lrp-z"] if row.op == "conv2d")
    above = (model[0](x).flatten(1) * model[2].weight[[1, 0], None]).detach()
    above *= (e.outputs[:, [1, 0]].T / (above.sum(2) + model[2].bias[[1, 0], None]).detach())[..., None]
    torch.testing.assert_close(conv.magnitude, above.abs().sum(2), rtol=1e-9, atol=0)
    assert e.ledger["lrp-z"].error < 1e-12


def test_outputs_that_cannot_be_cut_into_rows_are_divided_all_the_same():
    first, last = nn.Linear(4, 6).double(), nn.Linear(30, 3).double()

    def model(x, *, swapped):
        y = first(x.transpose(0, 1)).transpose(0, 1) if swapped else first(x)
        return last(F.relu(y).flatten(1))

    x = torch.randn(2, 5, 4, dtype=D)
    for method in ("lrp-epsilon:eps=0.1", "lrp-z", "lrp-alpha2"):
        plain, swapped = (rp.explain(lambda x, s=s: model(x, swapped=s), x, [0, 2], [method]) for s in (False, True))
        torch.testing.assert_close(swapped.relevance[method], plain.relevance[method], rtol=1e-11, atol=1e-13)
        assert swapped.ledger[method].error < 1e-12
        for column in ("bias", "eps"):
            torch.testing.assert_close(swapped.ledger[method].sum(column), plain.ledger[method].sum(column))


def test_where_nothing_was_added_up_the_ledger_says_that_nothing_was_handed_down():
    model = randomised(nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Flatten(), nn.Linear(8, 3)))
    e = rp.explain(model, torch.zeros(1, 1, 3, 3, dtype=D), [1], ["lrp-z"], start="one")
    assert not e.relevance["lrp-z"].any()
    assert e.ledger["lrp-z"].error < 1e-12


def test_relevance_at_outputs_of_zero_is_taken_whole_by_epsilon_however_the_outputs_lie():
    """sign(0) = +1: of R the quotient R / eps hands nothing down, and eps R / eps is what epsilon took."""
    first, last = nn.Linear(4, 6, bias=False).double(), nn.Linear(30, 3).double()
    composite = rp.Composite([(rp.on.first(1), rp.rules.Epsilon(0.1)), (rp.on.any, rp.rules.WSquare())])
    x = torch.zeros(2, 5, 4, dtype=D)
    for model in (
        lambda x: last(first(x).flatten(1)),
        lambda x: last(first(x.transpose(0, 1)).transpose(0, 1).flatten(1)),
    ):
        e = rp.explain(model, x, [0, 2], {"it": composite}, start="one")
        assert not e.relevance["it"].any()
        torch.testing.assert_close(e.ledger["it"].sum("eps"), torch.ones(2, 2, dtype=D))
        assert e.ledger["it"].error < 1e-12
