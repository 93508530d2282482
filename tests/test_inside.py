"""Relevance at the outputs of modules, and relevance through some of their channels alone."""

import logging

import pytest
import torch
import zennit.rules as peer
from crp.attribution import CondAttribution
from torch import nn
from torchvision.models import resnet18
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base
from zennit.types import Convolution

import relprop as rp
from narrow import vgg, with_weights
from relprop import rules

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

D = torch.float64
METHODS = ["lrp-z", "lrp-alpha2", "cmp-alpha1-flat"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return with_weights(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32, 5),
        ).to(D)
    ).eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(2, 3, 8, 8, dtype=D, generator=torch.Generator().manual_seed(1))


def test_relevance_at_every_layer_and_the_ledger_above_it_make_the_start(net, x):
    e = rp.explain(net, x, [0, 3], METHODS, inside="*")
    for method in METHODS:
        ledger = e.ledger[method]
        assert list(e.inside[method]) == ["0", "1", "2", "3", "4", "5", "6", "7"] + [""] * ("" in e.inside[method])
        for path, R in e.inside[method].items():
            if not path:
                continue
            above = [row for row in ledger if row.path > path]
            taken = sum((row.bias + row.eps + row.lost for row in above), torch.zeros_like(ledger.start))
            torch.testing.assert_close(R.flatten(2).sum(2) + taken, ledger.start, rtol=1e-12, atol=1e-12)
            below = [row for row in ledger if row.path <= path]
            rest = sum((row.bias + row.eps + row.lost for row in below), torch.zeros_like(ledger.start))
            torch.testing.assert_close(R.flatten(2).sum(2), ledger.end + rest, rtol=1e-12, atol=1e-12)
        assert e.inside[method]["4"].shape == (2, 2, 8, 2, 2)


def test_nothing_is_kept_that_nobody_asked_for(net, x):
    plain = rp.explain(net, x, [0], METHODS)
    e = rp.explain(net, x, [0], METHODS, inside=["4", "7"])
    assert plain.inside == {}
    assert all(list(e.inside[method]) == ["4", "7"] for method in METHODS)
    for method in METHODS:
        assert torch.equal(e.relevance[method], plain.relevance[method])


def test_what_is_kept_is_a_copy_of_each_methods_own(net, x):
    e = rp.explain(net, x, [0], {"one": "lrp-z", "same": "lrp-z"}, inside="5")
    e.inside["one"]["5"].zero_()
    assert e.inside["same"]["5"].abs().sum() > 0


def test_modules_that_run_twice_or_return_several_tensors():
    torch.manual_seed(0)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin, self.cut, self.head = nn.Linear(4, 4), Halves(), nn.Linear(4, 2)

        def forward(self, x):
            a, b = self.cut(self.lin(self.lin(x).relu()))
            return self.head(torch.cat([b, a], 1))

    class Halves(nn.Module):
        def forward(self, x):
            return x.chunk(2, 1)

    e = rp.explain(Twice().to(D).eval(), torch.randn(1, 4, dtype=D), [0], ["lrp-z"], inside=["lin", "cut", "head"])
    assert list(e.inside["lrp-z"]) == ["lin", "lin (call 2)", "cut[0]", "cut[1]", "head"]
    halves = e.inside["lrp-z"]
    torch.testing.assert_close(torch.cat([halves["cut[0]"], halves["cut[1]"]], -1), halves["lin (call 2)"])


def test_a_module_that_relevance_never_comes_to_has_zeros(net, x):
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.side = net, nn.Linear(192, 5).to(D)

        def forward(self, x):
            return self.net(x) + self.side(x.flatten(1)).detach()

    e = rp.explain(Detached().eval(), x, [0], ["lrp-z"], inside="side")
    assert e.inside["lrp-z"]["side"].shape == (1, 2, 5)
    assert not e.inside["lrp-z"]["side"].any()


