"""The hash of a network tells networks apart that compute something else, and none that do not."""

import copy
import functools
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from relprop.support.fingerprint import weights_hash


def net(act=nn.ReLU, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, **options), act(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()


class Own(nn.Module):
    """One of the user's own."""

    def __init__(self, slope=0.1, act=torch.relu, scale=1.0, taps=None):
        super().__init__()
        self.slope, self.act, self._gain = slope, act, 2.0
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.taps = torch.tensor(taps or [1.0, 2.0])
        self.calls, self.seen = 0, []

    def forward(self, x):
        """Say something."""
        self.calls += 1  # a counter is no part of a network
        self.seen.append(x.shape)
        return self.act(x) * self.slope * self.scale + self.helper(x)

    def helper(self, x):
        return x


class Child(Own):
    def helper(self, x):
        return -x


def by_hand(x):
    return F.relu(x)


def otherwise(x):
    return F.tanh(x)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def closing_over(module):
    return lambda x: module(x)


DIFFER = {
    "activation": (net(nn.ReLU), net(nn.Tanh)),
    "padding mode": (net(padding=1), net(padding=1, padding_mode="circular")),
    "slope": (net(lambda: nn.LeakyReLU(0.1)), net(lambda: nn.LeakyReLU(0.2))),
    "order": (nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sequential(nn.Tanh(), nn.ReLU())),
    "a number of one's own": (Own(0.1), Own(0.2)),
    "a function held": (Own(act=torch.relu), Own(act=torch.tanh)),
    "a buffer that is not saved": (Own(scale=1.0), Own(scale=2.0)),
    "a tensor that is no buffer": (Own(taps=[1.0, 2.0]), Own(taps=[1.0, 3.0])),
    "a helper's code": (Own(), Child()),
    "one's own functions": (Calls(by_hand), Calls(otherwise)),
    "options of a function": (Calls(functools.partial(F.elu, alpha=1.0)), Calls(functools.partial(F.elu, alpha=2.0))),
    "functions alone": (by_hand, otherwise),
    "lambdas on one line": (lambda x: F.relu(x), lambda x: F.tanh(x)),
    "what a function closes over": (closing_over(net(nn.ReLU)), closing_over(net(nn.Tanh))),
    "functions of torch": (torch.relu, torch.tanh),
}


@pytest.mark.parametrize("case", DIFFER)
def test_networks_that_differ(case):
    one, other = DIFFER[case]
    assert weights_hash(one) != weights_hash(other)
    assert weights_hash(one) == weights_hash(one)
    if isinstance(one, nn.Module):
        assert weights_hash(one) == weights_hash(copy.deepcopy(one)) == weights_hash(copy.deepcopy(one).double())


def test_hooks_count():
    model = net()
    before = weights_hash(model)
    handle = model[0].register_forward_hook(lambda _m, _x, y: 2 * y)
    assert weights_hash(model) != before
    handle.remove()
    assert weights_hash(model) == before


def test_what_does_not_count(tmp_path):
    model = Own()
    before = weights_hash(model)
    model(torch.ones(1, 2))
    model.preprocess, model.classes, model.patterns = 1, ("a", "b"), 2
    assert weights_hash(model.train()) == before
    source = """
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
        def forward(self, x):
            return {} * self.w
    """
    (tmp_path / "one.py").write_text(textwrap.dedent(source.format("x")))
    spelled = textwrap.dedent(source.format("(  x )")).replace("(self, x):", '(self, x):  # why\n        "doc"')
    (tmp_path / "other.py").write_text(spelled)
    (tmp_path / "third.py").write_text(textwrap.dedent(source.format("x.abs()")))
    program = "import sys; from relprop.support.fingerprint import weights_hash; print(*(weights_hash("
    program += "__import__(name).Net()) for name in ('one', 'other', 'third')))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    one, other, third = ran.stdout.split()
    assert one == other != third


def test_patterns_of_another_activation_are_refused():
    x = torch.randn(4, 3, 8, 8)
    model, other = net(nn.ReLU), net(nn.Tanh)
    model.patterns = other.patterns = rp.fit_patterns(model, [x])
    assert rp.attribute(model, x, 0, "pattern-net").shape == x.shape
    with pytest.raises(rp.InputError, match="of another network"):
        rp.attribute(other, x, 0, "pattern-net")


@pytest.mark.parametrize("name", ["digits-shallow", "digits-deep"])
def test_the_embedded_patterns_are_their_networks(name):
    model = rp.models.load(name)
    assert model.patterns.model_sha256 == weights_hash(model) == weights_hash(copy.deepcopy(model).double())
