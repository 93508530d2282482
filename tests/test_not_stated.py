"""Preprocessing that a network does not state, and how far two ways to preprocess differ."""

import copy
import pickle

import pytest
import torch

from loaded_networks import picture
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError
from relprop.models.families.not_stated import NotStated
from relprop.models.families.same_preprocessing import differ


def test_what_is_unknown_says_how_to_tell_it_whatever_is_asked():
    unknown = NotStated("say so")
    for use in (
        lambda: unknown(picture()),
        lambda: unknown.crop,
        lambda: len(unknown),
        lambda: unknown[0],
        lambda: unknown.picture(picture()),
    ):
        with pytest.raises(ModelError, match=r"^say so$"):
            use()
    with pytest.raises(ModelError, match=r"^say so$"):
        list(unknown)
    assert getattr(unknown, "bounds", None) is None
    assert copy.deepcopy(unknown).how == pickle.loads(pickle.dumps(unknown)).how == "say so"


def test_ways_to_preprocess_differ_by_what_they_differ_by():
    ours = Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3)
    assert differ(ours, ours) == 0
    for other in (
        Preprocess(32, 41, (0.5,) * 3, (0.25,) * 3),
        Preprocess(32, (40, 40), (0.5,) * 3, (0.25,) * 3),
        Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3, "bicubic"),
        Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3, channels="BGR"),
        Preprocess(32, 40, (0.5, 0.5, 0.4), (0.25,) * 3),
        Preprocess(33, 40, (0.5,) * 3, (0.25,) * 3),
    ):
        assert differ(ours, other) > 10
    assert differ(ours, Preprocess(32, 40, (0.5 + 1 / 255,) * 3, (0.25,) * 3)) == pytest.approx(1, abs=1e-3)
    moved = lambda image: torch.roll(ours(image), (1, 1), (1, 2))  # noqa: E731 - a name for what the test does
    assert differ(ours, moved) > 10
    assert differ(ours, moved, shift=1) == 0