# -- conditions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["0", "1", "2", "4", "5", "6"])
def test_conditions_over_all_channels_add_up_to_the_whole_map(net, x, path):
    whole = rp.explain(net, x, [0, 3], METHODS, inside=path)
    channels = whole.inside["lrp-z"][path].shape[2]
    conditions = [{path: [k]} for k in range(channels)]
    e = rp.explain(net, x, [0, 3], METHODS, conditions=conditions, inside=path)
    for method in METHODS:
        each = e.relevance[method].unflatten(0, (2, channels))
        largest = whole.relevance[method].abs().max()
        assert (each.sum(1) - whole.relevance[method]).abs().max() < 1e-12 * largest
        assert e.ledger[method].error < 1e-13
        kept = e.inside[method][path].unflatten(0, (2, channels))
        for k in range(channels):
            left = torch.zeros_like(whole.inside[method][path])
            left[:, :, k] = whole.inside[method][path][:, :, k]
            torch.testing.assert_close(kept[:, k], left, rtol=1e-12, atol=1e-12)
    assert e.targets[:, 0].tolist() == [0] * channels + [3] * channels
    assert e.labels == ("0",) * channels + ("3",) * channels


def test_what_a_condition_takes_is_lost_in_a_row_of_its_own(net, x):
    e = rp.explain(net, x, [0], ["lrp-z"], conditions=[{"4": [1, 2]}], inside="4")
    (row,) = [row for row in e.ledger["lrp-z"] if row.op == "condition"]
    whole = rp.explain(net, x, [0], ["lrp-z"], inside="4").inside["lrp-z"]["4"]
    torch.testing.assert_close(row.lost, whole[:, :, [0, 3, 4, 5, 6, 7]].flatten(2).sum(2))
    assert row.rule == "4 1, 2"
    assert e.ledger["lrp-z"].error < 1e-13


def test_several_modules_and_masks_in_one_condition(net, x):
    mask = torch.zeros(8, 2, 2, dtype=torch.bool)
    mask[:, 0] = True
    e = rp.explain(net, x, [0], ["lrp-z"], conditions=[{"4": mask, "0": [2]}, {"0": [2]}, {}], inside=["0", "4"])
    inside = e.inside["lrp-z"]
    assert not inside["4"][0][:, ~mask].any()
    assert inside["4"][0][:, mask].any()
    assert not inside["0"][:2][:, :, [0, 1, 3, 4, 5]].any()
    assert inside["0"][:2][:, :, 2].any()
    assert torch.equal(e.relevance["lrp-z"][2], rp.attribute(net, x, 0, "lrp-z"))


def test_each_of_several_conditions_is_as_alone(net, x):
    conditions = [{"4": [1, 2], "0": [2]}, {"0": [1, 3]}, {"4": [5]}, {}]
    e = rp.explain(net, x, [0, 3], ["lrp-alpha2"], conditions=conditions, inside=["0", "4"])
    for k, condition in enumerate(conditions):
        alone = rp.explain(net, x, [0, 3], ["lrp-alpha2"], conditions=[condition], inside=["0", "4"])
        torch.testing.assert_close(e.relevance["lrp-alpha2"][k::4], alone.relevance["lrp-alpha2"], rtol=0, atol=1e-15)
        for path, R in alone.inside["lrp-alpha2"].items():
            torch.testing.assert_close(e.inside["lrp-alpha2"][path][k::4], R, rtol=0, atol=1e-15)


def test_neurons_behind_linear_layers_on_tokens_are_the_last_axis():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).to(D).eval()
    x = torch.randn(2, 5, 4, dtype=D)

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x).mean(1)

    e = rp.explain(Mean().eval(), x, [0], ["lrp-z"], conditions=[{"body.1": [k]} for k in range(6)], inside="body.1")
    assert e.inside["lrp-z"]["body.1"][4][..., [0, 1, 2, 3, 5]].abs().sum() == 0
    whole = rp.attribute(Mean().eval(), x, 0, "lrp-z")
    torch.testing.assert_close(e.relevance["lrp-z"].sum(0), whole, rtol=1e-12, atol=1e-14)


WRONG = [
    ([{"9": [0]}], "no module of the model"),
    ([{"4": [8]}], "has channels 0 to 7, not 8"),
    ([{"4": "first"}], "takes channels, such as"),
    ({"4": [1]}, "takes a list of mappings"),
    ([{"4": torch.ones(3, 2, 2, dtype=torch.bool)}], "mask for '4' has shape"),
]


