"""Which rule each op gets: selectors, ordered lists, the named composites, and the plan that shows it."""

import pytest
import torch
import torchvision
from torch import nn

import relprop as rp
from conftest import Calls

torch.manual_seed(0)  # with some weights a class has no positive term at all, and lrp-alpha1 no relevance
TINY = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.ReLU(),
    nn.Conv2d(4, 4, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 4, 1),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(4, 9),
    nn.ReLU(),
    nn.Linear(9, 5),
).eval()


def rules(method, model=TINY, x=None):
    plan = rp.plan(model, torch.randn(1, 3, 8, 8) if x is None else x, method)
    return {step.path: step.rule for step in plan}


def weighted(found):
    return {path: rule for path, rule in found.items() if path in ("0", "2", "5", "8", "10")}


def test_the_papers_composite():
    assert weighted(rules("cmp-alpha2-flat")) == {
        "0": "Flat()",
        "2": "AlphaBeta(alpha=2)",
        "5": "AlphaBeta(alpha=2)",
        "8": "Epsilon(eps=1e-06)",
        "10": "Epsilon(eps=1e-06)",
    }
    assert rules("cmp-alpha2-flat")["4"] == "winner takes all"
    assert rules("cmp-alpha2-flat")["6"] == "Epsilon(eps=1e-06)"


def test_flat_on_the_lowest_convolutions_and_on_the_whole_stack():
    three = rules("cmp-alpha1-flat:layers=3")
    assert [three[p] for p in ("0", "2", "5")] == ["Flat()"] * 3
    assert three["4"] == "winner takes all"
    stack = rules("cmp-alpha1-flat:layers=stack")
    assert [stack[p] for p in ("0", "2", "4", "5", "6")] == ["Flat()"] * 5
    assert [stack[p] for p in ("8", "10")] == ["Epsilon(eps=1e-06)"] * 2


def test_flat_on_more_convolutions_than_there_are_stops_at_a_convolutional_head():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 6), nn.Conv2d(4, 5, 1), nn.Flatten()).eval()
    for layers in (3, 9, "stack"):
        found = rules(f"cmp-alpha1-flat:layers={layers}", model)
        assert [found[path] for path in ("0", "2", "3")] == ["Flat()", *["Epsilon(eps=1e-06)"] * 2]


def test_options_change_the_numbers():
    assert rules("cmp-alpha1:eps=0.1")["8"] == "Epsilon(eps=0.1)"
    assert rules("cmp-alpha1:head=10")["8"] == "AlphaBeta(alpha=1)"
    assert rules("cmp-alpha1-zbox:low=-2,high=3")["0"] == "ZBox(low=-2.0, high=3.0)"


def test_bounds_come_from_the_preprocessing():
    class Preprocess:
        bounds = ((-2.0, -2.1, -2.2), (2.0, 2.1, 2.2))

    model = nn.Sequential(*TINY).eval()
    model.preprocess = Preprocess()
    assert rules("cmp-alpha1-zbox", model)["0"] == "ZBox(low=(-2.0, -2.1, -2.2), high=(2.0, 2.1, 2.2))"


def test_first_means_the_order_of_execution():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.middle, self.first = (
                nn.Linear(36, 5),
                nn.Conv2d(4, 4, 3, padding=1),
                nn.Conv2d(3, 4, 3),
            )

        def forward(self, x):
            return self.last(self.middle(self.first(x)).flatten(1)[:, :36])

    found = rules("cmp-alpha1-flat", Backwards().eval())
    assert (found["first"], found["middle"], found["last"]) == (
        "Flat()",
        "AlphaBeta(alpha=1)",
        "Epsilon(eps=1e-06)",
    )


def test_fully_connected_is_meant_by_the_computation():
    convolutional = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 6), nn.Conv2d(4, 5, 1), nn.Flatten()
    ).eval()
    heads = [s.head for s in rp.plan(convolutional, torch.randn(1, 3, 8, 8)) if s.op == "conv2d"]
    assert heads == [False, True, True]
    larger = rp.plan(
        nn.Sequential(*convolutional[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(),
        torch.randn(1, 3, 12, 12),
    )
    assert [s.head for s in larger if s.op == "conv2d"] == [False, False, True]  # SqueezeNet's classifier


def test_selectors_combine():
    on, R = rp.on, rp.rules
    composite = rp.Composite(
        [
            (on.first(2, of=on.conv) & ~on.first(1), R.WSquare()),
            (on.last(1) | on.path("0"), R.Z()),
            (on.pool, R.ZPlus()),
            (on.weighted, R.Gamma(0.5)),
        ]
    )
    found = rules(composite)
    assert weighted(found) == {
        "0": "Z()",
        "2": "WSquare()",
        "5": "Gamma(gamma=0.5)",
        "8": "Gamma(gamma=0.5)",
        "10": "Z()",
    }
    assert found["6"] == "ZPlus()"  # asked for by name
    assert found["4"] == "winner takes all"


def test_a_rule_for_weighted_ops_leaves_the_others_at_their_default():
    found = rules(rp.Composite([(rp.on.any, rp.rules.AlphaBeta(2))]))
    assert (found["6"], found["4"], found["1"]) == ("Epsilon(eps=1e-06)", "winner takes all", "Pass()")


def test_a_weighted_op_that_nothing_means_is_an_error():
    with pytest.raises(rp.RuleError, match="no rule for linear in '8'"):
        rules(rp.Composite([(rp.on.conv, rp.rules.ZPlus())]))


def test_a_path_that_matches_nothing_suggests_the_near_one():
    with pytest.raises(rp.RuleError, match="did you mean conv"):
        rules(
            rp.Composite([(rp.on.path("covn"), rp.rules.Z()), (rp.on.any, rp.rules.Z())]),
            Calls(torch.relu).eval(),
        )


def test_pass_where_the_shapes_differ_is_an_error():
    with pytest.raises(rp.RuleError, match="differ in shape"):
        rp.attribute(TINY, torch.randn(1, 3, 8, 8), 0, rp.Composite([(rp.on.weighted, rp.rules.Pass())]))


def test_a_composite_is_a_list_of_pairs():
    with pytest.raises(rp.InputError, match="selector, rule"):
        rp.Composite([(rp.rules.Z(), rp.on.conv)])
    assert "(on.conv, ZPlus())" in repr(rp.Composite([(rp.on.conv, rp.rules.ZPlus())]))


def test_the_plan_of_vgg16_shows_the_composite_at_a_glance():
    model = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    plan = rp.plan(model, torch.zeros(1, 3, 32, 32), "cmp-alpha2-flat")
    found = [step.rule for step in plan if step.op in ("conv2d", "linear")]
    assert found == ["Flat()", *["AlphaBeta(alpha=2)"] * 12, *["Epsilon(eps=1e-06)"] * 3]
    assert "features.28" in str(plan)
    assert len(str(plan).splitlines()) == len(plan) + 4


def test_every_named_method_explains():
    e = rp.explain(
        TINY,
        torch.randn(1, 3, 8, 8),
        [0],
        [
            n + (":low=-3,high=3" if "box" in n else "")
            for n in rp.methods()
            # these ask more of the model: see test_methods, test_rollout, test_patterns
            if n not in ("cam", "attention-rollout") and not n.startswith("pattern")
        ],
    )
    assert all(torch.isfinite(R).all() and R.abs().max() > 0 for R in e.relevance.values())
