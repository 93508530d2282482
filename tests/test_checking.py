"""``relprop check``, and where the replay runs by itself."""

import json

import pytest

OWN = """
import torch
from torch import nn
from relprop.models import Preprocess


class Swaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.preprocess, self.classes = Preprocess(16, 16, (0.5,) * 3, (0.5,) * 3), ("cat", "dog")

    def forward(self, x):
        numbers = self.conv.weight.detach().numpy().reshape(-1)
        held = numbers[7]
        numbers[7] += 5.0  # one number that a sample of them misses
        y = self.conv(x).relu().mean((2, 3))
        numbers[7] = held
        return self.fc(y)


def swaps():
    torch.manual_seed(0)
    return Swaps().eval()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "swapping_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return "swapping_net:swaps"


def test_a_clean_network_passes(call):
    result = call("check")
    assert "replay on x + noise   0" in result.stdout
    assert json.loads(call("check", "--json").stdout)["ok"]


def test_a_network_that_is_not_its_record_is_one_line_and_exit_1(call, own):
    result = call("check", "--model", own, code=1)
    assert "OFF THE MODEL" in result.stdout
    assert result.stderr.strip().splitlines()[-1].startswith("error: swapping_net:swaps: what is found above")


@pytest.mark.parametrize("command", [["plan"], ["explain"], ["compare"]])
def test_plan_explain_and_compare_replay_by_themselves(call, own, command):
    result = call(*command, "--model", own, code=1)
    assert "its record, run again, is" in result.stderr
