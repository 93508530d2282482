"""Rare spellings and rare paths: each gives the map of its plain equivalent, or an error that says why not."""

import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import reference
import relprop as rp
from conftest import randomised
from kernels import Kernels

D = torch.float64
W = torch.linspace(-1, 1, 256 * 5, dtype=D).view(256, 5)
ROW = torch.linspace(-1, 2, 8, dtype=D)
COLUMN = torch.linspace(1, 2, 4, dtype=D).view(1, 4, 1, 1)
CHANNELS = torch.tensor([2, 0, 3])
MASK = torch.arange(64).view(8, 8) % 3 == 0


class Around(nn.Module):
    """A convolution, what the test wants, and a linear layer of the width that this needs; (B, 3, 8, 8) to (B, 5)."""

    def __init__(self, middle):
        super().__init__()
        self.conv, self.middle = nn.Conv2d(3, 4, 3, padding=1), middle
        with torch.no_grad():
            self.fc = nn.Linear(middle(torch.ones(2, 4, 8, 8, dtype=D)).flatten(1).shape[1], 5)
        self.double().eval()

    def forward(self, x):
        return self.fc(self.middle(self.conv(x)).flatten(1))


def written_into(y):
    out = torch.empty_like(y)
    for channel in range(4):
        out[:, channel] = y[:, channel] * (channel + 1)
    return out


LINEAR_IN_OTHER_WORDS = {
    "a product with a matrix on the right": lambda y: y.flatten(1) @ W,
    "mm": lambda y: torch.mm(y.flatten(1), W),
    "mm by keyword": lambda y: torch.mm(input=y.flatten(1), mat2=W),
    "matmul by keyword": lambda y: torch.matmul(input=y, other=W[:8]),
    "a product with a matrix on the left": lambda y: torch.matmul(W[:8].T, other=y),
    "addmm by keyword": lambda y: torch.addmm(input=W[0], mat1=y.flatten(1), mat2=W),
    "linear by keyword": lambda y: F.linear(input=y, weight=ROW[None]),
    "mean by axis": lambda y: y.mean(axis=(2, 3)),
    "sum": lambda y: y.sum((2, 3)),
    "sum by axis": lambda y: y.sum(axis=1, keepdims=True),
    "max by axis": lambda y: y.max(axis=1)[0],
    "cat by axis": lambda y: torch.cat([y, F.relu(y)], axis=1),
    "add by NumPy's names": lambda y: torch.add(x1=y, x2=COLUMN),
    "a number per picture": lambda y: torch.stack([torch.stack([p.mean(), p.sum(), p[0, 0, 0]]) for p in y]),
    "an index tensor": lambda y: y[:, CHANNELS],
    "an index tensor over pictures": lambda y: y[torch.arange(len(y)), y.flatten(2).sum(2).argmax(1)],
    "a mask": lambda y: y[:, :, MASK],
    "index_select": lambda y: y.index_select(1, CHANNELS),
    "gather": lambda y: y.gather(1, y.argmax(1, keepdim=True)),
    "repeats by tensor": lambda y: y.repeat_interleave(torch.tensor([1, 2, 0, 1]), 1),
    "F.unfold": lambda y: F.unfold(y, 3, padding=1),
    "Tensor.unfold": lambda y: y.unfold(2, 3, 2),
    "tril": lambda y: y.tril(),
    "copy_": lambda y: torch.empty_like(y).copy_(y),
    "a buffer filled channel by channel": written_into,
    "a stack with a constant": lambda y: torch.stack([y, torch.ones_like(y)], 2),
    "a constant made like the value": lambda y: y / COLUMN.to(y) - COLUMN.type_as(y) + ROW.expand_as(y),
    "dropout that is off": lambda y: torch.dropout(y, p=0.5, train=False),
    "a checkpoint": lambda y: checkpoint(F.relu, y, use_reentrant=False),
}


