"""What docs/batchnorm.md measures with: ways that explain, weights that are shuffled, paired intervals."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.batchnorm.cascade import SHARES, shuffled, similarities
from scripts.batchnorm.measure import explained, measured
from scripts.batchnorm.networks import Task
from scripts.batchnorm.table import printed
from scripts.batchnorm.ways import ways


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    for t in (norm.running_mean, norm.bias):
        nn.init.normal_(t)
    return nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(80, 4)).eval()  # fmt: skip


def pictures(indices):
    torch.manual_seed(1)
    x, mask = torch.randn(8, 3, 8, 8)[indices], torch.zeros(len(indices), 8, 8, dtype=torch.bool)
    mask[:, 2:6, 2:6] = True
    return x, torch.tensor(indices) % 4, mask


def test_every_way_is_measured(network):
    before = copy.deepcopy(network.state_dict())
    rows = list(measured(Task(network, 8, pictures, 2), network, ways(), [0, 1, 2], "cpu", randomise=True))
    assert {row["way"] for row in rows} == {*ways()}
    assert all(row["mu_w"] is not None and row["srg"] is not None for row in rows)
    for row in rows:
        if row["way"] != "guided backprop":  # the ledger: what is on pixels and what is taken are the logit
            took = row["share"] + row["bias"] + row["eps"] + row["lost"]
            assert took == pytest.approx(1, abs=1e-4 * max(abs(row["share"]), abs(row["bias"]), abs(row["eps"]), 1))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    lines = printed("small", rows).splitlines()
    assert len(lines) == 4 + len(ways())


def test_a_way_that_fails_leaves_the_others(network, capsys):
    x, target, _ = pictures([0, 1])
    _, maps, _ = explained(network, x, target, {"none": "no-such-method", "cmp2 in": ways()["cmp2 in"]})
    assert maps["none"].isnan().all()
    assert maps["cmp2 in"].isfinite().all()
    assert "none: " in capsys.readouterr().err


def test_weights_are_shuffled_from_the_last_layer_on(network):
    def changed(share):
        other = shuffled(network, share)
        pairs = zip(network, other, strict=True)
        return [not torch.equal(a.weight, b.weight) for a, b in pairs if hasattr(a, "weight")]

    assert changed(0.0) == [False, False, False, True]
    assert changed(0.5) == [False, False, True, True]
    whole = shuffled(network, 1.0)
    assert torch.equal(whole[0].weight.flatten().sort()[0], network[0].weight.flatten().sort()[0])
    maps = {"same": torch.arange(32.0).view(2, 4, 4)}
    assert [found["same"].tolist() for found in similarities(network, maps, lambda _: maps, 2)] == [
        pytest.approx([1, 1]) for _ in SHARES
    ]
