"""Profiles against the formulas of the libraries they are named after, written out in NumPy, in float64.

iNNvestigate (Alber et al., 2019) splits weights and biases by sign and input by sign, and forms each side of
alpha-beta as the sum of two partial layers. Each partial layer brings a bias: the positive weights the positive
part, the negative weights the negative part. So both sides get all of it. It divides by z, or by 1e-7 where z is
exactly 0 ("safe division").

The LRP Toolbox (Lapuschkin et al., 2016) compares each input of a max-pool with the window's maximum: all
that are equal to it share alike.
"""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised
from reference import dense, dense_matrix

D = torch.float64
SAFE = 1e-7


def safe_divide(a, b):
    return a / (b + (b == 0) * SAFE)


# Each rule: input x (i,), weights w (i, j), bias b (j,), relevance R (j,) to relevance (i,).


def whole_alpha_beta(alpha, beta):
    """With alpha - beta = 1, as iNNvestigate counts beta."""

    def rule(x, w, b, R):
        x_plus, x_minus = np.where(x > 0, x, 0), np.where(x < 0, x, 0)
        w_plus, w_minus = np.where(w > 0, w, 0), np.where(w < 0, w, 0)
        b_plus, b_minus = np.where(b > 0, b, 0), np.where(b < 0, b, 0)

        def side(first, second, first_b, second_b):
            s = safe_divide(R, (x_plus @ first + first_b) + (x_minus @ second + second_b))
            return x_plus * (first @ s) + x_minus * (second @ s)

        activators = side(w_plus, w_minus, b_plus, b_minus)
        inhibitors = side(w_minus, w_plus, b_minus, b_plus)
        return alpha * activators - beta * inhibitors

    return rule


def z(x, w, b, R):
    return x * (w @ safe_divide(R, x @ w + b))


def z_plus(x, w, b, R):
    """Alpha 1 without a bias."""
    return whole_alpha_beta(1, 0)(x, w, 0 * b, R)


def epsilon(eps):
    def rule(x, w, b, R):
        z_j = x @ w + b
        return x * (w @ (R / (z_j + ((z_j >= 0) * 2.0 - 1) * eps)))

    return rule


def flat(x, w, b, R):
    ones = (w != 0).astype(float)
    return ones @ safe_divide(R, ones.sum(0))


def winner(x, w, b, R):
    """The gradient of a max-pool; w says which inputs an output reads."""
    lower = np.zeros_like(x)
    for j in range(len(R)):
        read = np.flatnonzero(w[:, j])
        lower[read[np.argmax(x[read])]] += R[j]
    return lower


def innvestigate(model, x, target, rules, average=z):
    """Walk down a sequential network; `rules` are by the number of the weighted layer, from the input."""
    inputs = [x[None]]
    for module in model:
        inputs.append(module(inputs[-1]))
    R = torch.where(torch.arange(inputs[-1].shape[1]) == target, inputs[-1][0], 0.0).detach().numpy()
    weighted = [m for m in model if isinstance(m, nn.Conv2d | nn.Linear)]
    for module, before in zip(reversed(model), reversed(inputs[:-1]), strict=True):
        shape, a = tuple(before.shape[1:]), before[0].flatten().detach().numpy()
        if isinstance(module, nn.Conv2d | nn.Linear):
            w, b = (t.numpy() for t in dense_matrix(module, shape))
            R = rules[weighted.index(module)](a, w, b, R)
        elif isinstance(module, nn.AvgPool2d):
            w, b = (t.numpy() for t in dense_matrix(module, shape))
            R = average(a, w, b, R)
        elif isinstance(module, nn.MaxPool2d):
            average = nn.AvgPool2d(module.kernel_size, module.stride)
            R = winner(a, dense_matrix(average, shape)[0].numpy(), None, R)
    return R.reshape(x.shape)


def network(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),  # its inputs are not negative, those of the next are
        nn.AvgPool2d(2),
        nn.Conv2d(5, 4, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.ReLU(),
        nn.Linear(6, 4),
    )
    model = randomised(model)
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.bias, 0, 0.3)
            assert (module.bias > 0).any()
            assert (module.bias < 0).any()
    return model, torch.randn(2, 2, 8, 8, dtype=D)


