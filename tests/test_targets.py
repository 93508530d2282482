"""What is explained: classes, names, regressions and functions of the output, alone or many in one walk."""

import pytest
import torch
from torch import nn

import relprop as rp

D = torch.float64


def convolutional(classes=5):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, classes),
    )
    net.classes = tuple("tabby tiger lynx puma lion".split()[:classes])
    return net.to(D).eval()


class Segmenter(nn.Module):
    """ReLU and linear layers alone, so that LRP_z is gradient x input; a mapping of maps, as torchvision returns."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.decoder = nn.Conv2d(8, 4, 1)
        self.aux = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        h = self.encoder(x).relu()
        up = nn.functional.interpolate(self.decoder(h), scale_factor=2, mode="bilinear", align_corners=False)
        return {"out": up, "aux": self.aux(h)}


@pytest.fixture
def x():
    torch.manual_seed(2)
    return torch.randn(2, 3, 8, 8, dtype=D)


def gradient_x_input(function, x):
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope * x


def test_a_contrast_is_the_difference_of_two_maps(x):
    net = convolutional()
    e = rp.explain(net, x, [3, 4, lambda y: y[:, 3] - y[:, 4]], ["lrp-z"])
    of_3, of_4, contrast = e.relevance["lrp-z"]
    assert (contrast - (of_3 - of_4)).abs().max() < 1e-10 * contrast.abs().max()
    assert torch.equal(e.versus(3, 4), of_3 - of_4)
    assert torch.equal(e.versus("puma", "lion", "lrp-z"), of_3 - of_4)
    torch.testing.assert_close(e.values[2], e.outputs[:, 3] - e.outputs[:, 4])
    assert e.targets[2].tolist() == [-1, -1]
    assert e.ledger["lrp-z"].error < 1e-14


def test_a_region_of_a_segmentation_is_gradient_x_input(x):
    net = Segmenter().to(D).eval()

    def region(y):
        return y["out"][:, 2, 1:4, 2:7].mean((1, 2))

    R = rp.attribute(net, x, region, "lrp-z")
    expected = gradient_x_input(lambda leaf: region(net(leaf)), x)
    assert (R - expected).abs().max() < 1e-12 * expected.abs().max()


def test_of_several_outputs_a_function_gets_the_one_that_is_chosen(x):
    net = Segmenter().to(D).eval()
    one = rp.attribute(net, x, lambda y: y[:, 1, 0, 0], "lrp-epsilon", output="aux")
    whole = rp.attribute(net, x, lambda y: y["aux"][:, 1, 0, 0], "lrp-epsilon")
    assert torch.equal(one, whole)


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("target", [None, 0, "by a function"])
def test_a_regression_is_explained(x, shape, target):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1)).to(D).eval()

    def model(x):
        return net(x).reshape(len(x), *shape)

    asked = (lambda y: y.reshape(len(y))) if target == "by a function" else target
    R = rp.attribute(model, x, asked, "lrp-z")
    expected = gradient_x_input(lambda leaf: model(leaf).sum(), x)
    assert (R - expected).abs().max() < 1e-12 * expected.abs().max()
    assert rp.explain(model, x, asked, ["lrp-z", "gradient-x-input"]).outputs.shape == (2, *shape)


TARGETS = [
    0,
    "lynx",
    None,
    torch.tensor([4, 1]),
    lambda y: y[:, 3] - y[:, 4],
    lambda y: y[:, :3].mean(1),
    lambda y: 2 * y[:, 2],
    lambda y: y[:, [1, 2]].sum(-1),
    lambda y: y.max(1).values,
    4,
]


@pytest.mark.parametrize("method", ["lrp-z", "cmp-alpha2-flat", "lrp-alpha1", "guided-backprop", "gradient-x-input"])
def test_ten_targets_of_mixed_kinds_in_one_walk_are_ten_runs(x, method):
    net = convolutional()
    together = rp.explain(net, x, TARGETS, [method])
    assert len(together.targets) == len(together.labels) == 10
    for t, target in enumerate(TARGETS):
        alone = rp.explain(net, x, [target], [method])
        expected, got = alone.relevance[method][0], together.relevance[method][t]
        assert (got - expected).abs().max() <= 1e-12 * expected.abs().max(), (t, method)
        torch.testing.assert_close(alone.values[0], together.values[t])
        if method in together.ledger:
            start = together.ledger[method].start[t]
            torch.testing.assert_close(start, alone.ledger[method].start[0])


def test_relevance_starts_as_the_value_of_a_function_or_as_one(x):
    net = convolutional()

    def double(y):
        return 2 * y[:, 1]

    logit = rp.explain(net, x, [double], ["lrp-epsilon"])
    torch.testing.assert_close(logit.ledger["lrp-epsilon"].start[0], 2 * net(x)[:, 1])
    one = rp.explain(net, x, [double], ["lrp-epsilon"], start="one")
    torch.testing.assert_close(one.ledger["lrp-epsilon"].start, torch.ones(1, 2, dtype=D))


def test_the_ops_of_a_function_stand_in_plan_and_ledger(x):
    net = convolutional()
    plan = rp.plan(net, x, "cmp-alpha1", target=lambda y: y[:, 0] - y[:, 1])
    assert [step.op for step in plan][-3:] == ["getitem", "getitem", "sub"]
    assert [step.path for step in plan][-3:] == ["target"] * 3


def test_one_function_in_the_place_of_the_list_is_a_target_or_a_choice(x):
    net = convolutional()
    as_target = rp.explain(net, x, lambda y: y[:, 0], ["lrp-z"])
    as_choice = rp.explain(net, x, lambda y: y.topk(2).indices.T, ["lrp-z"])
    as_list = rp.explain(net, x, lambda y: [int(y[0].argmax())], ["lrp-z"])
    assert as_target.targets.tolist() == [[-1, -1]]
    assert as_choice.targets.shape == (2, 2)
    assert as_list.targets.shape == (1, 2)


def test_a_probe_in_a_function_leaves_the_layers_of_the_model_what_they_are(x):
    """The last convolution of a fully convolutional network is its head, whatever a target makes of the output."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net, probe = net.to(D).eval(), nn.Linear(5, 1).to(D).eval()
    targets = [2, lambda y: probe(y)[:, 0]]
    e = rp.explain(net, x, targets, ["cmp-alpha2-flat"])
    for t, target in enumerate(targets):
        alone = rp.attribute(net, x, target, "cmp-alpha2-flat")
        torch.testing.assert_close(e.relevance["cmp-alpha2-flat"][t], alone, rtol=1e-12, atol=1e-15)


