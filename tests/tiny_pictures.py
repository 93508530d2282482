"""A tiny vision transformer of torchvision, with weights that are the same in every process."""

import torch
from torch import nn

D = torch.float64


def vit():
    """Pictures (B, 3, 16, 16) to five classes; biases are not zero."""
    from torchvision.models.vision_transformer import VisionTransformer  # noqa: PLC0415 - as others may patch it first

    torch.manual_seed(5)
    net = VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, float("ln" in name and name.endswith("weight")), 0.2)
    nn.init.normal_(net.heads.head.weight, 0.0, 0.3)
    return net.to(D).eval()


def picture(batch=1, side=16):
    """Numbers of either sign."""
    return torch.randn(batch, 3, side, side, dtype=D, generator=torch.Generator().manual_seed(1))