@pytest.mark.parametrize("case", LINEAR_IN_OTHER_WORDS)
def test_rare_spellings_are_gradient_x_input_under_z_for_every_batch_size(case):
    model, x = Around(LINEAR_IN_OTHER_WORDS[case]), torch.randn(3, 3, 8, 8, dtype=D, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    wanted = (gradient * x).detach()
    e = rp.explain(model, x.detach(), [1], ["lrp-z", "lrp-alpha2"])
    torch.testing.assert_close(e.relevance["lrp-z"][0], wanted, rtol=1e-8, atol=1e-8 * float(wanted.abs().max()))
    for n in range(3):
        alone = rp.explain(model, x[n : n + 1].detach(), [1], ["lrp-z", "lrp-alpha2"])
        for method, ledger in e.ledger.items():
            one, all_ = alone.relevance[method][:, 0], e.relevance[method][:, n]
            torch.testing.assert_close(one, all_, rtol=1e-6, atol=1e-9 * float(one.abs().max()))
            assert max(ledger.error, alone.ledger[method].error) < 1e-10
            torch.testing.assert_close(ledger.end[:, n], alone.ledger[method].end[:, 0], rtol=1e-6, atol=1e-9)


def in_inference_mode(y):
    with torch.inference_mode():
        z = y * 1
        out = torch.relu(z)
        z.view(-1).zero_()
        return out


def other_data(y):
    z = y * 1
    z.data = F.relu(y) * 3
    return z


CANNOT_PASS = {
    "a rounded quotient of two values": (lambda y: torch.div(y, y + 1, rounding_mode="floor"), "divide by a constant"),
    "slopes that depend on the input": (lambda y: F.prelu(COLUMN.expand(2, 4, 8, 8), y[0, :, 0, 0]), "bounds"),
    "a sum in torch's old spelling": (lambda y: torch.add(y, 2, F.relu(y)), "write it as x"),
    "a weight that is a vector": (lambda y: F.linear(y, ROW), "vector"),
    "a step in inference mode": (in_inference_mode, "no_grad"),
    "a parameter made of a value": (lambda y: y + nn.Parameter(F.relu(y), requires_grad=False), "shares its memory"),
    "another subclass": (lambda y: y + F.relu(y).as_subclass(torch.Tensor), "shares its memory"),
    "a new tensor with old numbers": (lambda y: y + COLUMN.new_tensor(F.relu(y)), "new_tensor"),
    "other data behind a value": (other_data, "overwritten"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CANNOT_PASS)
def test_what_relevance_cannot_pass_is_an_error(case):
    middle, message = CANNOT_PASS[case]
    with pytest.raises(rp.UnsupportedOp, match=message):
        rp.attribute(Around(middle), torch.randn(2, 3, 8, 8, dtype=D), 1, "lrp-z")


@pytest.mark.parametrize("middle", [lambda y: y.flip(0), lambda y: y.roll(1, 0), lambda y: y[:1].expand_as(y)])
def test_rows_of_logits_that_are_other_pictures_are_refused(middle):
    model = Around(middle)
    with pytest.raises(rp.InputError, match="in their order"):
        rp.attribute(model, torch.randn(2, 3, 8, 8, dtype=D), 1)
    rp.attribute(model, torch.randn(1, 3, 8, 8, dtype=D), 1)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4), nn.Dropout(), nn.RReLU()])
def test_a_layer_that_still_trains_is_refused_before_it_runs(layer):
    model = Around(nn.ReLU()).eval()
    model.middle = nn.Sequential(layer).double().eval()
    layer.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(rp.InputError, match=r"middle\.0.*training"):
        rp.attribute(model, torch.randn(2, 3, 8, 8, dtype=D), 1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_model_without_weights_yet_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(5)).eval()
    with pytest.raises(rp.InputError, match="no weights yet"):
        rp.attribute(model, torch.randn(1, 3, 8, 8), 1)


