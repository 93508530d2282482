"""The self-check: a picture that needs no interpolation, and what it tells apart."""

from dataclasses import replace

import numpy as np
import torch

from conversion import SMALL
from relprop.data.preprocess import Preprocess
from relprop.models.convert import self_check
from relprop.models.networks import digits


def test_the_picture_of_the_self_check_is_not_interpolated():
    for resize in (70, (80, 72)):
        preprocess = Preprocess(64, resize, (0.5,) * 3, (0.5,) * 3)
        image = self_check.ramps(preprocess)
        assert np.array_equal(
            np.asarray(preprocess.picture(image)),
            np.asarray(image)[3:67, 3:67] if resize == 70 else np.asarray(image)[8:72, 4:68],
        )
        corners = np.asarray(image)
        assert corners[0, 0].tolist() == [0, 0, 255]
        assert corners[-1, -1].tolist() == [255, 255, 0]
        assert corners[0, -1].tolist() == [255, 0, 128]


def checked(state, preprocess=digits.PREPROCESS):
    model = digits.architecture(SMALL).eval()
    model.load_state_dict(state)
    return self_check.self_check(model, preprocess, "it")


def test_the_self_check_tells_weights_and_preprocessing_apart(state):
    usual = checked(state)
    assert checked(state) == usual
    assert [logit for _, logit in usual.top] == sorted((logit for _, logit in usual.top), reverse=True)
    assert checked(state | {"features.0.weight": state["features.0.weight"] * 1.001}) != usual
    shifted = replace(digits.PREPROCESS, mean=(0.45, 0.45, 0.451))
    assert checked(state, shifted).sha256 != usual.sha256


def test_the_self_check_does_not_depend_on_the_order_of_sums(state):
    """What changes the last digits, as other threads do, leaves the hash alone."""
    order = torch.randperm(128)
    turned = dict(state)
    for key in ("classifier.0.weight", "classifier.0.bias"):
        turned[key] = state[key][order]
    turned["classifier.3.weight"] = state["classifier.3.weight"][:, order]
    assert checked(turned).sha256 == checked(state).sha256