def test_relevance_that_starts_before_a_batchnorm_and_after_it():
    torch.manual_seed(4)
    fc, bn = nn.Linear(6, 4), nn.BatchNorm1d(4)
    bn.running_var.uniform_(0.2, 3)
    bn.running_mean.normal_()
    fc, bn = fc.to(D), bn.to(D).eval()
    x = torch.randn(2, 6, dtype=D)

    def model(x):
        logits = fc(x)
        return {"logits": logits, "normalised": bn(logits)}

    together = rp.explain(model, x, [1, lambda y: y["normalised"][:, 2]], ["lrp-z"])
    plain = gradient_x_input(lambda leaf: fc(leaf)[:, 1], x), gradient_x_input(lambda leaf: bn(fc(leaf))[:, 2], x)
    for got, expected in zip(together.relevance["lrp-z"], plain, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


WRONG = {
    "no function of the pictures": (lambda y: y, r"shape \(2, 5\); one number per picture"),
    "a number": (lambda y: 3.0, "gives float"),
    "whole numbers": (lambda y: y.argmax(1), "gives Tensor"),
    "a mistake": (lambda y: y["out"][:, 99], "target <lambda> fails"),
    "that writes": (lambda y: y.mul_(2)[:, 0], "writes into what the model returned"),
    "of no input": (lambda y: torch.ones(2, dtype=D), "no recorded op made it from the input"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("method", ["lrp-z", "gradient"])
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_a_function_of_another_kind_is_refused(x, case, method):
    function, message = WRONG[case]
    if (case, method) == ("of no input", "gradient"):
        message = "do not depend on the input|differentiable"
    with pytest.raises(rp.RelpropError, match=message):
        rp.attribute(convolutional(), x, function, method)


def test_maps_as_outputs_name_the_way_to_explain_a_place_of_them(x):
    with pytest.raises(rp.InputError, match=r"target=lambda y: y\[:, 0, 0, 0\]"):
        rp.attribute(lambda x: Segmenter().to(D).eval()(x)["out"], x, 0, "lrp-z")


def test_what_was_not_explained_has_no_contrast(x):
    e = rp.explain(convolutional(), x, [0, 1], ["lrp-z"])
    with pytest.raises(rp.InputError, match="class 3 was not explained"):
        e.versus(3, 0)
    with pytest.raises(rp.InputError, match="did you mean lrp-z"):
        e.versus(0, 1, "lrp-y")
