"""The user's model is the same, bit by bit, after success, after an error, after Ctrl-C."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks_of_torch

import relprop as rp
from conftest import randomised


def state_of(model):
    """Everything of a model that could be changed."""
    return {
        "state": {k: (v.clone(), v.data_ptr(), v._version) for k, v in model.state_dict().items()},
        "flags": [(p.requires_grad, p.grad, id(p)) for p in model.parameters()],
        "training": [m.training for m in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        "classes": [(type(m), set(vars(m))) for m in model.modules()],
        "global hooks": (
            len(hooks_of_torch._global_forward_hooks),
            len(hooks_of_torch._global_forward_pre_hooks),
        ),
        "grad mode": torch.is_grad_enabled(),
    }


def assert_same(before, after):
    for name, (value, pointer, version) in before.pop("state").items():
        now, now_at, now_version = after["state"][name]
        assert torch.equal(value, now), name
        assert (pointer, version) == (now_at, now_version), name
    after.pop("state")
    assert before == after


class Interrupted(nn.Module):
    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def forward(self, x):
        if self.error:
            raise self.error
        return x * 1


def model_with(error=None):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(4, 4, 1), Interrupted(error)),
        nn.Flatten(),
        nn.Linear(144, 5),
    )
    model[0].weight.requires_grad_(False)
    model[3].register_forward_hook(lambda *_: None)
    return randomised(model, torch.float32)


@pytest.mark.parametrize("method", ["lrp-z", "cmp-alpha2-flat", "epsilon-gamma-box:low=-3,high=3"])
def test_after_success(method):
    model, x = model_with(), torch.randn(2, 3, 8, 8, requires_grad=True)
    before, kept = state_of(model), x.detach().clone()
    rp.attribute(model, x, 1, method)
    assert_same(before, state_of(model))
    assert torch.equal(x, kept)
    assert x.grad is None


@pytest.mark.parametrize("error", [ValueError("in the middle"), KeyboardInterrupt(), SystemExit(3)])
def test_after_an_error_in_the_forward_pass(error):
    model = model_with(error)
    before = state_of(model)
    with pytest.raises(type(error)):
        rp.attribute(model, torch.randn(2, 3, 8, 8), 1)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("error", [RuntimeError("in the middle"), KeyboardInterrupt()])
def test_after_an_error_on_the_way_down(error):
    class Broken(rp.rules.Rule):
        def share(self, layer, R):
            raise error

    model = model_with()
    before = state_of(model)
    composite = rp.Composite([(rp.on.head, rp.rules.Epsilon()), (rp.on.any, Broken())])
    with pytest.raises(type(error)):
        rp.attribute(model, torch.randn(2, 3, 8, 8), 1, composite)
    assert_same(before, state_of(model))


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_after_an_unsupported_op():
    model = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), Bessel(), nn.Flatten(), nn.Linear(144, 5)), torch.float32)
    before = state_of(model)
    with pytest.raises(rp.UnsupportedOp):
        rp.attribute(model, torch.randn(2, 3, 8, 8), 1)
    assert_same(before, state_of(model))


def test_a_model_that_runs_in_a_hook_leaves_no_trace():
    x, model, other = torch.randn(2, 3, 8, 8), model_with(), model_with()
    plain = rp.attribute(model, x, 1)
    seen = []
    handle = model[0].register_forward_hook(lambda *_: seen.append(other(torch.ones(1, 3, 8, 8))))
    assert torch.equal(rp.attribute(model, x, 1), plain)  # its numbers go nowhere
    handle.remove()
    assert torch.equal(rp.attribute(model, x, 1), plain)
    assert torch.equal(seen[0], other(torch.ones(1, 3, 8, 8)))


def test_the_callers_modes_are_left_as_they_were():
    model, x = model_with(), torch.randn(2, 3, 8, 8)
    plain = rp.attribute(model, x, 1)
    with torch.inference_mode():
        assert torch.equal(rp.attribute(model, x, 1), plain)
        assert torch.is_inference_mode_enabled()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rp.attribute(model, x, 1), plain)
        assert torch.is_autocast_enabled("cpu")
    with torch.inference_mode():
        inside = x.clone()
    assert torch.equal(rp.attribute(model, inside, 1), plain)


def test_in_place_models_get_a_copy_of_the_picture():
    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            x.sub_(1.0).div_(2.0)
            return self.fc(x)

    x = torch.ones(1, 4)
    R = rp.attribute(Normalising().eval(), x, 0, "lrp-epsilon")
    assert torch.equal(x, torch.ones(1, 4))
    assert R.shape == x.shape
