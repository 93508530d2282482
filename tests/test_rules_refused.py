"""Where a rule has no meaning it is refused: flat on what is fully connected, pass and zB without what they need."""

from functools import partial

import pytest
from torch import nn

import relprop as rp
from relprop import rules
from rule_cases import inputs, made, over, shares

FULLY_CONNECTED = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "linear-on-sequence": (partial(nn.Linear, 4, 3), (3, 4)),
    "conv1d-covering-its-input": (partial(nn.Conv1d, 2, 3, 5), (2, 5)),
    "conv2d-covering-its-input": (partial(nn.Conv2d, 2, 3, (4, 3)), (2, 4, 3)),
    "conv2d-1x1-at-the-end": (partial(nn.Conv2d, 2, 3, 1), (2, 4, 3)),
}


@over(FULLY_CONNECTED)
def test_flat_is_refused_where_everything_is_connected(case):
    make, shape = case
    with pytest.raises(rp.RuleError):
        shares(made(make), inputs(shape, "mixed"), rules.Flat())


def test_flat_on_linear_layers_alone_is_refused_and_names_the_remedy():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    with pytest.raises(rp.RuleError, match="lrp-epsilon"):
        rp.attribute(model, inputs((6,), "mixed"), target=0, method=rp.Composite([(rp.on.any, rp.rules.Flat())]))


def test_pass_is_refused_where_shapes_differ():
    with pytest.raises(rp.RuleError):
        shares(made(partial(nn.Conv2d, 2, 3, 2)), inputs((2, 4, 4), "mixed"), rules.Pass())


def test_zbox_is_refused_where_bounds_are_unknown():
    model = nn.Sequential(made(partial(nn.Conv2d, 3, 2, 3)), nn.Flatten(1), nn.Linear(8, 3).double()).eval()
    with pytest.raises(rp.RuleError):
        rp.attribute(model, inputs((3, 4, 4), "mixed"), target=0, method="cmp-alpha1-zbox")


def test_weighted_layer_that_no_selector_matches_is_refused():
    model = nn.Sequential(made(partial(nn.Conv2d, 3, 2, 3)), nn.Flatten(1), nn.Linear(8, 3).double()).eval()
    conv_only = rp.Composite([(rp.on.conv, rules.ZPlus())])
    with pytest.raises(rp.RuleError):
        rp.attribute(model, inputs((3, 4, 4), "mixed"), target=0, method=conv_only)


@pytest.mark.parametrize(("low", "high"), [(1, -1), ((-1, 2.0), (1, 1.5)), ((0.0, 0.0, 1.0), 0.5), (2, (3.0, 1.0))])
def test_zbox_is_refused_where_low_is_above_high(low, high):
    with pytest.raises(rp.RuleError, match="low is above high"):
        rules.ZBox(low, high)
