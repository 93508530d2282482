"""What must hold for every network: hypothesis draws the networks, the inputs and the rules."""

from copy import deepcopy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import relprop as rp
from relprop import rules

CLASSES = 4
BATCH = 4
PAPER = ["lrp-z", "lrp-epsilon", "lrp-alpha1", "lrp-alpha2", "cmp-alpha1", "cmp-alpha2"]
PAPER_FLAT = [*PAPER, "cmp-alpha1-flat", "cmp-alpha2-flat"]
few = settings(max_examples=25, deadline=None, derandomize=True, print_blob=False)


class Network(nn.Module):
    """Convolutions with whatever stands between them in practice: norms, pools, a shortcut, a branch."""

    def __init__(self, *, bias, norm, pool, shortcut, branch):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.pool = {"max": nn.MaxPool2d(2, ceil_mode=True), "average": nn.AvgPool2d(2, ceil_mode=True)}[pool]
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=bias)
        self.third = nn.Conv2d(8 if branch else 4, 5, 2, bias=bias)
        self.last = nn.Linear(5 * 3 * 3, CLASSES, bias=bias)
        self.shortcut, self.branch = shortcut, branch

    def forward(self, x):
        x = self.pool(self.norm(self.first(x)).relu())
        y = self.second(x).relu()
        if self.shortcut:
            y = y + x
        if self.branch:
            y = torch.cat([y, x], 1)
        return self.last(self.third(y).relu().flatten(1))


def network(seed, *, pool, bias=False, norm=False, shortcut, branch):
    """A network in evaluation mode, its parameters and statistics random, in float64."""
    torch.manual_seed(seed)
    model = Network(bias=bias, norm=norm, pool=pool, shortcut=shortcut, branch=branch).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.3 if name.endswith("bias") else 0.5)
    if norm:
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.3, 2)
    return model


def image(seed):
    """A batch of images of 7 x 8 with values of both signs."""
    torch.manual_seed(seed)
    return torch.randn(BATCH, 3, 7, 8, dtype=torch.float64)


seeds, flags = st.integers(0, 2**16), st.booleans()
drawn = {"seed": seeds, "pool": st.sampled_from(["max", "average"]), "shortcut": flags, "branch": flags}
networks_without_bias = st.builds(network, **drawn)
networks = st.builds(network, **drawn, bias=flags, norm=flags)
images = st.builds(image, seeds)


def total(t):
    return t.flatten(2).sum(2)


def same(a, b, tolerance=1e-9):
    return (a - b).abs().max() <= tolerance * b.abs().max()


@few
@given(networks, images, st.sampled_from(PAPER_FLAT))
def test_relevance_is_conserved_up_to_what_the_ledger_names(model, x, method):
    explanation = rp.explain(model, x, targets=[0, 3], methods=[method])
    leak = sum(row.bias + row.eps + row.lost for row in explanation.ledger[method])
    assert same(total(explanation.relevance[method]) + leak, explanation.outputs[:, [0, 3]].T)


@few
@given(networks, images, st.sampled_from(PAPER_FLAT))
def test_every_row_of_the_ledger_adds_up(model, x, method):
    for row in rp.explain(model, x, targets=[1], methods=[method]).ledger[method]:
        parts = row.relevance_out + row.bias + row.eps + row.lost
        assert same(parts, row.relevance_in), f"{row.path} {row.op} {row.rule}"


@few
@given(
    networks_without_bias,
    images,
    st.sampled_from(["lrp-z", "cmp-alpha1-flat"]),
)
def test_without_biases_all_of_the_logit_arrives(model, x, method):
    explanation = rp.explain(model, x, targets=[2], methods=[method])
    assert explanation.relevance[method].isfinite().all()
    expected = explanation.outputs[:, [2]].T
    assert same(total(explanation.relevance[method]), expected, 1e-4)


@few
@given(networks, images)
def test_lrp_z_is_gradient_times_input_in_a_relu_network(model, x):
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    z = rp.Composite([(rp.on.any, rules.Z())])
    assert same(rp.attribute(model, x.detach(), target=1, method=z), gradient * x.detach())


@few
@given(networks, images, st.sampled_from(PAPER_FLAT))
def test_relevance_is_linear_in_its_start(model, x, method):
    from_one = rp.attribute(model, x, target=2, method=method, start="one")
    from_logit = rp.attribute(model, x, target=2, method=method)
    assert same(from_logit, model(x).detach()[:, 2, None, None, None] * from_one)


@few
@given(networks, images, st.sampled_from(PAPER_FLAT), st.permutations(range(BATCH)))
def test_an_image_does_not_see_the_rest_of_its_batch(model, x, method, order):
    target = torch.tensor([0, 1, 2, 3])
    together = rp.attribute(model, x, target=target, method=method)
    alone = [rp.attribute(model, x[[i]], target=i, method=method) for i in range(BATCH)]
    assert same(together, torch.cat(alone))
    assert same(rp.attribute(model, x[order], target=target[order], method=method), together[order])


@few
@given(networks, images)
def test_methods_and_targets_together_equal_each_alone(model, x):
    targets = [3, 0, 2]
    together = rp.explain(model, x, targets=targets, methods=PAPER_FLAT)
    for method in PAPER_FLAT:
        alone = [rp.attribute(model, x, target=target, method=method) for target in targets]
        assert same(together.relevance[method], torch.stack(alone)), method


@few
@given(networks, images, st.data())
def test_alpha1_beta0_is_zplus(model, x, data):
    alpha1 = rp.Composite([(rp.on.weighted, rules.AlphaBeta(1, 0))])
    zplus = rp.Composite([(rp.on.weighted, rules.ZPlus())])
    target = data.draw(st.integers(0, CLASSES - 1))
    assert same(
        rp.attribute(model, x, target=target, method=alpha1),
        rp.attribute(model, x, target=target, method=zplus),
        0.0,
    )


@few
@given(networks, images)
def test_gamma_0_is_z(model, x):
    assert same(
        rp.attribute(model, x, target=1, method=rp.Composite([(rp.on.weighted, rules.Gamma(0.0))])),
        rp.attribute(model, x, target=1, method=rp.Composite([(rp.on.weighted, rules.Z())])),
    )


class Recurrent(nn.Module):
    """One convolution used again and again."""

    def __init__(self, times):
        super().__init__()
        self.step = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(3 * 7 * 8, CLASSES)
        self.times = times

    def steps(self):
        return [self.step] * self.times

    def forward(self, x):
        for step in self.steps():
            x = step(x).relu()
        return self.last(x.flatten(1))


class Unrolled(Recurrent):
    """The same network with a copy of the convolution for every use."""

    def __init__(self, recurrent):
        super().__init__(recurrent.times)
        self.last = recurrent.last
        self.copies = nn.ModuleList(deepcopy(recurrent.step) for _ in range(self.times))

    def steps(self):
        return list(self.copies)


@few
@given(images, st.integers(2, 3), st.sampled_from(PAPER_FLAT))
def test_a_module_used_again_equals_its_unrolled_copy(x, times, method):
    recurrent = Recurrent(times).double().eval()
    ours = rp.attribute(recurrent, x, target=0, method=method)
    assert same(ours, rp.attribute(Unrolled(recurrent).eval(), x, target=0, method=method))


@few
@given(networks, images, st.sampled_from(PAPER_FLAT))
def test_the_model_and_the_images_are_left_as_they_were(model, x, method):
    state, image = deepcopy(model.state_dict()), x.clone()
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    rp.attribute(model, x, target=1, method=method)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(x, image)
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
