"""Scenes drawn again: as they were, and where they are edited, elsewhere the same to the bit."""

import doctest

import numpy as np
import pytest

from relprop.data import scenes
from relprop.data.clutter import Clutter
from relprop.data.scenes import QUARTERS, Mark
from relprop.support.errors import InputError

SEQUENCE = Clutter("test", "multi")
DRAWN = [SEQUENCE.scene(i) for i in range(20)]


def changed(a, b):
    return (a.draw() != b.draw()).any(axis=2)


def test_a_scene_is_its_picture():
    for i, scene in enumerate(DRAWN):
        sample = SEQUENCE.sample(i)
        assert np.array_equal(scene.draw(), sample.image)
        assert scene.labels == sample.labels
        assert np.array_equal(scene.boxes(), sample.boxes)
        assert np.array_equal(scene.draw(), scene.draw())  # drawing changes nothing in the scene


def test_the_example_runs():
    assert doctest.testmod(scenes).failed == 0


def test_without_a_mark_nothing_but_its_pixels_changes():
    seen = 0
    for scene in DRAWN:
        owners = scene.owners()
        for k, mark in enumerate(scene.marks):
            where = np.zeros((64, 64), dtype=bool)
            where[mark.rows_and_columns] = mark.opacity > 0
            there = changed(scene, scene.without(k))
            assert not there[~where].any()
            if k in scene.digits:  # no digit lies on another mark's ink, unless that is a fragment below it
                assert np.array_equal(where, owners == k)
                assert there.sum() > 0.8 * where.sum()
            seen += 1
        bare = scene.without(*range(len(scene.marks)))
        assert np.array_equal(bare.draw(), scene.ground)
    assert seen > 40


def test_quarters_make_up_a_mark_and_change_nothing_else():
    for scene in DRAWN[:6]:
        for k in scene.digits:
            parts = [scene.part_of(k, part) for part in QUARTERS]
            assert np.array_equal(np.sum(parts, axis=0), scene.owners() == k)
            for part, inside in zip(QUARTERS, parts, strict=True):
                there = changed(scene, scene.without_part(k, part))
                assert not there[~inside].any()
                assert there.any() == inside.any()
            nothing = scene
            for part in QUARTERS:
                nothing = nothing.without_part(k, part)
            assert np.array_equal(nothing.draw(), scene.without(k).draw())


def test_a_digit_moves_as_it_is():
    scene = SEQUENCE.scene(0)
    (k,) = scene.digits
    mark, there = scene.marks[k], scene.moved(k, 0, 0)
    assert there.marks[k].box == (0, 0, mark.box[2] - mark.box[0], mark.box[3] - mark.box[1])
    old, new = scene.owners() == k, there.owners() == k
    assert new.sum() == old.sum()
    assert not changed(scene, there)[~(old | new)].any()
    assert np.array_equal(there.moved(k, mark.x, mark.y).draw(), scene.draw())
    with pytest.raises(InputError, match="leaves the picture: x is at most"):
        scene.moved(k, 60, 0)


def test_light_and_ground():
    scene = SEQUENCE.scene(2)
    darker = scene.lit(0.5, 10)
    assert np.array_equal(darker.draw(), np.rint(scene.draw() * 0.5 + 10).astype(np.uint8))
    assert scene.lit(9, 0).draw().max() == 255  # it does not wrap around
    assert np.array_equal(scene.lit().draw(), scene.draw())
    other = scene.on(DRAWN[3].ground)
    assert np.array_equal(other.without(*range(len(scene.marks))).draw(), DRAWN[3].ground)
    full = np.zeros((64, 64), dtype=bool)
    for k in scene.digits:
        mark = scene.marks[k]
        full[mark.rows_and_columns] |= mark.opacity == 1
    assert np.array_equal(other.draw()[full], scene.draw()[full])  # opaque ink looks the same on any ground


def test_a_mark_of_ones_own_is_the_topmost():
    scene = SEQUENCE.scene(1)
    tag = Mark(np.ones((5, 7), np.float32), np.array([255, 0, 255], np.float32), 2, 50)
    marked = scene.with_mark(tag)
    assert (marked.draw()[50:55, 2:9] == (255, 0, 255)).all()
    assert (marked.owners() == len(scene.marks)).sum() == 35
    assert marked.labels == scene.labels
