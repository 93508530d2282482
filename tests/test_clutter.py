"""The embedded data: the same pictures always, exact boxes, held-out digits."""

from itertools import combinations

import numpy as np
import pytest

from relprop.data import clutter, scenes
from relprop.data.clutter import Clutter
from relprop.data.sample import sample as embedded_sample
from relprop.support.errors import RelpropError

SEQUENCES = [Clutter(split, variant) for split in ("train", "test") for variant in ("single", "multi")]
PICTURES = 150


def same(a, b):
    return np.array_equal(a.image, b.image) and a.labels == b.labels and np.array_equal(a.boxes, b.boxes)


def extent(changed):
    ys, xs = np.nonzero(changed)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.fixture(scope="module", params=SEQUENCES, ids=lambda s: f"{s.split}-{s.variant}")
def drawn(request):
    return request.param, [request.param.sample(i) for i in range(PICTURES)]


def test_a_picture_depends_on_its_number_alone(drawn):
    sequence, samples = drawn
    again = Clutter(sequence.split, sequence.variant)
    for i in (41, 7, 120, 7):
        assert same(again[i], samples[i])


def test_pictures_are_those_that_published_figures_were_measured_on():
    first = [Clutter("test", "multi").sample(i) for i in range(3)]
    assert [sample.labels for sample in first] == [(5,), (2,), (7, 3, 8)]
    assert [sample.boxes.tolist() for sample in first] == [
        [[6, 15, 37, 48]],
        [[13, 18, 28, 33]],
        [[44, 24, 62, 53], [16, 0, 34, 21], [41, 1, 60, 23]],
    ]
    assert [sample.image.mean() for sample in first] == pytest.approx([69.3, 26.1, 93.6], abs=0.5)


def test_number_split_variant_and_seed_each_make_another_picture():
    choices = [
        (split, variant, seed) for split in ("train", "test") for variant in ("single", "multi") for seed in (0, 1)
    ]
    samples = [Clutter(*choice).sample(i) for choice in choices for i in (0, 1)]
    assert not any(np.array_equal(a.image, b.image) for a, b in combinations(samples, 2))


def test_shapes_types_and_ranges(drawn):
    for sample in drawn[1]:
        assert sample.image.shape == (64, 64, 3)
        assert sample.image.dtype == np.uint8
        assert sample.boxes.shape == (len(sample.labels), 4)
        assert sample.boxes.dtype == np.int64
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= 64).all()
        assert all(type(label) is int and 0 <= label <= 9 for label in sample.labels)


def test_pictures_are_not_plain(drawn):
    assert np.mean([sample.image.std() for sample in drawn[1]]) > 30


def test_variants_show_as_many_digits_as_they_say(drawn):
    sequence, samples = drawn
    counts = {len(sample.labels) for sample in samples}
    assert counts == ({1} if sequence.variant == "single" else {1, 2, 3})


def test_all_classes_occur_and_mostly_different_ones_in_a_picture(drawn):
    samples = drawn[1]
    assert {label for sample in samples for label in sample.labels} == set(range(10))
    repeats = sum(len(sample.labels) - len(set(sample.labels)) for sample in samples)
    assert repeats < 0.1 * sum(len(sample.labels) for sample in samples)


def test_digits_are_small_and_large(drawn):
    sequence, samples = drawn
    boxes = np.concatenate([sample.boxes for sample in samples])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / 64**2
    assert longer.min() >= clutter.SMALLEST - 4
    assert longer.max() <= clutter.LARGEST + 2
    assert area.min() < 0.05
    assert area.max() > 0.5 or sequence.variant == "multi"


def test_boxes_hardly_overlap(drawn):
    for sample in drawn[1]:
        for a, b in combinations(sample.boxes, 2):
            common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
            assert common <= 0.1 * min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())


def test_boxes_end_where_digits_do(drawn, monkeypatch):
    """Each digit is painted a second time, on black and on white: somewhere each pixel of it shows."""
    sequence, samples = drawn
    blend = scenes.blend
    changes = []

    def watched(canvas, opacity, colour, x, y):
        before = canvas.copy()
        blend(canvas, opacity, colour, x, y)
        shows = np.zeros((64, 64), dtype=bool)
        for shade in (0, 255):
            plain = np.full((64, 64, 3), shade, dtype=np.uint8)
            blend(plain, opacity, colour, x, y)
            shows |= (plain != shade).any(axis=2)
        changes.append(((canvas != before).any(axis=2), shows))

    monkeypatch.setattr(scenes, "blend", watched)
    exact = []
    for i, sample in enumerate(samples):
        changes.clear()
        assert same(sequence.sample(i), sample)
        covered = np.zeros((64, 64), dtype=int)
        for box, (changed, shows) in zip(sample.boxes, changes[-len(sample.labels) :], strict=True):
            assert extent(shows) == box.tolist()
            assert not (changed & ~shows).any()
            exact.append(extent(changed) == box.tolist())
            covered += shows
        assert covered.max() == 1  # no digit covers another
    assert np.mean(exact) > 0.95  # by chance the ground has a digit's colour just where its edge is


def test_splits_share_no_digit():
    train, test = (clutter._handwriting(split)[0] for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    assert len(test) == clutter.HELD_OUT
    assert not {(d.size, d.tobytes()) for d in train} & {(d.size, d.tobytes()) for d in test}


def test_splits_share_no_pixel_of_the_photographs():
    heights = [{photograph.height for photograph in clutter._photographs(split)} for split in ("train", "test")]
    assert heights == [{300}, {127}]


def test_the_demonstration_is_a_held_out_picture_of_two_classes():
    sample = clutter.sample_picture()
    assert len(set(sample.labels)) == len(sample.labels) == 2
    assert same(sample, Clutter("test", "multi").sample(clutter._DEMONSTRATION))


def test_the_picture_in_the_package_is_the_demonstration():
    assert np.array_equal(np.asarray(embedded_sample()), clutter.sample_picture().image)


@pytest.mark.parametrize("wrong", [{"split": "val"}, {"variant": "double"}])
def test_unknown_splits_and_variants_are_refused(wrong):
    with pytest.raises(RelpropError, match="choose one of"):
        Clutter(**{"split": "test", "variant": "multi"} | wrong)