@pytest.mark.parametrize("x", [torch.ones(1, 3, 8, 8).to_sparse(), torch.ones(1, 3, 8, 8, device="meta")])
def test_an_input_without_numbers_in_place_is_refused(x):
    with pytest.raises(rp.InputError, match="dense"):
        rp.attribute(nn.Flatten().eval(), x, 1)


def test_a_cast_leaves_relevance_in_its_own_precision():
    fc, x = nn.Linear(4, 3).double(), torch.randn(2, 4, dtype=D)
    plain = rp.attribute(nn.Sequential(fc).eval(), x, 1, "lrp-z", start="one")
    for narrow in (torch.Tensor.half, torch.Tensor.bfloat16, lambda y: y.to(torch.float32)):
        cast = rp.attribute(lambda x, narrow=narrow: narrow(fc(x)).double(), x, 1, "lrp-z", start="one")
        assert torch.equal(cast, plain)


def test_moves_in_a_half_precision_model_do_not_round_relevance():
    fc = nn.Linear(4, 3).bfloat16()

    def model(x):
        out = x.new_zeros(2, 3)
        out[:, 1:] = fc(x)[:, 1:]
        return out.index_copy(1, torch.tensor([0]), x.new_ones(2, 1))

    x = torch.randn(2, 4, dtype=torch.bfloat16)
    plain = rp.attribute(fc.eval(), x, 1, "lrp-z")
    torch.testing.assert_close(rp.attribute(model, x, 1, "lrp-z"), plain, rtol=1e-6, atol=0)


def test_batchnorm_is_merged_in_full_precision():
    pair = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.bfloat16)
    x = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16)
    model = nn.Sequential(pair, nn.Flatten()).eval()
    rule = rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(1))])  # its denominators are made of weights alone
    R = rp.attribute(model, x, 1, rule, start="one", dtype=torch.float64)
    share = reference.alpha_beta(x.double().flatten(1), reference.dense(pair.double(), (3, 4, 4)), 1, 0)
    torch.testing.assert_close(R.flatten(1).double(), share[:, :, 1], rtol=1e-5, atol=1e-7)


def test_flat_on_a_batchnorm_of_its_own_follows_every_profile():
    model = randomised(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5)
        )
    )
    for profile in ("paper", "toolbox", "zennit", "innvestigate"):
        e = rp.explain(model, torch.randn(2, 3, 8, 8, dtype=D), [1], ["cmp-alpha1-flat:layers=stack"], profile=profile)
        assert e.ledger["cmp-alpha1-flat:layers=stack"].error < 1e-10


@pytest.mark.filterwarnings("ignore:Using padding")
def test_a_padded_convolution_does_not_cover_its_input():
    model = nn.Sequential(nn.Conv2d(3, 4, 2, padding="same"), nn.Flatten(), nn.Linear(16, 5)).eval()
    assert [s.head for s in rp.plan(model, torch.randn(1, 3, 2, 2), "lrp-z") if s.op == "conv2d"] == [False]


def test_a_tape_is_freed_when_it_is_done_with():
    model, x = randomised(nn.Sequential(nn.Flatten(), nn.Linear(192, 5))), torch.randn(1, 3, 8, 8, dtype=D)

    def explained():
        rp.plan(model, x, "lrp-z")
        rp.attribute(model, x, 1, "lrp-z")

    explained()
    gc.collect()
    gc.disable()
    try:
        with Kernels() as kernels:
            explained()
        assert kernels.peak > x.nbytes
        assert kernels.held == 0
    finally:
        gc.enable()


# -- what the engine saves may cost nobody his map or his ledger ---------------------------------------


class Model(nn.Module):
    """Layers and a way through them."""

    def __init__(self, way, **layers):
        super().__init__()
        self.layers, self.way = nn.ModuleDict(layers), way

    def forward(self, x):
        return self.way(self.layers, x)