ALPHA1, ALPHA2, EPS = whole_alpha_beta(1, 0), whole_alpha_beta(2, 1), epsilon(0.1)
METHODS = {
    "lrp-z": [z] * 5,
    "lrp-alpha1": [ALPHA1] * 5,
    "lrp-alpha2": [ALPHA2] * 5,
    "cmp-alpha1": [ALPHA1] * 3 + [EPS] * 2,  # its LRPSequentialPresetA
    "cmp-alpha2": [ALPHA2] * 3 + [EPS] * 2,  # B
    "cmp-alpha1-flat": [flat] + [ALPHA1] * 2 + [EPS] * 2,  # AFlat
    "cmp-alpha2-flat": [flat] + [ALPHA2] * 2 + [EPS] * 2,  # BFlat
    "epsilon-plus": [z_plus] * 3 + [EPS] * 2,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
def test_profile_innvestigate_is_its_formulas(method, seed):
    model, x = network(seed)
    target = int(model(x)[0].argmax())
    e = rp.explain(model, x, [target], [method], profile="innvestigate")
    for b in range(2):
        wanted = innvestigate(model, x[b], target, METHODS[method])
        assert np.abs(wanted).max() > 0
        ours = e.relevance[method][0, b].numpy()
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    if method.startswith(("lrp-alpha", "cmp", "epsilon-plus")):
        assert not torch.allclose(e.relevance[method], rp.explain(model, x, [target], [method]).relevance[method])


@pytest.mark.parametrize("eps", [0.1, 1e-7])
def test_profile_innvestigate_and_epsilon_in_every_layer(eps):
    """Our lrp-epsilon means averages as well, which iNNvestigate's LRPEpsilon (eps 1e-7) leaves to LRP_z."""
    model, x = network(0)
    method = "lrp-epsilon" if eps == 0.1 else f"lrp-epsilon:eps={eps}"
    ours = rp.attribute(model, x, 1, method, profile="innvestigate")[0].numpy()
    wanted = innvestigate(model, x[0], 1, [epsilon(eps)] * 5, average=epsilon(eps))
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    composite = rp.Composite([(rp.on.weighted, rp.rules.Epsilon(eps))])  # what theirs is
    ours = rp.attribute(model, x, 1, composite, profile="innvestigate")[0].numpy()
    wanted = innvestigate(model, x[0], 1, [epsilon(eps)] * 5)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def test_profile_innvestigate_adds_as_lrp_z_does():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(32, 3)

        def forward(self, x):
            return self.fc((self.conv(x) + x).flatten(1))

    model, x = randomised(Residual()), torch.randn(1, 2, 4, 4, dtype=D)
    a = model.conv(x).detach().flatten().numpy()
    x_i = x.flatten().numpy()
    w, b = (t.numpy() for t in dense_matrix(model.fc, (32,)))
    R = EPS(a + x_i, w, b, np.eye(3)[1] * model(x)[0].detach().numpy())
    w, b = (t.numpy() for t in dense_matrix(model.conv, (2, 4, 4)))
    s = safe_divide(R, a + x_i)
    wanted = x_i * s + ALPHA2(x_i, w, b, a * s)
    ours = rp.attribute(model, x, 1, "cmp-alpha2", profile="innvestigate").flatten().numpy()
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def one_layer(w, b):
    fc = nn.Linear(len(w), 1).to(D)
    with torch.no_grad():
        fc.weight.copy_(torch.tensor([w]))
        fc.bias.fill_(b)
    return nn.Sequential(fc).eval()


def test_the_sign_of_zero_is_plus_as_in_innvestigate():
    x = torch.tensor([[1.0, 2.0]], dtype=D)
    ours = rp.attribute(one_layer([2.0, -1.0], 0.0), x, 0, "lrp-epsilon", profile="innvestigate", start="one")
    np.testing.assert_allclose(ours[0], EPS(np.array([1, 2]), np.array([[2], [-1]]), np.zeros(1), np.ones(1)))


def test_where_nothing_was_added_up_safe_division_and_ours_hand_down_nothing():
    x = torch.zeros(1, 2, dtype=D)
    for b in (0.0, 0.5):
        model = one_layer([2.0, -1.0], b)
        for method, rule in (("lrp-z", z), ("lrp-alpha2", ALPHA2)):
            ours = rp.attribute(model, x, 0, method, profile="innvestigate", start="one")[0].numpy()
            theirs = rule(x[0].numpy(), np.array([[2.0], [-1.0]]), np.array([b]), np.ones(1))
            assert ours.tolist() == theirs.tolist() == [0, 0]


def test_where_terms_cancel_exactly_safe_division_divides_by_its_constant_and_ours_hands_down_nothing():
    """The one difference: z^+ + b = 0 with a z^+ that is not 0. It takes numbers made for it."""
    model, x = one_layer([2.0, -1.0], -2.0), torch.ones(1, 2, dtype=D)
    theirs = ALPHA1(x[0].numpy(), np.array([[2.0], [-1.0]]), np.array([-2.0]), np.ones(1))
    np.testing.assert_allclose(theirs, [2 / SAFE, 0])
    e = rp.explain(model, x, [0], ["lrp-alpha1"], profile="innvestigate", start="one")
    assert e.relevance["lrp-alpha1"].abs().max() == 0
    assert e.ledger["lrp-alpha1"].sum("eps").item() == 1  # and the ledger says so


# -- the LRP Toolbox ---------------------------------------------------------------------------------


def windows(size, kernel, stride):
    """The places of a pool's windows along one axis."""
    return [slice(at, at + kernel) for at in range(0, size - kernel + 1, stride)]


def toolbox_max_pool(x, R, kernel, stride, share):
    """Hand R (C, h, w) down to x (C, H, W), window by window."""
    lower = np.zeros_like(x)
    for i, rows in enumerate(windows(x.shape[1], kernel[0], stride[0])):
        for j, columns in enumerate(windows(x.shape[2], kernel[1], stride[1])):
            z_ij = share(x[:, rows, columns])
            lower[:, rows, columns] += z_ij / z_ij.sum((1, 2), keepdims=True) * R[:, i : i + 1, j : j + 1]
    return lower


def winners(window):
    return (window == window.max((1, 2), keepdims=True)).astype(float)


POOLS = [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 3), (1, 1)), ((2, 3), (3, 1)), ((2, 2), (3, 3))]


