"""The engine beside LXT 2.1, whose authors are AttnLRP's: its explicit functions and its efficient form.

LXT is under the Clear BSD licence and for development only. Where it is not installed these tests skip; it wants heavy
companions, so install it without: `uv pip install --no-deps lxt==2.1`.
"""

import math
import os
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from attending import ATTENTION, HEADS, heads_of, joined, tokens, transformer
from lxt_maps import CASES, GAMMAS, text
from relprop.rules import Attend, Epsilon, Gamma
from tiny_pictures import picture, vit
from tiny_text import made

pytestmark = pytest.mark.skipif(
    find_spec("lxt") is None, reason="LXT is not installed: uv pip install --no-deps lxt==2.1"
)
EXACT, EFFICIENT, RECIPE = 1e-12, 1e-6, 1e-8


def off(one, other):
    """How far two maps are apart, of the largest number."""
    return float((one - other).abs().max() / other.abs().max())


# -- its explicit functions, with their eps at 0 -------------------------------------------------------------------


@pytest.fixture(scope="module")
def explicit():
    """Its functions and rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("lxt.explicit.functional"), import_module("lxt.explicit.rules")


class ByFunctions:
    """The transformer of these tests in LXT's functions, each of which hands relevance down in its backward."""

    def __init__(self, functional, rules):
        self.lf, self.lr = functional, rules

    def linear(self, layer, x):
        return self.lf.linear_epsilon(x, layer.weight, layer.bias, 0.0)

    def norm(self, layer, x):
        return self.lf.layer_norm_grad_fn.apply(x, layer.weight, layer.bias, layer.eps, 0.0)

    def add(self, a, b):
        return self.lf.add2(a, b, False, 0.0)

    def product(self, a, b):
        return self.lf.matmul(a, b, False, 0.0)

    def gelu(self, x):
        return self.lr.identity(F.gelu, x)

    def attention(self, module, x):
        qkv = self.lf.linear_epsilon(x, module.in_proj_weight, module.in_proj_bias, 0.0)
        q, k, v = map(heads_of, qkv.chunk(3, -1))
        scores = self.lf.mul2(self.product(q, k.mT), 1 / math.sqrt(x.shape[-1] / HEADS))
        return self.linear(module.out_proj, joined(self.product(self.lf.softmax(scores, -1), v)))

    def logits(self, net, x):
        h = self.linear(net.embed, x)
        for block in net.blocks:
            h = self.add(h, self.attention(block.attention, self.norm(block.norm1, h)))
            h = self.add(h, self.linear(block.down, self.gelu(self.linear(block.up, self.norm(block.norm2, h)))))
        return self.linear(net.head, self.lf.mean(h, 1, False, 0.0))


class ByRules(ByFunctions):
    """The same by its rules around modules; not additions, whose two gradients its rule takes for one tensor."""

    def linear(self, layer, x):
        return self.lr.EpsilonRule(layer, 0.0)(x)

    def product(self, a, b):
        return self.lr.UniformEpsilonRule(Matmul(), 0.0)(a, b)

    def gelu(self, x):
        return self.lr.IdentityRule(nn.GELU())(x)


class Matmul(nn.Module):
    """A product, for a rule that wants a module."""

    def forward(self, a, b):
        return a @ b


