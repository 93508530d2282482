"""Torchvision's VGGs with a quarter of their channels: the layers are the same, and no rule depends on a width."""

import torch
from torch import nn
from torchvision.models.vgg import VGG, cfgs, make_layers

LETTERS = {"vgg11": "A", "vgg16": "D"}


def vgg(name, classes=10):
    """A VGG by torchvision's name, its numbers not yet set: the tests have their own."""
    letter, norm = LETTERS[name.removesuffix("_bn")], name.endswith("_bn")
    with torch.device("meta"):
        features = make_layers([v if v == "M" else v // 4 for v in cfgs[letter]], batch_norm=norm)
        model = VGG(features, num_classes=classes, init_weights=False)
        model.classifier = classifier(128 * 7 * 7, classes)
    return model.to_empty(device="cpu")


def classifier(features, classes):
    """Torchvision's, narrowed from 4096."""
    return nn.Sequential(
        nn.Linear(features, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(64, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(64, classes),
    )


def with_weights(model):
    """Random weights that keep activations of order one, random biases, random BatchNorm statistics."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.2)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.zero_()
    return model
