"""Pixel flipping, against a loop that takes away one region at a time and against what theory says."""

import doctest
import math

import pytest
import torch
from torch import nn

import relprop as rp
from relprop.metrics import flipping
from relprop.support.errors import InputError
from small_networks import D, pictures, plain


def by_loop(value, x, relevance, places, fill, steps):
    """Curves of one picture, (steps + 1,) each: regions go one by one, by hand."""
    found = []
    for most_first in (True, False):
        sums = [(sum(relevance[h][w] for h, w in place), k) for k, place in enumerate(places)]
        order = sorted(sums, key=lambda pair: (-pair[0] if most_first else pair[0], pair[1]))
        changed, curve = x.clone(), [value(x)]
        for _, k in order:
            for h, w in places[k]:
                changed[:, h, w] = fill[:, h, w]
            curve.append(value(changed))
        number = len(places)
        found.append([curve[math.floor(step * number / steps + 0.5)] for step in range(steps + 1)])
    return found


def squares(height, width, side):
    """The pixels of each square, in reading order."""
    return [
        [(h, w) for h in range(top, min(top + side, height)) for w in range(left, min(left + side, width))]
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


@pytest.mark.parametrize(("region", "steps"), [(1, 64), (1, 7), (2, 16), (3, 9), (7, 2), (3, 20)])
def test_equals_a_loop_that_takes_one_region_away_at_a_time(region, steps):
    model, x = plain(), pictures()
    R, target = torch.randn_like(x), torch.tensor([1, 4])
    found = rp.metrics.flip(model, x, R, target, region=region, steps=steps)
    for b in range(2):
        fill = x[b].mean((1, 2), keepdim=True).expand_as(x[b])
        with torch.no_grad():
            morf, lerf = by_loop(
                lambda p, b=b: float(model(p[None])[0, target[b]]),
                x[b],
                R[b].sum(0).tolist(),
                squares(8, 8, region),
                fill,
                steps,
            )
        assert found.morf[b].tolist() == pytest.approx(morf, abs=1e-12)
        assert found.lerf[b].tolist() == pytest.approx(lerf, abs=1e-12)


def test_equal_relevance_goes_in_reading_order_in_both_curves():
    model, x = plain(), pictures(1, 3, 8, 8)
    R = (torch.arange(64.0).view(1, 8, 8) % 3).to(D)
    found = rp.metrics.flip(model, x, R, 0, steps=64, replace=0.0)
    with torch.no_grad():
        morf, lerf = by_loop(
            lambda p: float(model(p[None])[0, 0]), x[0], R[0].tolist(), squares(8, 8, 1), torch.zeros_like(x[0]), 64
        )
    assert found.morf[0].tolist() == pytest.approx(morf, abs=1e-12)
    assert found.lerf[0].tolist() == pytest.approx(lerf, abs=1e-12)


# What theory says


def linear(bias=0.0):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2, dtype=D)).eval()
    model[1].bias.data.fill_(bias)
    return model


def test_of_a_linear_model_its_exact_map_gives_the_best_curves_there_are():
    model, x = linear(), pictures(4, 3, 4, 4)
    R = rp.attribute(model, x, 1, "lrp-z")
    best = rp.metrics.flip(model, x, R, 1, steps=16, replace=0.0)
    drops = R.sum(1).flatten(1).sort(1, descending=True).values.cumsum(1)
    whole = model(x)[:, 1].detach()
    assert torch.allclose(best.morf[:, 1:], whole[:, None] - drops, atol=1e-12)
    assert torch.allclose(best.morf[:, 0], whole)
    for _ in range(20):
        other = rp.metrics.flip(model, x, torch.randn_like(x), 1, steps=16, replace=0.0)
        assert (other.morf >= best.morf - 1e-12).all()
        assert (other.lerf <= best.lerf + 1e-12).all()
    opposite = rp.metrics.flip(model, x, -R, 1, steps=16, replace=0.0)
    assert torch.allclose(opposite.srg, -best.srg)


