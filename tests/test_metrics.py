"""Measures of localisation and occlusion, by hand-computed cases and by what must always hold."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relprop import metrics
from relprop.support.errors import InputError

BATCHES = (1, 2, 7, 32)
SHARES = (
    metrics.inside_total_ratio,
    metrics.pointing_game,
    metrics.relevance_rank_accuracy,
    lambda R, mask: metrics.top_k(R, mask, 5),
)


def box(batch=1, size=(8, 8), rows=slice(0, 2), columns=slice(0, 4)):
    mask = torch.zeros(batch, *size, dtype=torch.bool)
    mask[:, rows, columns] = True
    return mask


def nan_at(values):
    return [math.isnan(value) for value in values.tolist()]


# mu and mu_w


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("value", [1.0, 0.1, 3e-30, 7e30])
def test_a_uniform_map_is_the_baseline_in_every_batch(batch, value):
    mask = box(batch)
    R = torch.full((batch, 3, 8, 8), value)
    assert metrics.inside_total_ratio(R, mask).tolist() == pytest.approx([8 / 64] * batch)
    assert metrics.weighted_inside_total_ratio(R, mask).tolist() == pytest.approx([1] * batch)
    for share in SHARES:
        assert share(R, mask).tolist() == pytest.approx([8 / 64] * batch)


def test_by_hand():
    R = torch.tensor([[[1.0, -5.0], [3.0, 4.0]]])
    mask = torch.tensor([[[True, True], [False, True]]])
    assert metrics.inside_total_ratio(R, mask).item() == 5 / 8
    assert metrics.weighted_inside_total_ratio(R, mask).item() == pytest.approx(5 / 8 * 4 / 3)


def test_channels_are_summed_before_the_positive_part_is_taken():
    R = torch.tensor([[[[3.0, 1.0]], [[-2.0, 1.0]]]])  # sums to 1 and 2
    assert metrics.inside_total_ratio(R, torch.tensor([[[True, False]]])).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_box_as_large_as_the_picture_holds_everything(batch):
    R, mask = torch.randn(batch, 3, 9, 7), torch.ones(batch, 9, 7, dtype=torch.bool)
    assert metrics.inside_total_ratio(R, mask).tolist() == [1] * batch
    assert metrics.weighted_inside_total_ratio(R, mask).tolist() == [1] * batch


@pytest.mark.parametrize("batch", BATCHES[1:])
@pytest.mark.parametrize("shape", [(3, 9, 7), (9, 7), (3, 224, 224)])
def test_a_batch_gives_to_the_bit_what_its_pictures_give_alone(batch, shape):
    R = torch.randn(batch, *shape, dtype=torch.float64)
    mask = torch.rand(batch, *shape[-2:]) < torch.rand(batch, 1, 1)
    for measure in (metrics.weighted_inside_total_ratio, *SHARES):
        alone = torch.cat([measure(R[i : i + 1], mask[i : i + 1]) for i in range(batch)])
        assert torch.equal(measure(R, mask).nan_to_num(-1), alone.nan_to_num(-1))


def test_a_batch_gives_to_the_bit_what_its_pictures_give_alone_on_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # sums over a batch are then taken in another order than sums over one picture
    try:
        R, mask = torch.randn(3, 224, 224, dtype=torch.float64), torch.rand(3, 224, 224) < 0.3
        alone = torch.cat([metrics.inside_total_ratio(R[i : i + 1], mask[i : i + 1]) for i in range(3)])
        assert torch.equal(metrics.inside_total_ratio(R, mask), alone)
    finally:
        torch.set_num_threads(threads)


def test_what_is_undefined_is_nan_and_says_why():
    R = torch.ones(6, 1, 4, 4)
    mask = box(6, (4, 4))
    R[1] = -1
    mask[2] = False
    R[3, 0, 3, 3] = torch.nan
    R[4, 0, 3, 3] = torch.inf
    R[5] = 0
    expected = ["ok", "no_positive_relevance", "box_cropped_out", "non_finite", "non_finite", "no_positive_relevance"]
    assert metrics.statuses(R, mask) == expected
    for measure in (metrics.weighted_inside_total_ratio, *SHARES):
        assert nan_at(measure(R, mask)) == [False] + [True] * 5


def test_the_status_of_a_cropped_box_does_not_depend_on_the_map():
    R = torch.stack([torch.ones(4, 4), -torch.ones(4, 4), torch.full((4, 4), torch.nan)])
    assert metrics.statuses(R, torch.zeros(3, 4, 4, dtype=torch.bool)) == ["box_cropped_out"] * 3


def test_what_no_float64_can_sum_is_not_finite():
    R = torch.full((1, 4, 4), 1.7e308, dtype=torch.float64)
    assert metrics.statuses(R, box(1, (4, 4))) == ["non_finite"]
    assert nan_at(metrics.inside_total_ratio(R, box(1, (4, 4)))) == [True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision(dtype):
    R = torch.full((2, 3, 300, 300), 100.0).to(dtype)  # the sum is beyond half precision's range
    mu = metrics.inside_total_ratio(R, box(2, (300, 300), columns=slice(0, 300)))
    assert mu.tolist() == pytest.approx([2 / 300] * 2)
    assert mu.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_maps_with_a_gradient_and_no_maps_at_all():
    R = torch.ones(2, 3, 8, 8, requires_grad=True)
    assert not metrics.inside_total_ratio(R, box(2)).requires_grad
    assert metrics.weighted_inside_total_ratio(torch.ones(0, 3, 8, 8), box(0)).shape == (0,)
    assert metrics.relevance_rank_accuracy(torch.ones(0, 3, 8, 8), box(0)).shape == (0,)


def test_masks_of_zeros_and_ones_will_do_but_no_others():
    R = torch.ones(1, 8, 8)
    assert metrics.inside_total_ratio(R, box().float()).item() == 8 / 64
    with pytest.raises(InputError, match="0 and 1"):
        metrics.inside_total_ratio(R, box().float() / 2)


@pytest.mark.parametrize("mask", [box(2), box(1, (8, 7)), box()[0], box()[None]])
def test_masks_must_fit(mask):
    with pytest.raises(InputError, match=r"give a mask of \(1, 8, 8\)"):
        metrics.inside_total_ratio(torch.ones(1, 3, 8, 8), mask)
    with pytest.raises(InputError, match="give"):
        metrics.inside_total_ratio(torch.ones(8, 8), mask)


@st.composite
def maps(draw):
    batch, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    torch.manual_seed(draw(st.integers(0, 2**32)))
    mask = torch.rand(batch, height, width) < draw(st.floats(0.1, 0.9))
    return torch.randn(batch, 3, height, width, dtype=torch.float64), mask


@settings(max_examples=60, deadline=None)
@given(maps(), st.floats(1e-6, 1e6))
def test_always(pair, factor):
    R, mask = pair
    mu = metrics.inside_total_ratio(R, mask)
    ok = torch.tensor([status == "ok" for status in metrics.statuses(R, mask)])
    for measure in SHARES[:3]:
        shares = measure(R, mask)
        assert torch.equal(~shares.isnan(), ok)
        assert ((shares[ok] >= 0) & (shares[ok] <= 1)).all()
        assert torch.allclose(measure(R * factor, mask)[ok], shares[ok])
    both = ok & ~metrics.inside_total_ratio(R, ~mask).isnan()
    assert torch.allclose((mu + metrics.inside_total_ratio(R, ~mask))[both], torch.ones(int(both.sum())).double())
    weighted = metrics.weighted_inside_total_ratio(R, mask)
    area = mask.double().mean(dim=(1, 2))
    assert torch.allclose((weighted * area)[ok], mu[ok])


# ranks


def test_ranks_by_hand():
    R = torch.tensor([[[9.0, 7.0, 5.0], [3.0, 1.0, -1.0]]])
    mask = torch.tensor([[[True, False, True], [True, False, False]]])
    assert metrics.pointing_game(R, mask).item() == 1
    assert metrics.relevance_rank_accuracy(R, mask).item() == pytest.approx(2 / 3)
    assert [metrics.top_k(R, mask, k).item() for k in (1, 2, 4, 6)] == pytest.approx([1, 1 / 2, 3 / 4, 1 / 2])


def test_ties_give_what_chance_would():
    R = torch.tensor([[[5.0, 2.0, 2.0, 2.0, 1.0]]])
    mask = torch.tensor([[[False, True, False, False, False]]])
    assert metrics.top_k(R, mask, 2).item() == pytest.approx(1 / 6)  # one of three for the second place
    assert metrics.pointing_game(R[..., 1:], mask[..., 1:]).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", [0, -1, 65])
def test_k_must_fit(k):
    with pytest.raises(InputError, match="1 to 64"):
        metrics.top_k(torch.ones(1, 8, 8), box(), k)


# other classes, other maps


def test_negative_relevance_on_other_classes():
    R = torch.tensor([[[2.0, -1.0, -3.0, -4.0]]])
    own = torch.tensor([[[True, True, False, False]]])
    other = torch.tensor([[[False, True, True, False]]])
    share, area = metrics.negative_share_inside(R, other, own)
    assert (share.item(), area.item()) == (3 / 8, 1 / 4)


def test_negative_relevance_undefined():
    own = box()
    share, area = metrics.negative_share_inside(torch.ones(1, 8, 8), ~own, own)
    assert (nan_at(share), area.item()) == ([True], 56 / 64)
    share, area = metrics.negative_share_inside(-torch.ones(1, 8, 8), own, own)
    assert (nan_at(share), area.item()) == ([True], 0)


def test_similarity():
    a = torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[torch.nan, 0.0]]])
    b = torch.tensor([[[0.0, 2.0]], [[-3.0, -6.0]], [[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])
    cosines = metrics.similarity(a, b)
    assert cosines[:3].tolist() == pytest.approx([0, -1, math.sqrt(0.5)])
    assert nan_at(cosines) == [False] * 3 + [True] * 2
    tiny = torch.tensor([[[3e-200, 4e-200]]], dtype=torch.float64)
    assert metrics.similarity(tiny, tiny * 1e300).item() == pytest.approx(1)
    assert metrics.similarity(tiny, tiny.flip(2)).item() == pytest.approx(24 / 25)
    assert metrics.similarity(tiny * 1e300, tiny.flip(2) * 1e300).item() == pytest.approx(24 / 25)
    with pytest.raises(InputError, match="same pictures"):
        metrics.similarity(a, b[:2])


# occlusion


def test_occlusion_hides_one_part_and_leaves_the_other():
    x, fill, mask = torch.randn(2, 3, 8, 8), torch.randn(3, 8, 8), box(2)
    before = x.clone()
    for part, hidden in (("object", mask), ("context", ~mask)):
        occluded = metrics.occlude(x, mask, fill, part)
        hidden = hidden[:, None].expand_as(x)  # noqa: PLW2901
        assert torch.equal(occluded[hidden], fill.expand_as(x)[hidden])
        assert torch.equal(occluded[~hidden], x[~hidden])
    assert torch.equal(x, before)
    assert torch.equal(metrics.occlude(x, mask, fill.expand_as(x)), metrics.occlude(x, mask, fill))


def test_occlusion_refuses_what_does_not_fit():
    x = torch.ones(1, 3, 8, 8)
    with pytest.raises(InputError, match="did you mean context"):
        metrics.occlude(x, box(), x[0], "contxt")
    with pytest.raises(InputError, match="shapes"):
        metrics.occlude(x, box(2), x[0])
    with pytest.raises(InputError, match="shapes"):
        metrics.occlude(x, box(), x[0, 0])


def test_delta():
    before, after = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, 9.0], [9.0, 6.0]])
    assert metrics.delta(before, after, torch.tensor([0, 1])).tolist() == [-0.5, 2]
    assert metrics.delta(before, after, 1).tolist() == [7, 2]
    for target in (2, -1, torch.tensor([0, -1])):
        with pytest.raises(InputError, match="0 to 1"):
            metrics.delta(before, after, target)
    with pytest.raises(InputError, match="shapes"):
        metrics.delta(before, after[:1], 0)


# NumPy arrays


def test_numpy_arrays_are_measured_as_tensors_are():
    R = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    mask, other, x = box(3), box(3, rows=slice(1, 6)), torch.randn(3, 2, 8, 8)
    calls = [
        *((share, (R, mask)) for share in SHARES),
        (metrics.weighted_inside_total_ratio, (R, mask)),
        (metrics.weighted_by_area, (torch.rand(3), mask)),
        (metrics.similarity, (R, R.flip(0))),
        (metrics.occlude, (x, mask, x[0])),
        (metrics.delta, (R[..., 0, 0], R[..., 1, 1], torch.tensor([0, 1, 0]))),
    ]
    for measure, tensors in calls:
        found, wanted = measure(*(tensor.numpy() for tensor in tensors)), measure(*tensors)
        assert torch.equal(found, wanted)
        assert found.dtype == wanted.dtype
    found = metrics.negative_share_inside(R.numpy(), other.numpy(), mask.numpy())
    assert all(map(torch.equal, found, metrics.negative_share_inside(R, other, mask)))
    assert metrics.statuses(R.numpy(), mask.numpy()) == ["ok"] * 3


@pytest.mark.filterwarnings("error")
def test_a_view_of_an_array_that_may_not_be_written_is_fine():
    R = np.arange(64.0).reshape(1, 8, 8)[:, ::-1]
    R.flags.writeable = False
    mask = np.zeros((1, 8, 8), dtype=np.uint8)
    mask[:, :2] = 1
    assert metrics.inside_total_ratio(R, mask).item() == pytest.approx(R[:, :2].sum() / R.sum(), rel=1e-12)


@pytest.mark.parametrize(("R", "said"), [([[0.5]], "type list"), (np.array([["a"]]), "array of <U1")])
def test_neither_tensor_nor_numbers_is_refused(R, said):
    with pytest.raises(InputError, match=f"R is .*{said}"):
        metrics.inside_total_ratio(R, box())
