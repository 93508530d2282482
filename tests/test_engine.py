"""The walk: what is used twice, added, moved, gated or done in place explains like its plain equivalent."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import Calls, randomised

METHODS = ["lrp-z", "lrp-epsilon", "lrp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat:layers=stack"]


def picture(batch=2):
    return torch.randn(batch, 3, 8, 8, dtype=torch.float64)


def maps(model, x=None, methods=METHODS, **options):
    return rp.explain(randomised_once(model), picture() if x is None else x, [1], methods, **options).relevance


def randomised_once(model):
    return model.double().eval()


def assert_alike(a, b, rtol=1e-12):
    for method in a:
        assert a[method].abs().max() > 0
        torch.testing.assert_close(a[method], b[method], rtol=rtol, atol=1e-14)


def test_a_module_used_twice_is_its_unrolled_copy():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.fc = (
                nn.Conv2d(3, 4, 3),
                nn.Conv2d(4, 4, 3, padding=1),
                nn.Linear(144, 5),
            )

        def forward(self, x):
            x = F.relu(self.again(F.relu(self.first(x))))
            return self.fc(F.relu(self.again(x)).flatten(1))

    once = Twice()
    unrolled = nn.Sequential(
        once.first,
        nn.ReLU(),
        once.again,
        nn.ReLU(),
        copy.deepcopy(once.again),
        nn.ReLU(),
        nn.Flatten(),
        once.fc,
    )
    x = picture()
    assert_alike(maps(once, x), maps(unrolled, x))


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def test_a_functional_residual_is_a_module():
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    written = Calls(lambda y: F.relu(y) + F.relu(F.conv2d(F.relu(y), body[0].weight, body[0].bias, padding=1)))
    module = Calls(nn.Sequential(nn.ReLU(), Residual(body)))
    body.double()
    module.load_state_dict(written.state_dict(), strict=False)
    x = picture()
    assert_alike(maps(written, x), maps(module, x))


def test_an_addition_shares_by_what_each_term_brings():
    a, b = nn.Linear(4, 3), nn.Linear(4, 3)

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = a, b

        def forward(self, x):
            return self.a(x) + self.b(x)

    x = torch.randn(2, 4, dtype=torch.float64)
    R = rp.attribute(Sum().double().eval(), x, 1, "lrp-z")
    torch.testing.assert_close(R, x * (a.weight[1] + b.weight[1]), rtol=1e-10, atol=0)


def test_a_batch_of_eight_is_eight_single_runs_with_mixed_targets():
    model = randomised(
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 5))
    )
    x, targets = picture(8), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    together = rp.explain(model, x, [targets], METHODS)
    for n in range(8):
        alone = rp.explain(model, x[n : n + 1], [int(targets[n])], METHODS)
        for method in METHODS:
            torch.testing.assert_close(
                together.relevance[method][:, n], alone.relevance[method][:, 0], rtol=1e-10, atol=1e-14
            )
            torch.testing.assert_close(
                together.ledger[method].sum("bias")[:, n],
                alone.ledger[method].sum("bias")[:, 0],
                rtol=1e-9,
                atol=1e-12,
            )


def test_several_targets_and_methods_in_one_walk_are_each_on_its_own():
    model, x = randomised(Calls(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU()))), picture()
    targets = [0, torch.tensor([3, 4]), None]
    methods = [*METHODS, "cmp-alpha1", "cmp-alpha2", "epsilon-gamma-box:low=-3,high=3"]
    together = rp.explain(model, x, targets, methods)
    assert together.targets.shape == (3, 2)
    assert torch.equal(together.targets[2], model(x).argmax(1))
    for t, target in enumerate(targets):
        for method in methods:
            alone = rp.attribute(model, x, target, method)
            torch.testing.assert_close(together.relevance[method][t], alone, rtol=1e-12, atol=1e-14)


def test_the_outputs_are_the_models_own():
    model, x = randomised(Calls(torch.relu)), picture()
    torch.testing.assert_close(rp.explain(model, x).outputs, model(x), rtol=0, atol=0)


def test_methods_may_have_names_of_ones_own():
    model, x = randomised(Calls(torch.relu)), picture()
    epsilon = rp.Composite([(rp.on.any, rp.rules.Epsilon())])

    def gradient(model, x, target):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0]

    e = rp.explain(model, x, [1, 2], {"mine": epsilon, "named": "lrp-epsilon", "slope": gradient})
    assert list(e.relevance) == ["mine", "named", "slope"]
    assert torch.equal(e.relevance["mine"], e.relevance["named"])
    assert torch.equal(e.relevance["slope"][1], rp.attribute(model, x, 2, gradient))
    with pytest.raises(rp.InputError, match="shape"):
        rp.attribute(model, x, 1, lambda *_: torch.ones(3))


EQUAL = {
    "in-place ReLU": (lambda y: F.relu(y), lambda y: F.relu_(y)),
    "in-place on a view": (lambda y: F.relu(y.flatten(1)), lambda y: y.flatten(1).relu_()),
    "chained in-place": (lambda y: (y * 2 + 1).relu(), lambda y: y.mul_(2).add_(1).relu_()),
    "ReLU by clamp": (F.relu, lambda y: y.clamp(min=0)),
    "ReLU by a mask": (F.relu, lambda y: y * (y > 0)),
    "ReLU by where": (F.relu, lambda y: torch.where(y > 0, y, torch.zeros((), dtype=y.dtype))),
    "split and cat": (F.relu, lambda y: torch.cat([F.relu(p) for p in y.chunk(2, 1)], 1)),
    "into a buffer": (F.relu, lambda y: write_into(torch.zeros_like(y), F.relu(y))),
    "batch not first": (F.relu, lambda y: y.permute(1, 2, 3, 0).relu().permute(3, 0, 1, 2)),
    "picture by picture": (F.relu, lambda y: torch.stack([F.relu(p) for p in y])),
    "there and back": (
        F.relu,
        lambda y: F.relu(y.double().reshape(-1, 16).T.contiguous()).mT.reshape(y.shape),
    ),
    "an autograd Function": (lambda y: F.relu(y) * 2, lambda y: Doubled.apply(y)),
    "flip twice": (F.relu, lambda y: F.relu(y.flip(2)).flip(2)),
    "average by mean": (
        lambda y: F.adaptive_avg_pool2d(y, 1).expand(-1, -1, 8, 8),
        lambda y: y.mean((2, 3), True).expand(-1, -1, 8, 8),
    ),
    "max-pool by max": (
        lambda y: F.max_pool2d(y, 8).expand(-1, -1, 8, 8),
        lambda y: y.flatten(2).max(2)[0][..., None, None].expand(-1, -1, 8, 8),
    ),
}


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.clamp(min=0) * 2

    @staticmethod
    def backward(ctx, g):
        raise AssertionError


def write_into(buffer, y):
    buffer[:, :2] = y[:, :2]
    buffer[:, 2:] = y[:, 2:]
    return buffer


@pytest.mark.parametrize("case", EQUAL)
def test_the_same_function_in_other_words_has_the_same_map(case):
    one, other = (Calls(f) for f in EQUAL[case])
    other.load_state_dict(one.state_dict())
    x = picture()
    methods = ["lrp-z", "lrp-alpha2", "cmp-alpha1-flat"]
    assert_alike(maps(one, x, methods), maps(other, x, methods), rtol=1e-9)


def test_a_fully_convolutional_classifier_and_its_linear_twin_have_the_same_map():
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 6), nn.Flatten())
    linear = nn.Sequential(conv[0], nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    linear[3].weight.data, linear[3].bias.data = conv[2].weight.data.flatten(1), conv[2].bias.data
    x = picture()
    assert_alike(maps(conv, x), maps(linear, x), rtol=1e-10)


def test_batchnorm_after_a_convolution_is_seen_as_one_layer():
    for layer, side in (
        (nn.Conv2d(3, 4, 3), 6),
        (nn.Conv2d(3, 4, 3, bias=False), 6),
        (nn.ConvTranspose2d(3, 4, 3), 10),
    ):
        model = randomised(
            nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(side * side * 4, 5))
        )
        scale = model[1].weight / (model[1].running_var + model[1].eps).sqrt()
        fused = copy.deepcopy(model)
        axis = (-1, 1, 1, 1) if isinstance(layer, nn.Conv2d) else (1, -1, 1, 1)
        fused[0].weight.data *= scale.view(axis)
        old = 0.0 if layer.bias is None else layer.bias
        fused[0].bias = nn.Parameter((old - model[1].running_mean) * scale + model[1].bias)
        fused[1] = nn.Identity()
        x = picture()
        assert_alike(maps(model, x), maps(fused, x), rtol=1e-8)
        assert [s.why for s in rp.plan(model, x) if s.op == "batch_norm"] == ["merged into 0"]


def test_batchnorm_after_a_grouped_transposed_convolution_scales_each_groups_own_outputs():
    layer, norm = nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, eps=0.3)
    model = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), layer, norm, nn.Flatten(), nn.Linear(384, 5)))
    scale = norm.weight / (norm.running_var + 0.3).sqrt()
    fused = copy.deepcopy(model)
    for group in range(2):  # two inputs make three outputs
        fused[2].weight.data[2 * group : 2 * group + 2] *= scale[3 * group : 3 * group + 3].view(1, 3, 1, 1)
    fused[2].bias.data = (layer.bias - norm.running_mean) * scale + norm.bias
    fused[3] = nn.Identity()
    x = picture()
    torch.testing.assert_close(fused(x), model(x), rtol=1e-12, atol=0)
    assert_alike(maps(model, x), maps(fused, x), rtol=1e-8)


def test_batchnorm_that_is_not_alone_is_a_layer_of_its_own():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(288, 5)

        def forward(self, x):
            y = self.conv(x)
            return self.fc(torch.cat([y, self.norm(y)], 1).flatten(1))

    model = randomised(Both())
    x = picture().requires_grad_()
    assert [s.rule for s in rp.plan(model, x.detach(), "lrp-z") if s.op == "batch_norm"] == ["Z()"]
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    R = rp.attribute(model, x, 1, "lrp-z")
    torch.testing.assert_close(R, gradient * x.detach(), rtol=1e-8, atol=1e-12)


def test_a_gate_gets_nothing_and_its_signal_all():
    class Gated(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.conv, self.squeeze, self.fc, self.gate = (
                nn.Conv2d(3, 4, 3, padding=1),
                nn.Linear(4, 4),
                nn.Linear(256, 5),
                gate,
            )

        def forward(self, x):
            y = F.relu(self.conv(x))
            gate = torch.sigmoid(self.squeeze(y.mean((2, 3))))[..., None, None]
            return self.fc((y * (gate if self.gate else gate.detach())).flatten(1))

    x = picture()
    gated, constant = Gated(gate=True), Gated(gate=False)
    constant.load_state_dict(gated.state_dict())
    assert_alike(maps(gated, x), maps(constant, x))
    assert [s.rule for s in rp.plan(gated.eval(), x) if s.path == "squeeze"] == ["none"]


def test_products_of_equal_shape():
    x = torch.randn(2, 4, dtype=torch.float64)
    silu = nn.Sequential(nn.Linear(4, 3), Product(lambda y: y * torch.sigmoid(y))).double().eval()
    linear = nn.Sequential(silu[0]).eval()
    share = rp.attribute(silu, x, 1, "lrp-z", start="one")
    torch.testing.assert_close(share, rp.attribute(linear, x, 1, "lrp-z", start="one"), rtol=1e-12, atol=0)
    square = nn.Sequential(silu[0], Product(lambda y: y * y)).eval()
    torch.testing.assert_close(rp.attribute(square, x, 1, "lrp-z", start="one"), share, rtol=1e-12, atol=0)


class Product(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_a_constant_passes_before_the_first_weighted_op_and_is_bias_after():
    x = torch.rand(2, 4, dtype=torch.float64)
    fc = nn.Linear(4, 3, bias=False).double()
    before = nn.Sequential(Product(lambda y: (y - 0.5) / 0.25), fc).eval()
    plain = nn.Sequential(fc).eval()
    torch.testing.assert_close(
        rp.attribute(before, x, 1, "lrp-z"),
        rp.attribute(plain, (x - 0.5) / 0.25, 1, "lrp-z"),
        rtol=1e-12,
        atol=0,
    )
    after = nn.Sequential(fc, Product(lambda y: y + torch.tensor([1.0, 2.0, 3.0], dtype=y.dtype))).eval()
    e = rp.explain(after, x, [1], ["lrp-z"])
    torch.testing.assert_close(e.relevance["lrp-z"][0], x * fc.weight[1], rtol=1e-10, atol=0)
    torch.testing.assert_close(
        e.ledger["lrp-z"].sum("bias")[0], torch.full((2,), 2.0, dtype=torch.float64), rtol=1e-10, atol=0
    )


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.LeakyReLU(),
        nn.ELU(),
        nn.GELU(),
        nn.SiLU(),
        nn.Hardswish(),
        nn.Tanh(),
        nn.ReLU6(),
        nn.Mish(),
        nn.PReLU(),
        nn.SELU(),
        nn.Hardtanh(),
        nn.CELU(),
    ],
)
def test_activations_pass_relevance(activation):
    fc = nn.Linear(4, 3)
    model = nn.Sequential(fc, activation).double().eval()
    x = torch.randn(2, 4, dtype=torch.float64)
    passed = rp.attribute(model, x, 1, "lrp-z", start="one")
    torch.testing.assert_close(
        passed, rp.attribute(nn.Sequential(fc).eval(), x, 1, "lrp-z", start="one"), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "zeros"])
def test_padding_modes_are_gradient_x_input_under_z(mode):
    model = randomised(Calls(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode))))
    x = picture().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    torch.testing.assert_close(rp.attribute(model, x, 1, "lrp-z"), gradient * x.detach(), rtol=1e-8, atol=1e-12)


def test_half_precision_models_give_relevance_in_float32():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).to(torch.bfloat16).eval()
    R = rp.attribute(model, torch.randn(2, 3, 8, 8, dtype=torch.bfloat16), 1, "lrp-epsilon")
    assert R.dtype == torch.float32


def test_a_plain_function_can_be_explained():
    w = torch.randn(5, 192, dtype=torch.float64)
    x = picture()
    R = rp.attribute(lambda x: F.linear(x.flatten(1), w), x, 1, "lrp-z")
    torch.testing.assert_close(R, x * w[1].view(3, 8, 8), rtol=1e-10, atol=0)


def test_an_object_with_logits_is_understood():
    class Result:
        def __init__(self, logits):
            self.logits = logits

    model, x = randomised(Calls(torch.relu)), picture()
    assert torch.equal(rp.attribute(lambda x: Result(model(x)), x, 1), rp.attribute(model, x, 1))