def test_random_maps_gain_nothing_in_the_mean():
    model, x = linear(), pictures(1, 3, 4, 4).expand(3000, -1, -1, -1)
    found = rp.metrics.flip(model, x, torch.randn(3000, 4, 4), 1, steps=4, replace=0.0, batch=4000)
    error = float(found.srg.std()) / math.sqrt(3000)
    assert 0 < error < 0.05
    assert abs(float(found.srg.mean())) < 4 * error
    exact = rp.metrics.flip(model, x[:1], rp.attribute(model, x[:1], 1, "lrp-z"), 1, steps=4, replace=0.0)
    assert float(exact.srg) > 20 * error


def test_areas_and_gains_are_those_of_the_curves():
    model, x = plain(), pictures()
    found = rp.metrics.flip(model, x, torch.randn_like(x), 2, steps=10)
    means = [(curve[:, 1:] + curve[:, :-1]).mean(1) / 2 for curve in (found.morf, found.lerf)]
    # 64 pixels are no multiple of 10 steps: widths differ a little
    assert torch.allclose(found.fractions[0] * 64, torch.tensor([0, 6, 13, 19, 26, 32, 38, 45, 51, 58, 64], dtype=D))
    widths = found.fractions.diff(dim=1)
    exact = ((found.morf[:, 1:] + found.morf[:, :-1]) / 2 * widths).sum(1)
    assert torch.allclose(found.morf_area, exact)
    assert torch.allclose(found.morf_area, means[0], atol=0.05 * float(found.morf.abs().max()))
    assert torch.allclose(found.srg, found.lerf_area - found.morf_area)
    even = rp.metrics.flip(model, x, torch.randn_like(x), 2, steps=16)
    assert torch.allclose(even.abpc, even.srg * 16 / 17)


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(flipping).failed == 0


# Batches, targets, replacements


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_a_picture_has_the_same_curves_in_every_batch_and_pass(batch):
    model, x = plain(), pictures(3, 3, 8, 8)
    R, target = torch.randn_like(x), torch.tensor([0, 3, 2])
    R[1] = 0.5  # no order
    together = rp.metrics.flip(model, x, R, target, region=2, steps=6, batch=batch)
    for b in range(3):
        alone = rp.metrics.flip(model, x[b : b + 1], R[b : b + 1], int(target[b]), region=2, steps=6)
        for curve in ("morf", "lerf"):
            one, other = getattr(together, curve)[b], getattr(alone, curve)[0]
            assert torch.allclose(one, other, atol=1e-12, equal_nan=True)


def test_all_steps_of_a_picture_take_few_passes():
    model, x = plain(), pictures(2, 3, 8, 8)
    calls = []
    model.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    rp.metrics.flip(model, x, torch.randn_like(x), 0, steps=10, batch=64)
    assert calls == [40]  # of both pictures: whole, all gone, and nine steps by two orders
    calls.clear()
    rp.metrics.flip(model, x, torch.randn_like(x), 0, steps=10, batch=32)
    assert calls == [32, 8]


def test_targets_of_every_form_mean_the_same():
    model, x = plain(), pictures()
    R = torch.randn_like(x)
    model.classes = ["a", "b", "c", "d", "e"]
    expected = rp.metrics.flip(model, x, R, 3, steps=4)
    for target in (torch.tensor([3, 3]), torch.tensor(3), "d", lambda y: y[:, 3]):
        assert torch.equal(rp.metrics.flip(model, x, R, target, steps=4).morf, expected.morf)
    predicted = model(x).argmax(1)
    by_none, by_index = (rp.metrics.flip(model, x, R, t, steps=4) for t in (None, predicted))
    assert torch.equal(by_none.lerf, by_index.lerf)
    with pytest.raises(InputError, match="did you mean"):
        rp.metrics.flip(model, x, R, "dd", steps=4)