@pytest.mark.parametrize(("conditions", "message"), WRONG)
def test_wrong_conditions_are_told(net, x, conditions, message):
    with pytest.raises(rp.InputError, match=message):
        rp.explain(net, x, [0], ["lrp-z"], conditions=conditions)


def test_what_has_no_rules_knows_nothing_of_the_inside(net, x):
    with pytest.raises(rp.InputError, match="gradient knows nothing"):
        rp.explain(net, x, [0], ["lrp-z", "gradient"], conditions=[{"4": [0]}])
    assert list(rp.explain(net, x, [0], ["lrp-z", "gradient"], inside="4").inside) == ["lrp-z"]
    with pytest.raises(rp.InputError, match="fits no module"):
        rp.explain(net, x, [0], ["lrp-z"], inside="features.*")


# -- beside others -----------------------------------------------------------------------------------

EPSILON_PLUS_FLAT = rp.Composite(
    [
        (rp.on.first(), rules.Flat()),
        (rp.on.conv, rules.ZPlus()),
        (rp.on.linear, rules.Epsilon(1e-6)),
    ]
)
SHOWN = ["features.0", "features.4", "features.9", "features.16", "features.23", "features.28", "features.30"]


def zennits():
    return SpecialFirstLayerMapComposite(
        [*layer_map_base(), (Convolution, peer.ZPlus()), (nn.Linear, peer.Epsilon(1e-06))],
        [(Convolution, peer.Flat())],
    )


@pytest.fixture(scope="module")
def vgg16():
    torch.manual_seed(0)
    model = with_weights(vgg("vgg16").to(D).eval())
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # zennit's hooks cannot stand on views that are written into
    return model, torch.rand(2, 3, 64, 64, dtype=D, generator=torch.Generator().manual_seed(1)) * 6 - 3


def largest_difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.slow
def test_inner_relevance_is_that_of_zennits_hooks(vgg16):
    model, x = vgg16
    start, kept = torch.eye(10, dtype=D)[[3, 3]], {}
    with Gradient(model, zennits()) as attributor:

        def keep(path):
            def hook(_module, _inputs, output):
                output.register_hook(lambda grad: kept.__setitem__(path, grad.clone()))

            return hook

        handles = [model.get_submodule(path).register_forward_hook(keep(path)) for path in SHOWN]
        attributor(x.clone().requires_grad_(), start)
    for handle in handles:
        handle.remove()
    e = rp.explain(model, x, [3], {"it": EPSILON_PLUS_FLAT}, profile="zennit", start="one", inside=SHOWN)
    errors = {path: largest_difference(e.inside["it"][path][0], kept[path]) for path in SHOWN}
    log.info("relative differences: %s", errors)
    assert max(errors.values()) < 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_conditions_are_those_of_zennit_crp(vgg16):
    model, x = vgg16
    channels = [0, 5, 17, 100]
    conditions = [{"features.28": [k], "y": [3]} for k in channels]
    theirs = CondAttribution(model)(x[:1].clone().requires_grad_(), conditions, zennits())
    ours = rp.explain(
        model,
        x[:1],
        [3],
        {"it": EPSILON_PLUS_FLAT},
        profile="zennit",
        conditions=[{"features.28": [k]} for k in channels],
    ).relevance["it"]
    error = largest_difference(ours[:, 0].sum(1), theirs.heatmap.to(D))
    log.info("relative difference %.1e", error)
    assert error < 1e-6


@pytest.mark.slow
def test_blocks_of_a_residual_network_are_bottlenecks():
    torch.manual_seed(0)
    model = with_weights(resnet18(num_classes=10).to(D).eval())
    x = torch.randn(1, 3, 64, 64, dtype=D)
    whole = rp.attribute(model, x, 3, "cmp-alpha1")
    e = rp.explain(
        model, x, [3], ["cmp-alpha1"], conditions=[{"layer4": range(0, 512, 2)}, {"layer4": range(1, 512, 2)}]
    )
    assert largest_difference(e.relevance["cmp-alpha1"].sum(0), whole[None].squeeze(0)) < 1e-10