@pytest.mark.parametrize("form", [ByFunctions, ByRules])
@pytest.mark.parametrize("spelled", ["eager", "fused", "module"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_blocks_of_its_explicit_functions(form, spelled, blocks, explicit):
    net, x = transformer(attention=ATTENTION[spelled], blocks=blocks), tokens().requires_grad_()
    for target in (0, 2):
        logits = form(*explicit).logits(net, x)
        torch.testing.assert_close(logits, net(x))
        start = torch.zeros_like(logits)
        start[:, target] = logits.detach()[:, target]
        (expected,) = torch.autograd.grad(logits, x, start)
        assert off(rp.attribute(net, x.detach(), target, "attnlrp"), expected) < EXACT


def test_its_uniform_rule_of_two_factors(explicit):
    _, rules = explicit
    gate, up, head = (nn.Linear(*size).to(torch.float64) for size in ((4, 6), (4, 6), (6, 3)))

    class Times(nn.Module):
        def forward(self, a, b):
            return a * b

    x = tokens()[:, 0].requires_grad_()
    opened, carried = (rules.EpsilonRule(layer, 0.0)(x) for layer in (gate, up))
    logits = rules.EpsilonRule(head, 0.0)(rules.UniformRule(Times())(rules.identity(F.silu, opened), carried))
    start = torch.zeros_like(logits)
    start[:, 1] = logits.detach()[:, 1]
    (expected,) = torch.autograd.grad(logits, x, start)
    got = rp.attribute(lambda x: head(F.silu(gate(x)) * up(x)), x.detach(), 1, "attnlrp")
    assert off(got, expected) < EXACT


# -- its efficient form: gradient times input with patched classes, which casts to float32 and adds 1e-10 to x ---------


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Its maps by model and method, from processes of their own."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("lxt")
    program = Path(__file__).parent / "lxt_maps.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {case: torch.load(folder / f"{case[0]}-{case[1]}.pt") for case in CASES}


class TheOtherSide(rp.rules.Rule):
    """LXT's CP-LRP gives the activation's side of SwiGLU nothing; ours gives each side half."""

    fits = can = frozenset({"product"})

    def hand_down(self, call, R):
        return rp.rules.Share((None, R[0])) if call.inputs == 2 else None


GATED = ("llama", "qwen3", "gemma3")


def ours(name, method):
    """Our method that is theirs."""
    if method == "attnLRP":
        return "attnlrp"
    if name not in GATED:
        return "cp-lrp"
    gates = [(rp.on.product & rp.on.path("*.mlp"), TheOtherSide())]
    return rp.Composite([*gates, (rp.on.attention, Attend(through="values")), (rp.on.any, Epsilon(0.0))])


@pytest.mark.parametrize(("name", "method"), [case for case in CASES if case[0] != "vit"])
def test_its_efficient_form_on_text(name, method, theirs):
    net, x = made(name), {"input_ids": text()}
    target = 1 if name == "bert" else rp.at(-1, 5)
    got = rp.attribute(net, x, target, ours(name, method))
    assert off(got, theirs[name, method]) < EFFICIENT
    if name in GATED and method == "cp_LRP":
        assert off(rp.attribute(net, x, target, "cp-lrp"), theirs[name, method]) > 1e-2
    other = {"attnLRP": "cp-lrp", "cp_LRP": "attnlrp"}[method]
    assert off(rp.attribute(net, x, target, other), theirs[name, method]) > 1e-4


def test_its_cp_lrp_on_pictures(theirs):
    assert off(rp.attribute(vit(), picture(), 1, "cp-lrp"), theirs["vit", "cp_LRP"]) < EFFICIENT


@pytest.mark.parametrize("gammas", GAMMAS)
def test_its_recipe_for_pictures_with_zennits_gamma(gammas, theirs):
    """Zennit's gamma is for inputs of both signs, as ours is, and adds 1e-6 to its denominators; no other op does.

    Its hooks do not reach the projections inside torch's attention.
    """
    conv, linear = GAMMAS[gammas]
    composite = rp.Composite([
        (rp.on.attention, Attend(through="values")),
        (rp.on.projection, Epsilon(0.0)),
        (rp.on.conv, Gamma(conv, 1e-6)),
        (rp.on.linear, Gamma(linear, 1e-6)),
        (rp.on.any, Epsilon(0.0)),
    ])  # fmt: skip
    net, x, expected = vit(), picture(), theirs["vit", gammas]
    assert off(rp.attribute(net, x, 1, composite), expected) < RECIPE
    named = f"attnlrp-vit:projections=off,conv={conv},linear={linear}"
    assert off(rp.attribute(net, x, 1, named), expected) < 1e-4  # what that 1e-6 makes
    reaching_all = f"attnlrp-vit:conv={conv},linear={linear}"
    assert off(rp.attribute(net, x, 1, reaching_all), expected) > 1e-2
