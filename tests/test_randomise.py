"""Randomisation: which layers, in which order, with which numbers, and what methods are found out by it."""

import copy

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised
from relprop.randomising import copies


def network():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 4)
    )
    return randomised(net, torch.float32)


@pytest.fixture
def net():
    return network()


def states(net, **options):
    x = torch.randn(1, 3, 12, 12)
    return [(layer, copy.deepcopy(each.state_dict())) for layer, each in copies(net, x, **options)]


def changed(net, state):
    """The layers in which every tensor is another."""
    own = net.state_dict()
    by_layer = {}
    for name, tensor in state.items():
        by_layer.setdefault(name.partition(".")[0], []).append(not torch.equal(tensor, own[name]))
    assert all(len(set(found)) == 1 for found in by_layer.values())
    return [layer for layer, found in by_layer.items() if found[0]]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [("5", ["5"]), ("2", ["2", "5"]), ("0", ["0", "2", "5"])]),
        ({"order": "bottom"}, [("0", ["0"]), ("2", ["0", "2"]), ("5", ["0", "2", "5"])]),
        ({"order": "independent"}, [("5", ["5"]), ("2", ["2"]), ("0", ["0"])]),
        ({"steps": 2}, [("2", ["2", "5"]), ("0", ["0", "2", "5"])]),
        ({"steps": 1, "order": "bottom"}, [("5", ["0", "2", "5"])]),
    ],
)
def test_layers_are_randomised_in_the_order_asked_for_and_the_model_is_left_alone(net, options, wanted):
    before = copy.deepcopy(net.state_dict())
    found = states(net, **options)
    assert [(layer, changed(net, state)) for layer, state in found] == wanted
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    again, other = states(net, **options), states(net, seed=1, **options)
    for (_, one), (_, two), (_, three) in zip(found, again, other, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert changed(net, one) == changed(net, three)
        assert not all(torch.equal(one[name], three[name]) for name in one)


def test_a_layer_gets_the_same_numbers_in_every_order_and_keeps_its_scale(net):
    whole = [states(net, order=order)[-1][1] for order in ("top", "bottom")]
    assert all(torch.equal(whole[0][name], whole[1][name]) for name in whole[0])
    weight, drawn = net[5].weight.detach(), whole[0]["5.weight"]
    assert float(drawn.square().mean().sqrt() / weight.square().mean().sqrt()) == pytest.approx(1, abs=0.1)
    assert abs(float((drawn * weight).mean() / weight.square().mean())) < 0.1


def test_layers_come_in_the_order_of_execution_and_shared_weights_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.body = nn.Linear(3, 8)
            self.tied = nn.Linear(8, 8)
            self.tied.weight = self.head.weight

        def forward(self, x):
            y = self.body(x.flatten(2).transpose(1, 2))
            return self.tied(self.head(self.attention(y, y, y)[0].mean(1)))

    stages = copies(Net().eval(), torch.randn(1, 3, 4, 4), order="bottom")
    found = {layer: other.head.weight.detach().clone() for layer, other in stages}
    assert list(found) == ["body", "attention", "attention.out_proj", "head", "tied"]
    assert torch.equal(found["head"], found["tied"])
    assert not torch.equal(found["attention"], found["head"])


def test_a_method_that_does_not_look_at_the_weights_is_found_out(net):
    x, target = torch.randn(2, 3, 12, 12), torch.tensor([1, 2])
    blind = rp.metrics.randomise(net, x, target, lambda model, x, target: x.abs())
    assert blind.layers == ("5", "2", "0")
    for likeness in (blind.cosine, blind.spearman, blind.ssim):
        assert torch.allclose(likeness, torch.ones(3, 2), atol=1e-6)
    sees = rp.metrics.randomise(net, x, target, "gradient", order="top")
    assert float(sees.spearman.abs().max()) < 0.4
    assert "spearman" in repr(sees)
    assert "0.9" not in repr(sees).splitlines()[1][30:]


def test_it_is_attribute_on_the_randomised_network(net):
    x = torch.randn(2, 3, 12, 12)
    target = net(x).argmax(1)
    found = rp.metrics.randomise(net, x, method="lrp-epsilon", steps=1, seed=5)
    (_, other), *_ = copies(net, x, steps=1, seed=5)
    maps = [rp.attribute(each, x, target, "lrp-epsilon") for each in (net, other)]
    assert torch.equal(found.cosine[0], rp.metrics.similarity(*maps))
    assert torch.equal(found.ssim[0], rp.metrics.ssim(*maps))


def test_what_cannot_be_randomised_is_said(net):
    x = torch.randn(1, 3, 12, 12)
    with pytest.raises(rp.InputError, match="did you mean top"):
        rp.metrics.randomise(net, x, 0, "gradient", order="tops")
    with pytest.raises(rp.InputError, match="at least once"):
        rp.metrics.randomise(net, x, 0, "gradient", steps=0)
    with pytest.raises(rp.InputError, match="no weights"):
        rp.metrics.randomise(nn.Flatten().eval(), x, 0, lambda model, x, target: x)
    with pytest.raises(rp.InputError, match="only the weights of a module"):
        rp.metrics.randomise(lambda x: x.flatten(1), x, 0, lambda model, x, target: x)
    with pytest.raises(rp.InputError, match="give pictures"):
        rp.metrics.randomise(net, x[0], 0)