def test_replacements_by_hand():
    x = pictures(2, 3, 6, 6)
    seen = []

    def model(x):
        seen.append(x)
        return x.flatten(1)

    R = torch.zeros(2, 6, 6, dtype=D)
    R[:, 2, 3] = 1.0
    image = torch.randn(3, 6, 6, dtype=D)
    fills = {
        "mean": x.mean((2, 3), keepdim=True).expand_as(x),
        0.25: torch.full_like(x, 0.25),
        image: image.expand_as(x),
        image[:, 0, 0]: image[:, :1, :1].expand_as(x),
    }
    for replace, fill in fills.items():
        seen.clear()
        rp.metrics.flip(model, x, R, 0, steps=36, replace=replace, batch=1000)
        first = next(v for v in seen[0] if (v != x[0]).any(0).sum() == 1 and bool((v != x[0])[:, 2, 3].all()))
        assert torch.equal(first[:, 2, 3], fill[0, :, 2, 3])


def test_a_blur_leaves_what_is_smooth_and_neighbours_leak_nothing():
    flat = torch.full((1, 3, 16, 16), 0.7, dtype=D)
    R = torch.randn(1, 16, 16)
    for replace in ("blur", "neighbours"):
        found = rp.metrics.flip(lambda x: x.sum((1, 2, 3))[:, None], flat, R, 0, replace=replace)
        assert torch.allclose(found.morf, found.morf[:, :1])

    def centre(x):
        return x[:, :, 5, 5].sum(1)[:, None]

    x = pictures(1, 3, 16, 16)
    R = torch.zeros(1, 16, 16)
    R[0, 4:8, 4:8] = 1.0
    other = x.clone()
    other[0, :, 4:8, 4:8] += 5.0
    gone = [
        rp.metrics.flip(centre, v, R, 0, region=4, steps=16, replace="neighbours").morf[0, 1:-1] for v in (x, other)
    ]
    assert torch.allclose(gone[0], gone[1], atol=1e-12)
    leaks = [rp.metrics.flip(centre, v, R, 0, region=4, steps=16, replace="blur").morf[0, 1] for v in (x, other)]
    assert abs(float(leaks[0] - leaks[1])) > 0.1


def test_what_gives_no_order_is_nan():
    model, x = plain(), pictures(5, 3, 8, 8)
    R = torch.randn(5, 8, 8)
    R[1], R[2, 0, 0], R[3, 0, 0] = 0.1, torch.nan, torch.inf
    found = rp.metrics.flip(model, x, R, 0, steps=4, region=3)
    assert found.srg.isnan().tolist() == [False, True, True, True, False]
    assert found.abpc.isnan().tolist() == [False, True, True, True, False]
    assert found.morf[1].isnan().all()
    whole = rp.metrics.flip(model, x, torch.randn(5, 8, 8), 0, region=8)  # one region is no order either
    assert whole.srg.isnan().all()


def test_arrays_will_do_and_nothing_is_changed():
    model, x = plain(), pictures()
    R = torch.randn_like(x)
    before = x.clone(), R.clone()
    by_tensor = rp.metrics.flip(model, x, R, 0, steps=3)
    by_array = rp.metrics.flip(model, x.numpy(), R.numpy(), 0, steps=3)
    assert torch.equal(by_tensor.morf, by_array.morf)
    assert torch.equal(x, before[0])
    assert torch.equal(R, before[1])


# Refused


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"R": torch.ones(2, 3, 8, 7)}, "give relevance of x's shape"),
        ({"x": torch.ones(2, 3, 8)}, "give pictures"),
        ({"x": {"pixel_values": torch.ones(2, 3, 8, 8)}}, "no 'input_ids'"),
        ({"region": 0}, "region=0"),
        ({"region": 9}, "from 1 to 8"),
        ({"steps": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"keep": (0,)}, "keep names tokens"),
        ({"replace": "men"}, "did you mean mean"),
        ({"replace": torch.ones(4)}, "give a number"),
        ({"target": 5}, "classes 0 to 4"),
        ({"target": -1}, "classes 0 to 4"),
        ({"target": torch.tensor([1, 2, 3])}, r"a \(2,\) integer tensor"),
        ({"target": lambda y: y}, "one number for each"),
        ({"model": plain().train()}, "training mode"),
        ({"model": lambda x: x}, "a row of logits"),
    ],
)
def test_pictures_refused(changed, said):
    x = pictures()
    given = {"model": plain(), "x": x, "R": torch.randn_like(x), "target": 0} | changed
    with pytest.raises(InputError, match=said):
        rp.metrics.flip(**given)
