"""What all tests share."""

import os

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from relprop.cli import app

pytest_plugins = ["conversion", "hub"]  # fixtures of several files, but not of all

# Small kernels are several times faster on one thread than on two that wait for each other.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so in the processes that tests start
os.environ.pop("COLUMNS", None)  # readline sets it for what pytest starts; tables are as wide here as into a pipe


def pytest_addoption(parser):
    parser.addoption("--networks", type=int, default=200, help="how many random networks are compared")
    parser.addoption("--damaged", type=int, default=100, help="how many damaged files of each format are read")


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no process is left with one when the others have ended."""
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: (item.path.name != "test_ray.py", item.path not in slow))


def pytest_generate_tests(metafunc):
    if "network_seed" in metafunc.fixturenames:
        metafunc.parametrize("network_seed", range(metafunc.config.getoption("--networks")))


@pytest.fixture(scope="session")
def damaged(request):
    """How many damaged files of each format a reader is given."""
    return request.config.getoption("--damaged")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def call():
    """Run a command; check the exit code, and that nothing but a RelpropError ended it."""

    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def randomised(model: nn.Module, dtype=torch.float64) -> nn.Module:
    """An untrained model as awkward as a trained one: biases and BatchNorm statistics are not trivial."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.normal_(module.bias, 0, 0.05)
    return model.to(dtype).eval()


class Calls(nn.Module):
    """A convolution, then whatever the test wants, then a linear layer: (B, 3, 8, 8) to (B, 5)."""

    def __init__(self, middle, features: int = 256):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(features, 5)
        self.middle = middle

    def forward(self, x):
        return self.fc(self.middle(self.conv(x)).flatten(1))