def small(way, **more):
    layers = {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(64, 5)} | more
    return randomised(Model(way, **layers))


def test_patches_of_a_single_picture_are_no_pictures(monkeypatch):
    def crops(layers, x):
        y = x.unfold(2, 6, 6).unfold(3, 6, 6).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 6, 6)
        return layers["fc"](torch.relu(layers["conv"](y)).flatten(1)).reshape(len(x), -1, 5).mean(1)

    model, x = small(crops), torch.randn(2, 3, 12, 12, dtype=D)
    both = rp.attribute(model, x, 0, "lrp-epsilon")
    for at_once in (1, 500, 10**9):
        monkeypatch.setattr("relprop.ops.parts.AT_ONCE", at_once)
        e = rp.explain(model, x[:1], [0], ["lrp-epsilon", "lrp-alpha2"])
        torch.testing.assert_close(e.relevance["lrp-epsilon"][0], both[:1])
        assert max(ledger.error for ledger in e.ledger.values()) < 1e-12


def test_one_number_a_picture_keeps_its_sum():
    model = small(lambda layers, x: torch.relu(layers["conv"](x)).mean((1, 2, 3)).unsqueeze(1))
    e = rp.explain(model, torch.randn(3, 3, 6, 6, dtype=D), [0], ["lrp-epsilon", "lrp-z"])
    assert max(ledger.error for ledger in e.ledger.values()) < 1e-12


def test_a_write_through_a_view_of_what_an_inplace_relu_made():
    def way(layers, x, inplace):
        v = F.relu(layers["conv"](x), inplace=inplace).flatten(1)
        v = v.mul_(0.5) if inplace else v * 0.5
        return layers["fc"](v)

    inplace, plain = (small(lambda layers, x, i=i: way(layers, x, i)) for i in (True, False))
    plain.load_state_dict(inplace.state_dict())
    x = torch.randn(2, 3, 6, 6, dtype=D)
    for method in ("lrp-epsilon", "lrp-alpha2"):
        torch.testing.assert_close(rp.attribute(inplace, x, 0, method), rp.attribute(plain, x, 0, method))


def past_the_record(y):
    with torch._C.DisableTorchFunction():
        return y * 1


@pytest.mark.parametrize("bypass", [lambda y: nn.Parameter(y, requires_grad=False), past_the_record])
def test_ways_past_the_record_are_found_where_a_value_is_held_no_longer(bypass):
    def way(layers, x):
        y = layers["conv"](x)
        z = layers["norm"](y)
        return layers["fc"]((z + bypass(y)).flatten(1))

    with pytest.raises(rp.UnsupportedOp, match="record"):
        rp.explain(small(way), torch.randn(2, 3, 6, 6, dtype=D), [0], ["lrp-z"])


def test_a_rule_that_hands_nothing_down_gives_zeros(monkeypatch):
    class Nothing(rp.rules.Rule):
        def share(self, layer, R):
            return rp.rules.Share((None,), lost=layer.total(R))

    composite = rp.Composite([(rp.on.conv, Nothing()), (rp.on.weighted, rp.rules.Epsilon())])
    model = small(lambda layers, x: layers["fc"](torch.relu(layers["conv"](x)).flatten(1)))
    for at_once in (1, 30, 10**9):
        monkeypatch.setattr("relprop.ops.parts.AT_ONCE", at_once)
        e = rp.explain(model, torch.randn(2, 3, 6, 6, dtype=D), [0], {"it": composite})
        assert not e.relevance["it"].any()
        assert e.ledger["it"].error < 1e-12


def test_a_map_is_the_callers_to_write_into():
    model = small(lambda layers, x: layers["fc"](torch.relu(layers["conv"](x)).flatten(1)))
    R = rp.attribute(model, torch.randn(1, 3, 6, 6, dtype=D), 0, "cmp-alpha2-flat")
    others = R[0, 1:].clone()
    R[0, 0] = 0
    assert torch.equal(R[0, 1:], others)
    R /= 2


