"""Networks as users write them: blocks in many styles, by what stands before and after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from scripts.coverage.cases import Case, Made
from torch import Tensor, nn

Block = Callable[[Tensor], Tensor]


def layers(**modules: Callable[[], nn.Module]) -> Callable[[Callable[[Any, Tensor], Tensor]], Callable[[], nn.Module]]:
    """A module of these parts, whose forward pass is the function."""

    def made(forward: Callable[[Any, Tensor], Tensor]) -> Callable[[], nn.Module]:
        class Written(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for name, make in modules.items():
                    setattr(self, name, make())

            def forward(self, y: Tensor) -> Tensor:
                return forward(self, y)

        return Written

    return made


def conv(k: int = 3, c: int = 8, d: int = 8, **words: Any) -> Callable[[], nn.Module]:
    """A convolution that keeps the size."""
    return lambda: nn.Conv2d(c, d, k, padding=k // 2, **words)


C = 8
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "plain": layers(a=conv())(lambda m, y: F.relu(m.a(y))),
    "batchnorm": layers(a=conv(), n=lambda: nn.BatchNorm2d(C))(lambda m, y: m.n(m.a(y)).relu()),
    "pre-activation": layers(a=conv(), n=lambda: nn.BatchNorm2d(C))(lambda m, y: y + m.a(F.relu(m.n(y)))),
    "residual in place": layers(a=conv(), b=conv())(lambda m, y: m.b(m.a(y).relu_()).add_(y).relu_()),
    "inverted residual": layers(a=conv(1, 8, 16), d=lambda: nn.Conv2d(16, 16, 3, 1, 1, groups=16), p=conv(1, 16, 8))(
        lambda m, y: y + m.p(F.relu6(m.d(F.relu6(m.a(y)))))
    ),
    "squeeze and excite": layers(a=conv(), s=conv(1, 8, 4), e=conv(1, 4, 8))(
        lambda m, y: m.a(y) * torch.sigmoid(m.e(F.relu(m.s(y.mean((2, 3), keepdim=True)))))
    ),
    "excite with linears": layers(s=lambda: nn.Linear(8, 4), e=lambda: nn.Linear(4, 8))(
        lambda m, y: y * m.e(m.s(y.mean((2, 3))).relu()).sigmoid()[:, :, None, None].expand_as(y)
    ),
    "one more a gate": layers(a=conv())(lambda m, y: y * (1 + torch.sigmoid(m.a(y)))),
    "spatial attention": layers(a=lambda: nn.Conv2d(2, 1, 3, padding=1))(
        lambda m, y: y * m.a(torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)).sigmoid()
    ),
    "inception": layers(a=conv(1, 8, 4), b=conv(3, 8, 2), c=conv(5, 8, 2))(
        lambda m, y: torch.cat([m.a(y), m.b(y), m.c(y)], dim=1).relu()
    ),
    "dense": layers(a=conv(3, 8, 4), b=conv(1, 12, 8))(lambda m, y: m.b(torch.cat([y, m.a(y).relu()], 1))),
    "u-net": layers(a=conv(), b=conv(), c=conv(3, 16, 8))(
        lambda m, y: m.c(torch.cat([y, F.interpolate(m.b(F.max_pool2d(m.a(y), 2)), scale_factor=2)], 1)).relu()
    ),
    "u-net, transposed": layers(a=lambda: nn.Conv2d(8, 8, 2, 2), b=lambda: nn.ConvTranspose2d(8, 8, 2, 2))(
        lambda m, y: y + m.b(m.a(y).relu())
    ),
    "pixel shuffle": layers(a=conv(3, 8, 32))(lambda m, y: F.avg_pool2d(F.pixel_shuffle(m.a(y), 2), 2)),
    "shuffle": layers(a=conv(3, 4, 4))(
        lambda m, y: F.channel_shuffle(torch.cat([y[:, :4], m.a(y[:, 4:]).relu()], 1), 2)
    ),
    "grouped": layers(a=conv(groups=4), b=conv(1))(lambda m, y: m.b(m.a(y).relu())),
    "dilated": layers(a=lambda: nn.Conv2d(8, 8, 3, padding=2, dilation=2))(lambda m, y: y + m.a(y).relu()),
    "gelu": layers(a=conv())(lambda m, y: F.gelu(m.a(y))),
    "gelu by hand": layers(a=conv())(
        lambda m, y: (lambda z: 0.5 * z * (1 + torch.tanh(0.797885 * (z + 0.044715 * z**3))))(m.a(y))
    ),
    "swish by hand": layers(a=conv())(lambda m, y: (lambda z: z * torch.sigmoid(z))(m.a(y))),
    "hard swish by hand": layers(a=conv())(lambda m, y: (lambda z: z * F.relu6(z + 3) / 6)(m.a(y))),
    "gated linear unit": layers(a=conv(3, 8, 16))(lambda m, y: F.glu(m.a(y), 1)),
    "leaky and prelu": layers(a=conv(), p=lambda: nn.PReLU(8))(lambda m, y: m.p(F.leaky_relu(m.a(y), 0.1))),
    "elu, softplus, mish": layers(a=conv())(lambda m, y: F.mish(F.elu(m.a(y)) + F.softplus(y))),
    "layer norm, channels last": layers(a=conv(), n=lambda: nn.LayerNorm(8))(
        lambda m, y: m.n(m.a(y).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).relu()
    ),
    "group norm": layers(a=conv(), n=lambda: nn.GroupNorm(2, 8))(lambda m, y: m.n(m.a(y)).relu()),
    "instance norm": layers(a=conv(), n=lambda: nn.InstanceNorm2d(8, affine=True))(lambda m, y: m.n(m.a(y)).relu()),
    "normalised by hand": layers(a=conv())(
        lambda m, y: (lambda z: (z - z.mean(1, keepdim=True)) / (z.var(1, keepdim=True) + 1e-5).sqrt())(m.a(y))
    ),
    "root mean square": layers(a=conv())(
        lambda m, y: (lambda z: z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-6))(m.a(y))
    ),
    "unit length": layers(a=conv())(lambda m, y: F.normalize(m.a(y), dim=1)),
    "self-attention over places": layers(q=conv(1), k=conv(1), v=conv(1))(
        lambda m, y: y
        + (
            (m.q(y).flatten(2).transpose(1, 2) @ m.k(y).flatten(2) / 8**0.5).softmax(-1)
            @ m.v(y).flatten(2).transpose(1, 2)
        )
        .transpose(1, 2)
        .reshape(y.shape)
    ),
    "attention in one call": layers(a=lambda: nn.MultiheadAttention(8, 2, batch_first=True))(
        lambda m, y: (lambda t: m.a(t, t, t)[0])(y.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(y.shape)
    ),
    "non-local, dot product": layers(q=conv(1), k=conv(1), v=conv(1))(
        lambda m, y: y
        + (m.v(y).flatten(2) @ (m.k(y).flatten(2).transpose(1, 2) @ m.q(y).flatten(2)) / 64).reshape(y.shape)
    ),
    "encoder layer": layers(a=lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))(
        lambda m, y: m.a(y.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(y.shape)
    ),
    "recurrent over rows": layers(a=lambda: nn.GRU(8, 8, batch_first=True))(
        lambda m, y: m.a(y.mean(3).transpose(1, 2))[0].transpose(1, 2)[..., None].expand_as(y)
    ),
    "long short-term memory": layers(a=lambda: nn.LSTM(8, 4, bidirectional=True, batch_first=True))(
        lambda m, y: m.a(y.mean(2).transpose(1, 2))[0].transpose(1, 2)[:, :, None].expand_as(y)
    ),
    "mixer": layers(a=lambda: nn.Linear(64, 64), b=lambda: nn.Linear(8, 8))(
        lambda m, y: m.b(m.a(y.flatten(2)).relu().transpose(1, 2)).transpose(1, 2).reshape(y.shape)
    ),
    "pads": layers(a=lambda: nn.Conv2d(8, 8, 3))(lambda m, y: m.a(F.pad(y, (1, 1, 1, 1), mode="reflect")).relu()),
    "pads with zeros": layers(a=lambda: nn.Conv2d(8, 8, 3))(lambda m, y: m.a(F.pad(y, (1, 1, 1, 1))).relu()),
    "pools": layers(a=conv(1, 16, 8))(
        lambda m, y: m.a(torch.cat([F.max_pool2d(y, 3, 1, 1), F.avg_pool2d(y, 3, 1, 1)], 1))
    ),
    "blur": layers(a=conv())(
        lambda m, y: F.conv2d(m.a(y), torch.ones(8, 1, 3, 3, dtype=y.dtype) / 9, padding=1, groups=8).relu()
    ),
    "a mask": layers(a=conv())(lambda m, y: torch.where(y > 0, m.a(y), torch.zeros_like(y))),
    "a maximum of two": layers(a=conv(), b=conv())(lambda m, y: torch.maximum(m.a(y), m.b(y))),
    "squares": layers(a=conv())(lambda m, y: m.a(y).square()),
    "a weight that is standardised": layers(a=conv())(
        lambda m, y: F.conv2d(
            y, (m.a.weight - m.a.weight.mean((1, 2, 3), keepdim=True)) / m.a.weight.std((1, 2, 3), keepdim=True),
            m.a.bias, padding=1,
        ).relu()
    ),
    "einsum": layers(a=lambda: nn.Linear(8, 8))(
        lambda m, y: torch.einsum("bchw,dc->bdhw", y, m.a.weight).relu()
    ),
    "a loop over channels": layers(a=conv(3, 1, 1))(
        lambda m, y: torch.cat([m.a(part) for part in y.split(1, 1)], 1).relu()
    ),
    "written into": layers(a=conv(3, 4, 4))(lambda m, y: written_into(m, y).clone()),
    "folded into the batch": layers(a=conv(3, 2, 2))(
        lambda m, y: m.a(y.reshape(-1, 2, *y.shape[2:])).reshape(y.shape).relu()
    ),
    "patches": layers(a=lambda: nn.Linear(32, 32))(
        lambda m, y: F.fold(m.a(F.unfold(y, 2, stride=2).transpose(1, 2)).transpose(1, 2), y.shape[2:], 2, stride=2)
    ),
}  # fmt: skip


def written_into(m: Any, y: Tensor) -> Tensor:
    """A part of a value changed in place."""
    z = y.clone()
    z[:, 4:] = m.a(y[:, :4]).relu()
    return z


HEADS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(512, 5)), 1),
    "averaged": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), 1),
    "a 1x1 convolution": (lambda: nn.Sequential(nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 1),
    "a regression": (
        lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 1), nn.Flatten(0)),
        None,
    ),
}


def of_users() -> Iterator[Case]:
    """Every block with every head."""
    for block in BLOCKS:
        for head in HEADS:
            yield Case("as users write them", f"{block}, {head}", lambda b=block, h=head: network(b, h))


def network(block: str, head: str) -> Made:
    """A stem, a block, a head."""
    top, target = HEADS[head]
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), BLOCKS[block](), top())
    return model, torch.randn(2, 3, 8, 8), target
