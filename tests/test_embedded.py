"""The embedded networks: the shapes they claim, weights that fit, and the accuracy that their card tells."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score
from torch import nn

from relprop.data.clutter import Clutter, sample_picture
from relprop.models.families import embedded
from relprop.models.networks import digits
from relprop.support.errors import RelpropError

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "src/relprop/models/weights"
CARD = (ROOT / "docs/model-card.md").read_text()

pytestmark = pytest.mark.parametrize("name", digits.NAMES)


def figures(name):
    return json.loads((ROOT / "docs" / f"{name}.json").read_text())


def script():
    spec = importlib.util.spec_from_file_location("train_embedded", ROOT / "scripts/train_embedded.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logits(network, samples):
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (digits.MEAN, digits.STD))
    with torch.no_grad():
        return network((images - mean) / std)


@pytest.fixture(scope="module")
def held_out():
    """300 pictures of either variant, which both networks are measured on."""
    return [[Clutter("test", variant).sample(i) for i in range(300)] for variant in ("single", "multi")]


def test_layers(name):
    layers = [type(layer) for layer in digits.architecture(name).modules()]
    assert layers.count(nn.Conv2d) == {"digits-shallow": 5, "digits-deep": 13}[name]
    assert layers.count(nn.MaxPool2d) == {"digits-shallow": 3, "digits-deep": 5}[name]
    assert layers.count(nn.Linear) == 3
    assert nn.BatchNorm2d not in layers


def test_weights_fit_exactly(name):
    stored = load_file(WEIGHTS / f"{name}.safetensors")
    network = embedded.trained(name)
    assert stored.keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        assert torch.equal(value, stored[key])
        assert value.dtype == torch.float32
        assert value.isfinite().all()


def test_loaded_networks_are_ready_and_leave_random_numbers_alone(name):
    before = torch.get_rng_state()
    network = embedded.trained(name)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(module.training for module in network.modules())
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, len(digits.CLASSES))


def test_weights_are_small(name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 3e6
    assert sum((WEIGHTS / f"{each}.safetensors").stat().st_size for each in digits.NAMES) < 5e6


def test_the_card_is_about_these_weights(name):
    sha256 = hashlib.sha256((WEIGHTS / f"{name}.safetensors").read_bytes()).hexdigest()
    assert figures(name)["sha256"] == sha256
    assert sha256 in CARD


def test_the_card_tells_what_was_measured(name):
    measured = figures(name)
    row = next(line for line in CARD.splitlines() if line.startswith(f"| {name} | "))
    for key in ("top1", "top5", "mean_average_precision"):
        assert f" {100 * measured[key]:.1f} " in row
    assert f"{sum(p.numel() for p in embedded.trained(name).parameters()):,}" in CARD


@pytest.mark.slow
def test_accuracy_is_what_the_card_says(name, held_out):
    network, measured = embedded.trained(name), figures(name)
    single, multi = held_out
    right = logits(network, single).argmax(1) == torch.tensor([sample.labels[0] for sample in single])
    assert right.double().mean() == pytest.approx(measured["top1"], abs=0.03)
    present = [[label in sample.labels for label in range(10)] for sample in multi]
    precision = average_precision_score(np.array(present), logits(network, multi).numpy(), average="macro")
    assert precision == pytest.approx(measured["mean_average_precision"], abs=0.03)


def test_the_demonstration_is_recognised(name):
    sample = sample_picture()
    (scores,) = logits(embedded.trained(name), [sample])
    assert set(scores.topk(2).indices.tolist()) == set(sample.labels)
    assert (scores > 0).sum() == 2


def test_folding_batchnorm_changes_nothing(name):
    train = script()
    torch.manual_seed(0)
    network = train.with_batchnorm(digits.architecture(name)).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.05, 0.5)
    folded = train.without_batchnorm(network)
    assert folded.state_dict().keys() == digits.architecture(name).state_dict().keys()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-3, atol=1e-4)


def test_unknown_names_are_refused(name):
    with pytest.raises(RelpropError, match=name):
        digits.architecture(name + "er")
