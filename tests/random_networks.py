"""Random small networks, each a short Python program that can be read, and what each of its lines means.

`random_network(seed)` draws a network. Its forward pass is source text, compiled as it stands, so what a failing test
prints is what ran:

    def forward(self, v0):
        v1 = self.conv0(v0)  # 1x1, 3 to 4
        v1.relu_()
        v2 = F.max_pool2d(v1, 2)
        v1 = ...

Beside each line stands a `Step`: the kind of op, the registers it reads and gives, and the same numbers written without
in-place. That is all a reference needs; it never looks at the text, and the network never looks at the steps. A
register that was overwritten is read no more under its other names (views of it, or what it is a view of).

What is drawn keeps to what the documentation says. Its parts: `random_program` writes lines and layers,
`random_activations` activations and gates, `random_arithmetic` sums and products, `random_moves` what only moves.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intervals import same
from random_moves import LARGEST, Moves
from random_program import D, Network

CLASSES = 4


def random_network(seed: int) -> tuple[Network, Tensor]:
    """A network in evaluation mode in float64, and pictures of both signs for it."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return Builder(seed).build()


class Builder(Moves):
    """Draws what is written."""

    # -- blocks: each takes a register of images and gives one -----------------------------------------

    def block_conv(self, r: str) -> str:
        """A convolution, perhaps with what usually follows, in the usual orders and in unusual ones."""
        if self.reusable and self.coin(0.25):
            fitting = [(n, m) for n, m in self.reusable if m.in_channels == self.values[r].shape[1]]
            if fitting:
                name, conv = self.rng.choice(fitting)
                return self.activation(self.call_conv(self.activation(self.call_conv(r, name, conv)), name, conv))
        y = self.conv(r, keep=self.coin(0.4))
        if self.coin(0.15):
            y = self.dropout(y)
        if self.coin(0.45):
            between = y
            y = self.norm(y)
            if self.coin(0.2):
                y = self.plus(y, between) if self.values[between].shape == self.values[y].shape else y
        return self.activation(y) if self.coin(0.7) else y

    def block_transposed(self, r: str) -> str:
        """A transposed convolution, perhaps with a BatchNorm."""
        y = self.transposed(r)
        if self.coin(0.5):
            y = self.norm(y)
        return self.activation(y) if self.coin(0.6) else y

    def block_norm(self, r: str) -> str:
        """BatchNorm alone."""
        return self.norm(r)

    def block_residual(self, r: str) -> str:
        """A sum of a value and what convolutions make of it."""
        y = self.conv(r, keep=True)
        if self.coin(0.4):
            y = self.norm(y)
        if self.coin(0.4):
            y = self.activation(y)
        if self.coin(0.3):
            y = self.conv(y, keep=True)
        if r not in self.values:
            return y
        return self.plus(y, r) if self.coin(0.6) else self.plus(r, y)

    def block_preactivation(self, r: str) -> str:
        """A layer's output that goes through a ReLU to the next layer, and past it too."""
        y = self.conv(r, keep=True)
        if self.coin(0.4):  # the next layer has read what the ReLU overwrites
            z = self.conv(y, keep=True)
            return self.plus(z, self.emit("activation", f"{y}.relu_()", [y], F.relu, writes=y))
        a = self.emit("activation", f"F.relu({y})", [y], F.relu)
        z = self.conv(a, keep=True)
        return self.plus(z, y)

    def block_rectified(self, r: str) -> str:
        """A sum or a difference of two values that are not negative, and a layer that reads it."""
        a, b = (self.conv(r, keep=True) for _ in range(2))
        a, b = (self.emit("activation", f"torch.relu({y})", [y], F.relu) for y in (a, b))
        return self.conv(self.plus(a, b))

    # -- the whole -------------------------------------------------------------------------------------

    def start(self) -> Tensor:
        """The input, and what stands before the first layer."""
        size = self.rng.choice([4, 5, 5, 6, 6, 7, 9])
        x = torch.randn(
            self.rng.choice([1, 2, 2, 2, 3]), self.rng.choice([1, 2, 3, 3]), size, self.rng.choice([size, 5])
        )
        x = x.to(D)
        self.values["v0"], self.memory["v0"] = x.clone(), 0
        r = "v0"
        if self.coin(0.3):
            for _ in range(self.rng.choice([1, 2])):
                r = self.rng.choice([self.block_constant, self.block_scale])(r)
        if self.coin(0.1):
            r = self.norm(r)
        if self.coin(0.1):
            r = self.block_pool(r)
        if self.coin(0.15):
            r = self.block_pad(r)
        if self.coin(0.1):
            r = self.block_siamese(r)
        r = self.block_conv(r)
        if self.coin(0.9) and "v0" in self.values:
            del self.values["v0"]  # one stem
        return x

    def end(self, r: str) -> str:
        """Logits: by linear layers, by a convolution that covers all, or by an average of class maps."""
        kind = self.rng.choice(["flatten", "flatten", "mean", "mlp", "cover", "maps", "pool"])
        _, _, h, w = self.values[r].shape
        if kind == "cover":
            padding = (0, 0) if self.coin(0.7) else (min(h // 2, 1), min(w // 2, 1))  # padded, it covers nothing
            conv = nn.Conv2d(self.values[r].shape[1], CLASSES, (h, w), padding=padding, bias=self.coin(0.7))
            self._draw(conv, self.values[r][0].numel())
            y = self.call_conv(r, self.module("conv", conv), conv)
            if padding != (0, 0):
                return self.emit("average", f"{y}.mean((2, 3))", [y], lambda v: v.mean((2, 3)), bounds=same)
            return self.emit("move", f"{y}.flatten(1)", [y], lambda v: v.flatten(1), views=y)
        if kind == "maps":
            conv = nn.Conv2d(self.values[r].shape[1], CLASSES, 1)
            self._draw(conv, self.values[r].shape[1])
            y = self.call_conv(r, self.module("conv", conv), conv)
            if self.coin(0.4):  # a gate's layer comes later, and is none that relevance comes to
                g = self.emit(
                    "average",
                    f"{y}.mean((2, 3), keepdim=True)",
                    [y],
                    lambda v: v.mean((2, 3), keepdim=True),
                    bounds=same,
                )
                y = self.times(y, self.gate(self.conv(g, keep=True), opaque=True))
            return self.emit("average", f"{y}.mean((2, 3))", [y], lambda v: v.mean((2, 3)), bounds=same)
        if kind == "mean":
            y = self.emit("average", f"{r}.mean(dim=(2, 3))", [r], lambda v: v.mean((2, 3)), bounds=same)
        elif kind == "pool":
            y = self.emit("max", f"F.adaptive_max_pool2d({r}, 1)", [r], lambda v: F.adaptive_max_pool2d(v, 1))
            y = self.emit("move", f"torch.flatten({y}, 1)", [y], lambda v: v.flatten(1), views=y)
        else:
            y = self.emit("move", f"{r}.flatten(1)", [r], lambda v: v.flatten(1), views=r)
        if kind == "mlp":
            y = self.linear(y, 6)
            if self.coin(0.5):
                y = self.norm(y)
            y = self.activation(y)
        return self.linear(y, CLASSES)

    def build(self) -> tuple[Network, Tensor]:
        """Draw it all."""
        x = self.start()
        for _ in range(self.rng.choice([1, 2, 3, 3, 4, 5, 6])):
            r = self.pick(lambda v: 1 < v[0].numel() <= LARGEST)
            block = self.rng.choices([b for b, _ in BLOCKS], [weight for _, weight in BLOCKS])[0]
            y = getattr(self, block)(r or next(reversed(self.values)))
            for other in [o for o, v in self.values.items() if len(v) != len(x)]:
                del self.values[other]  # pictures folded into the first axis
            if self.values[y].abs().max() > 20:
                self.emit("scale", f"{y} / 16", [y], lambda v: v / 16, by=(1 / 16, 1 / 16))
            if self.values[y][0].numel() > LARGEST:
                self.emit("max", f"F.max_pool2d({y}, 2)", [y], lambda v: F.max_pool2d(v, 2))
        images = [r for r, v in self.values.items() if v.ndim == 4]
        self.net.output = self.end(images[-1])
        self.net.requires_grad_(requires_grad=False)
        return self.net.eval(), x


BLOCKS = [
    ("block_conv", 5),
    ("block_transposed", 1),
    ("block_norm", 1),
    ("activation", 2),
    ("block_residual", 4),
    ("block_preactivation", 1.5),
    ("block_rectified", 1),
    ("block_sum", 1.5),
    ("block_gate", 4),
    ("block_twice", 0.7),
    ("block_siamese", 1),
    ("block_scale", 1),
    ("block_constant", 1),
    ("block_pool", 3),
    ("block_join", 2),
    ("block_move", 1.5),
    ("block_write", 1.5),
    ("block_pad", 2),
    ("block_stop", 0.4),
    ("block_last_axis", 0.5),
    ("block_rows", 0.4),
    ("block_fold", 0.5),
    ("block_upsample", 0.7),
]
"""What comes after the first layer, and how often."""
