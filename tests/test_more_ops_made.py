"""Functions that are made of others give the maps of those, and torch's own numbers to rounding."""

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import Around, D, assert_bounds, assert_equal, explained, inputs

C = torch.tensor([0.5, -2.0, 1.5, 0.7], dtype=D)


def written(y):
    """What stands in a tensor that was written into, whatever the call returned."""
    z = y * 1
    z.lerp_(y.flip(1), 0.3)
    return z


MADE = {
    "lerp": (lambda y: torch.lerp(y, y.flip(1), 0.3), lambda y: 0.7 * y + 0.3 * y.flip(1)),
    "lerp of a tensor": (lambda y: y.lerp(y.flip(1), C.to(y)), lambda y: (1 - C.to(y)) * y + y.flip(1) * C.to(y)),
    "lerp by a gate": (
        lambda y: torch.lerp(y, y.flip(1), torch.sigmoid(y)),
        lambda y: y * (1 - torch.sigmoid(y)) + y.flip(1) * torch.sigmoid(y),
    ),
    "lerp to a constant": (lambda y: torch.lerp(y, C.to(y), 0.25), lambda y: 0.75 * y + 0.25 * C.to(y)),
    "lerp in place": (lambda y: (y * 1).lerp_(y.flip(1), 0.3), lambda y: 0.7 * y + 0.3 * y.flip(1)),
    "lerp in place, read again": (written, lambda y: 0.7 * y + 0.3 * y.flip(1)),
    "addcmul": (
        lambda y: torch.addcmul(y, y.flip(1), torch.sigmoid(y), value=2),
        lambda y: y + 2 * (y.flip(1) * torch.sigmoid(y)),
    ),
    "addcmul of constants": (lambda y: torch.addcmul(C.to(y), y, C.to(y)), lambda y: C.to(y) + y * C.to(y)),
    "addcmul in place": (lambda y: (y * 1).addcmul_(y.flip(1), C.to(y)), lambda y: y + y.flip(1) * C.to(y)),
    "addcdiv": (lambda y: torch.addcdiv(y, y.flip(1), C.to(y), value=0.5), lambda y: y + 0.5 * (y.flip(1) / C.to(y))),
    "glu": (lambda y: F.glu(y), lambda y: y[..., :2] * torch.sigmoid(y[..., 2:])),
    "glu of channels": (
        lambda y: F.glu(y.reshape(len(y), 4, 3), 1),
        lambda y: y.reshape(len(y), 4, 3)[:, :2] * torch.sigmoid(y.reshape(len(y), 4, 3)[:, 2:]),
    ),
    "diff": (lambda y: torch.diff(y), lambda y: y[..., 1:] - y[..., :-1]),
    "diff twice": (lambda y: y.diff(2, 1), lambda y: (y[:, 2:] - y[:, 1:-1]) - (y[:, 1:-1] - y[:, :-2])),
    "diff with a constant before": (
        lambda y: y.diff(prepend=C.to(y).expand(*y.shape[:-1], 4)[..., :1]),
        lambda y: torch.cat([y[..., :1] - C.to(y)[0], y[..., 1:] - y[..., :-1]], -1),
    ),
    "clamp by a value": (
        lambda y: y.clamp(max=y.flip(1)),
        lambda y: torch.minimum(y, y.flip(1)),
    ),
    "clamp of a constant": (
        lambda y: C.to(y).expand_as(y).clamp_min(y),
        lambda y: torch.maximum(C.to(y).expand_as(y), y),
    ),
    "clamp by constants, in place": (
        lambda y: (y * 1).clamp_(-C.to(y).abs(), C.to(y).abs()),
        lambda y: torch.minimum(torch.maximum(y, -C.to(y).abs()), C.to(y).abs()),
    ),
    "lp_pool1d": (
        lambda y: F.lp_pool1d(y, 2, 2),
        lambda y: (y.square().reshape(len(y), 3, 2, 2).mean(-1) * 2).sqrt(),
    ),
    "lp_pool2d": (
        lambda y: F.lp_pool2d(y[:, None], 2.0, (1, 2), stride=(1, 2)),
        lambda y: (y.square().reshape(len(y), 1, 3, 2, 2).mean(-1) * 2).sqrt(),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_others_gives_the_maps_of_those(name):
    f, parts = MADE[name]
    x = inputs()
    for method in ("lrp-z", "lrp-alpha2"):
        e = explained(f, method=method)
        assert e.ledger["it"].error < 1e-9
        assert_equal(e.relevance["it"], explained(parts, method=method).relevance["it"], 1e-5)
        singles = [rp.attribute(Around(f), x[b : b + 1], 0, method) for b in range(2)]
        assert_equal(e.relevance["it"][0], torch.cat(singles), 1e-9)
    assert_equal(e.outputs, Around(f)(x), 1e-14)
    assert rp.check(Around(f), x, target=0).ok
    for dtype in (D, torch.float32):
        assert_bounds(lambda y: f(torch.sigmoid(y)), dtype)


def test_outer_of_one_picture():
    def f(y):
        return torch.outer(y[0, 0], torch.sigmoid(y[0, 1]))[None]

    one = explained(f, batch=1)
    other = explained(lambda y: (y[0, 0][:, None] * torch.sigmoid(y[0, 1])[None])[None], batch=1)
    assert_equal(one.relevance["it"], other.relevance["it"])


def test_a_divisor_that_depends_on_the_input_is_refused():
    with pytest.raises(rp.UnsupportedOp, match="divide by a constant"):
        explained(lambda y: torch.addcdiv(y, y, 2 + y))


def test_out_is_refused():
    with pytest.raises(rp.UnsupportedOp, match="lerp"):
        explained(lambda y: torch.lerp(y, 2 * y, 0.5, out=torch.empty_like(y)))
