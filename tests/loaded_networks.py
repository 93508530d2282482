"""What tests of loaded networks share: the error in place of one, its weights, conservation of relevance, a picture."""

import numpy as np
import pytest
import torch
from PIL import Image

import relprop as rp
from relprop.models import ModelError, load


def failure(name, weights=None):
    with pytest.raises(ModelError) as caught:
        load(str(name), weights)
    return str(caught.value)


def failure_in_one_line(name, weights):
    """The message of the error, which must be a single line."""
    told = failure(name, weights)
    assert "\n" not in told
    return told


def same(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def conserves(model, x, method="cmp-alpha2-flat"):
    found = rp.explain(model, x, targets=[1], methods=[method])
    return found.ledger[method].error < 1e-5 and found.relevance[method].abs().max() > 0


def picture(width=301, height=211):
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height))
