"""Networks that several tests explain: small ones from layers, and narrow ones of torchvision's families."""

import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_1
from torchvision.models.vgg import VGG, make_layers

from conftest import randomised
from relprop.models.families import embedded

D = torch.float64


def small(*layers, dtype=D):
    return randomised(nn.Sequential(*layers), dtype)


def plain():
    """(B, 3, 8, 8) to (B, 5), with everything that a VGG has."""
    return small(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(64, 5),
    )


def pictures(*shape, dtype=D):
    return torch.randn(*(shape or (2, 3, 8, 8)), dtype=dtype)


def slope(model, x, target):
    """The gradient, by hand."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0]


def narrow_vgg11():
    """VGG-11, eight times narrower: (B, 3, 32, 32) to (B, 5)."""
    with torch.device("meta"):  # VGG makes a classifier of 400 MB before it can be replaced
        model = VGG(make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]), init_weights=False)
        model.classifier = nn.Sequential(nn.Linear(64 * 7 * 7, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))
    return initialised(model.to_empty(device="cpu"))


def initialised(model):
    """Random weights under which numbers neither grow nor fade."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return randomised(model, torch.float32)


NETWORKS = {
    "digits-shallow": lambda: (embedded.trained("digits-shallow"), 64),
    "digits-deep": lambda: (embedded.trained("digits-deep"), 64),
    "vgg11": lambda: (narrow_vgg11(), 32),
    "resnet18": lambda: (initialised(resnet18(num_classes=5)), 32),
    "squeezenet": lambda: (initialised(squeezenet1_1(num_classes=5)), 64),
}
AVERAGING = {"resnet18", "squeezenet"}
