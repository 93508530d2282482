"""The sweep at work on a few cases of every group: none is wrong, none crashes, and the judge tells a wrong map."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.coverage.__main__ import cases, table
from scripts.coverage.cases import Case
from scripts.coverage.judge import judged
from scripts.coverage.verdict import verdict

FEW = {
    "single ops: torch.exp(y)": "map",
    "single ops: F.layer_norm(m, (6,))": "map",
    "single ops: m @ m.transpose(1, 2)": "map",
    "single ops: F.scaled_dot_product_attention(m, m, m)": "map",
    "single ops: torch.floor(y)": "map",
    "single ops: y.cumprod(1)": "map",
    "single ops: torch.fft.rfft(v).abs()": "map",
    "single ops: torch.reciprocal(y)": "refused",
    "single ops: torch.matrix_exp(0.1 * m @ m.mT)": "refused",
    "as users write them: squeeze and excite, a 1x1 convolution": "map",
    "as users write them: encoder layer, averaged": "map",
    "as users write them: long short-term memory, a regression": "map",
    "torchvision, classification: squeezenet1_1": "map",
    "Hugging Face, images: vit": "map",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_few_of_every_group():
    chosen = {f"{case.group}: {case.name}": case for case in cases([*FEW]) if f"{case.group}: {case.name}" in FEW}
    assert set(chosen) == set(FEW)
    found = [verdict(case, 60) for case in chosen.values()]
    assert {f"{said['group']}: {said['name']}": said["status"] for said in found} == FEW
    page = table(found)
    assert "| single ops | 9 | 7 | 2 |" in page
    assert "| reciprocal | 1 |" in page


def test_a_network_that_fails_by_itself_is_no_defect():
    case = Case("ours", "broken", lambda: (nn.Linear(3, 2), torch.randn(2, 4), 0))
    assert verdict(case, 10)["status"] == "fails by itself"


def test_the_judge_is_gradient_x_input_where_nothing_scales():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    R, unsure = judged(net.requires_grad_(False), x, 1)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(R, slope * x, rtol=1e-12, atol=1e-14)
    assert unsure == ""


def test_the_judge_holds_gates_fixed():
    x = torch.randn(2, 4, dtype=torch.float64)
    w = torch.randn(4, 4, dtype=torch.float64)

    def swish(x):
        y = x @ w
        return y * torch.sigmoid(y)

    R, _ = judged(swish, x, 1)
    y = x @ w
    torch.testing.assert_close(R, x * w[:, 1] * torch.sigmoid(y[:, 1:2]))