def pooled(kernel, stride, values):
    """A pool under a linear layer, on inputs that take few values: (2, 3, 9, 10)."""
    torch.manual_seed(0)
    pool = nn.MaxPool2d(kernel, stride)
    x = torch.randint(0, values, (2, 3, 9, 10)).to(D) - 1
    model = randomised(nn.Sequential(pool, nn.Flatten(), nn.Linear(pool(x)[0].numel(), 3)))
    above = rp.attribute(model[2], pool(x).flatten(1), 1, "lrp-z").view(pool(x).shape).numpy()
    return model, x, above


@pytest.mark.parametrize("values", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "stride"), POOLS)
def test_profile_toolbox_splits_ties_of_a_max_pool_evenly(kernel, stride, values):
    model, x, above = pooled(kernel, stride, values)
    R = rp.attribute(model, x, 1, "lrp-z", profile="toolbox")
    for b in range(2):
        wanted = toolbox_max_pool(x[b].numpy(), above[b], kernel, stride, winners)
        assert np.abs(wanted).max() > 0 or values == 2  # a maximum of 0 receives nothing from a linear layer
        np.testing.assert_allclose(R[b].numpy(), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(R.sum((1, 2, 3)), torch.from_numpy(above.sum((1, 2, 3))))


def test_ties_of_a_relu_are_split_by_the_toolbox_and_won_by_the_first_in_the_paper():
    model, x, _ = pooled((3, 3), (2, 2), 3)
    toolbox, paper = (rp.attribute(model, x, 1, "lrp-z", profile=profile) for profile in ("toolbox", "paper"))
    assert not torch.allclose(toolbox, paper)
    torch.testing.assert_close(toolbox.sum((1, 2, 3)), paper.sum((1, 2, 3)))
    alone = torch.randn(2, 3, 9, 10, dtype=D)  # no ties: no difference
    torch.testing.assert_close(
        rp.attribute(model, alone, 1, "lrp-z", profile="toolbox"), rp.attribute(model, alone, 1, "lrp-z")
    )


@pytest.mark.parametrize(("kernel", "stride"), POOLS)
def test_flat_on_a_max_pool_spreads_evenly_over_the_window(kernel, stride):
    model, x, above = pooled(kernel, stride, 4)
    composite = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
    R = rp.attribute(model, x, 1, composite, profile="toolbox")
    for b in range(2):
        wanted = toolbox_max_pool(x[b].numpy(), above[b], kernel, stride, np.ones_like)
        np.testing.assert_allclose(R[b].numpy(), wanted, rtol=0, atol=1e-12)


def test_flat_on_an_average_pool_counts_its_real_inputs_in_every_profile():
    """The area of the kernel is the Toolbox's for convolutions; an average's own weights know what is padding."""
    pool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
    x = torch.randn(2, 3, 9, 10, dtype=D)
    model = randomised(nn.Sequential(pool, nn.Flatten(), nn.Linear(pool(x)[0].numel(), 3)))
    above = rp.attribute(model[2], pool(x).flatten(1), 1, "lrp-z").view(pool(x).shape)
    wanted = torch.zeros(2, 3, 11, 12, dtype=D)
    for i in range(above.shape[2]):
        for j in range(above.shape[3]):
            real = [len(range(max(2 * k, 1), min(2 * k + 3, n + 1))) for k, n in ((i, 9), (j, 10))]
            wanted[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += above[:, :, i : i + 1, j : j + 1] / (
                real[0] * real[1]
            )
    composite = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.linear, rp.rules.Z())])
    for profile in ("paper", "toolbox"):
        e = rp.explain(model, x, [1], {"flat": composite}, profile=profile)
        torch.testing.assert_close(e.relevance["flat"][0], wanted[:, :, 1:10, 1:11], rtol=0, atol=1e-12)
        assert e.ledger["flat"].error < 1e-12


