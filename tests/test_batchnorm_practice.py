"""What the catalogue knows of networks with BatchNorm: what becomes of biases, by name."""

import pytest
import torch
from torch import nn

import relprop as rp
from small_networks import pictures, plain

OPTIONS = {
    "lrp-alpha2:bias=off": [(rp.on.weighted, rp.rules.AlphaBeta(2, bias=False))],
    "cmp-alpha1:bias=off": [(rp.on.head, rp.rules.Epsilon()), (rp.on.weighted, rp.rules.AlphaBeta(1, bias=False))],
    "epsilon-plus:bias=off,eps=0.1": [
        (rp.on.head, rp.rules.Epsilon(0.1)),
        (rp.on.weighted, rp.rules.ZPlus(bias=False)),
    ],
    "lrp-alpha1:bias=apart": [(rp.on.weighted, rp.rules.Apart(rp.rules.AlphaBeta(1)))],
    "cmp-alpha2-flat:bias=apart": [
        (rp.on.first(1) & ~rp.on.head, rp.rules.Flat()),
        (rp.on.head, rp.rules.Epsilon()),
        (rp.on.weighted, rp.rules.Apart(rp.rules.AlphaBeta(2))),
    ],
    "cmp-alpha2-flat:bias=off": [
        (rp.on.first(1) & ~rp.on.head, rp.rules.Flat()),
        (rp.on.head, rp.rules.Epsilon()),
        (rp.on.weighted, rp.rules.AlphaBeta(2, bias=False)),
    ],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_becomes_of_biases_is_an_option(name):
    model, x = plain(), pictures()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.normal_()
    maps = rp.explain(model, x, [1], {"named": name, "built": rp.Composite(OPTIONS[name]), "with": name.split(":")[0]})
    R = maps.relevance
    assert torch.equal(R["named"], R["built"])
    assert not torch.allclose(R["named"], R["with"])


def test_a_bias_that_is_neither_on_nor_off_is_refused():
    with pytest.raises(rp.InputError, match="bias is 'no', and must be 'on', 'off' or 'apart'"):
        rp.attribute(plain(), pictures(), 1, "lrp-alpha2:bias=no")


def test_the_preset_for_batchnorm_merged_or_not():
    torch.manual_seed(4)
    norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(4)]
    for norm in norms:
        nn.init.normal_(norm.bias)
    merged = [nn.Conv2d(3, 4, 3), norms[0], nn.ReLU()]
    model = nn.Sequential(*merged, norms[1], nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    apart = rp.rules.Apart(rp.rules.AlphaBeta(2), rp.rules.Absolute())
    built = rp.Composite(
        [
            (rp.on.path("0"), rp.rules.Flat()),
            (rp.on.linear, rp.rules.Epsilon()),
            (rp.on.norm, rp.rules.Absolute()),
            (rp.on.weighted, apart),
        ]
    )
    e = rp.explain(model, torch.randn(2, 3, 8, 8), [1], {"named": "cmp-alpha2-flat-apart", "built": built})
    assert torch.equal(e.relevance["named"], e.relevance["built"])
    kept = {row.path: row.bias.abs().sum() for row in e.ledger["named"].rows}
    assert kept["3"] > 0  # the norm on its own
    assert kept["4"] > 0  # the convolution's bias