@pytest.mark.parametrize("number", [np.int64, torch.tensor])
@pytest.mark.parametrize("method", ["lrp-z", "cmp-alpha1-flat:layers=stack"])
def test_settings_of_pools_and_convolutions_as_numpys_numbers(number, method):
    def way(layers, x, of):
        y = F.conv2d(x, layers["conv"].weight, stride=of(1), padding=int(of(1)))
        return layers["fc"](F.max_pool2d(F.relu(y), of(2), stride=of(2), padding=of(1)).flatten(1))

    x = torch.randn(2, 3, 6, 6, dtype=D)
    torchs = small(lambda layers, x: way(layers, x, number))
    plain = small(lambda layers, x: way(layers, x, int))
    plain.load_state_dict(torchs.state_dict())
    try:
        torchs(x)
    except RuntimeError:
        pytest.skip("this version of torch takes no tensor for such a setting itself")
    assert torch.equal(rp.attribute(torchs, x, 0, method), rp.attribute(plain, x, 0, method))


def test_learned_slopes_in_another_precision():
    model = small(lambda layers, x: layers["fc"](layers["prelu"](layers["conv"](x)).flatten(1)), prelu=nn.PReLU())
    x = torch.randn(1, 3, 6, 6)
    exact = rp.attribute(model, x.double(), 0, "guided-backprop")
    raised = rp.attribute(model.float(), x, 0, "guided-backprop", dtype=D)
    torch.testing.assert_close(raised, exact, rtol=1e-4, atol=1e-6)


def test_a_bias_for_each_picture(monkeypatch):
    bias, w = torch.randn(2, 5, dtype=D), torch.randn(64, 5, dtype=D)
    model = small(lambda layers, x: torch.addmm(bias, torch.relu(layers["conv"](x)).flatten(1), w))
    x = torch.randn(2, 3, 6, 6, dtype=D)
    whole = rp.explain(model, x, [0], ["lrp-z", "lrp-alpha2"])
    monkeypatch.setattr("relprop.ops.parts.AT_ONCE", 1)
    parts = rp.explain(model, x, [0], ["lrp-z", "lrp-alpha2"])
    for name, R in whole.relevance.items():
        torch.testing.assert_close(parts.relevance[name], R)
        assert parts.ledger[name].error < 1e-12


@pytest.mark.parametrize(
    "negative",
    [
        lambda y: F.relu(y) * y.clamp(0, -1),
        lambda y: F.relu(y) * y.clamp(min=0, max=-1),
        lambda y: F.avg_pool2d(F.relu(y), 1, divisor_override=-1),
        F.hardtanh,
        F.gelu,
        torch.tanh,
        lambda y: torch.add(F.relu(y), torch.ones(4, 4, dtype=D), alpha=-1),
        lambda y: torch.sub(F.relu(y), torch.ones(4, 4, dtype=D)),
        lambda y: F.relu(y) / -2,
        lambda y: -F.relu(y),
    ],
)
def test_what_may_be_negative_is_not_taken_for_non_negative(negative):
    """By the definition: a layer that took its input for non-negative would leave out half of the terms."""
    fc, x = randomised(nn.Linear(48, 5)), torch.randn(2, 3, 4, 4, dtype=D)
    a = negative(x).flatten(1)
    assert a.min() < 0
    composite = rp.Composite([(rp.on.linear, rp.rules.AlphaBeta(2)), (rp.on.any, rp.rules.Z())])
    R = rp.attribute(lambda x: fc(negative(x).flatten(1)), x, 1, composite, start="one")
    wanted = reference.alpha_beta(a, reference.dense(fc, (48,)), 2, -1)[:, :, 1]
    assert wanted.abs().max() > 0
    torch.testing.assert_close(R.flatten(1), wanted, rtol=1e-10, atol=1e-13)