@pytest.mark.parametrize(
    ("stride", "padding"), [((1, 1), (0, 0)), ((1, 1), (1, 2)), ((2, 1), (2, 1)), ((3, 3), (1, 0))]
)
def test_profile_toolbox_divides_flat_by_the_area_of_the_kernel(stride, padding):
    """By height x width x channels, as the Python version; the Caffe version leaves the channels out: a factor."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, (3, 4), stride, padding)
    x = torch.randn(2, 3, 9, 10, dtype=D)
    model = randomised(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(conv(x.float())[0].numel(), 3)))
    after = model[:3](x)
    above = rp.attribute(model[3], after, 1, "lrp-z").view(conv(x).shape).numpy()
    composite = rp.Composite([(rp.on.conv, rp.rules.Flat()), (rp.on.linear, rp.rules.Z())])
    e = rp.explain(model, x, [1], {"flat": composite}, profile="toolbox")
    wanted = np.zeros((2, 3, 9 + 2 * padding[0], 10 + 2 * padding[1]))
    for i in range(above.shape[2]):
        for j in range(above.shape[3]):
            share = above[:, :, i, j].sum(1)[:, None, None, None] / (3 * 4 * 3)
            wanted[:, :, i * stride[0] : i * stride[0] + 3, j * stride[1] : j * stride[1] + 4] += share
    within = wanted[:, :, padding[0] : padding[0] + 9, padding[1] : padding[1] + 10]
    np.testing.assert_allclose(e.relevance["flat"][0].numpy(), within, rtol=0, atol=1e-12)
    lost = e.ledger["flat"].sum("lost")[0].numpy()
    np.testing.assert_allclose(lost, wanted.sum((1, 2, 3)) - within.sum((1, 2, 3)), rtol=0, atol=1e-12)
    if padding == (0, 0):
        torch.testing.assert_close(
            e.relevance["flat"], rp.explain(model, x, [1], {"flat": composite}).relevance["flat"]
        )


GIVEN = {
    "innvestigate, alpha-beta": ("innvestigate", rp.rules.AlphaBeta(2, bias=True), rp.rules.AlphaBeta(2)),
    "toolbox, flat": ("toolbox", rp.rules.Flat(padding="real"), rp.rules.Flat()),
    "zennit, alpha-beta": ("zennit", rp.rules.AlphaBeta(2, eps=0.25), rp.rules.AlphaBeta(2)),
    "zennit, z+": ("zennit", rp.rules.ZPlus(eps=0.25), rp.rules.ZPlus()),
    "zennit, gamma": ("zennit", rp.rules.Gamma(0.25, eps=0.0), rp.rules.Gamma(0.25)),
    "zennit, flat": ("zennit", rp.rules.Flat(eps=0.25), rp.rules.Flat()),
    "zennit, w-square": ("zennit", rp.rules.WSquare(bias=False, eps=0.25), rp.rules.WSquare()),
    "zennit, zB": ("zennit", rp.rules.ZBox(-3, 4, eps=0.25), rp.rules.ZBox(-3, 4)),
}


@pytest.mark.parametrize("case", GIVEN)
def test_no_profile_changes_a_number_that_was_given(case):
    """Though it be the default itself; what was not given it does change."""
    profile, given, left = GIVEN[case]
    model = randomised(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(60, 3)))
    x = torch.randn(2, 2, 4, 5, dtype=D)

    def attributed(rule, profile):
        return rp.attribute(model, x, 1, rp.Composite([(rp.on.conv, rule), (rp.on.any, rp.rules.Z())]), profile=profile)

    assert torch.equal(attributed(given, profile), attributed(given, "paper"))
    assert not torch.equal(attributed(left, profile), attributed(left, "paper"))


def test_dense_and_matrix_agree():
    """The judge's own tools: what a layer reads, and its weights."""
    conv = randomised(nn.Conv2d(2, 3, 3, padding=1))
    w, b = dense_matrix(conv, (2, 4, 4))
    layer = dense(conv, (2, 4, 4))
    assert torch.equal(layer.w, w)
    assert torch.equal((w != 0).double(), layer.real)
    assert torch.equal(layer.b, b)
