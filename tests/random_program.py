"""A program of torch calls, and the hand that writes it line by line: registers, memory, modules, layers.

What is drawn, and why, is told in `random_networks`.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intervals import FREE, Interval, finite, given

D = torch.float64


@dataclass(frozen=True)
class Step:
    """One line of a program, and what it means.

    Attributes:
        line: the Python source.
        kind: conv, linear, norm, average, interpolate, max, add, scale, product, activation, move, stop, or opaque:
            a function without a value at 0.
        reads: registers that it reads as values; a register twice if it reads it twice.
        gives: the register that holds its result afterwards; one that it reads, where it writes in place.
        value: the registers' tensors to the result, without writing.
        shapes: of what it reads and, last, of what it gives.
        bounds: that the numbers of its result are proved to keep.
        call: the same for calls of the same function with the same constants; "" for what writes in place.
        path: of the module that makes the call.
        about: what a rule needs beside, by kind (see `autograd_reference`).
    """

    line: str
    kind: str
    reads: tuple[str, ...]
    gives: str
    value: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    bounds: Interval = FREE
    call: str = ""
    path: str = ""
    about: dict[str, Any] = field(default_factory=dict)


def _place(register: str, reads: Sequence[str]) -> str:
    """Where a register stands among those that are read; one that gives but its form is itself."""
    return str(list(reads).index(register)) if register in reads else register


class Network(nn.Module):
    """A program with its weights; prints as source."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.steps: list[Step] = []
        self.output = ""
        self.compiled: Any = None

    def source(self) -> str:
        """The forward pass."""
        lines = [*(step.line for step in self.steps), f"return {self.output}"]
        return "def forward(self, v0):\n" + "".join(f"    {line}\n" for line in lines)

    def forward(self, x: Tensor) -> Tensor:
        """Run the source."""
        if self.compiled is None:
            names: dict[str, Any] = {"torch": torch, "F": F}
            exec(compile(self.source(), f"<network {self.seed}>", "exec"), names)
            self.compiled = names["forward"]
        return self.compiled(self, x)

    def extra_repr(self) -> str:
        """The source, for `print`."""
        return f"seed={self.seed}\n{self.source()}"


class Writer:
    """Writes a program, and runs it on the way to know the shapes."""

    def __init__(self, seed: int) -> None:
        self.net = Network(seed)
        self.rng = random.Random(seed)
        self.values: dict[str, Tensor] = {}
        self.bounds: dict[str, Interval] = {"v0": FREE}
        self.memory: dict[str, int] = {}
        self.unwritable: set[str] = set()
        self.count = 0
        self.reusable: list[tuple[str, nn.Conv2d]] = []

    # -- registers and lines ---------------------------------------------------------------------------

    def coin(self, chance: float) -> bool:
        """True that often."""
        return self.rng.random() < chance

    def name(self, stem: str) -> str:
        """A name that no module or register has yet."""
        self.count += 1
        return f"{stem}{self.count}"

    def emit(self, kind, text, reads, value, *, writes=None, views=None, copies=True, path="", call="", **about) -> str:
        """Add a line that gives one value; the register that holds it.

        Args:
            kind: of the op.
            text: the right side, or a whole statement where it writes in place.
            reads: registers.
            value: their tensors to the result.
            writes: the register that is overwritten, if any.
            views: a register whose memory the result may share.
            copies: False: the result may not be written to (it is expanded).
            path: of the module that makes the call.
            call: what makes two calls one function of the same constants, where the text does not say it.
            about: see `Step`; "bounds" are a function of those of what is read, or an interval.
        """
        result = value(*(self.values[r] for r in reads))
        shapes = tuple(tuple(v.shape) for v in (*(self.values[r] for r in reads), result))
        gives = writes or self.name("v")
        line = text if writes else f"{gives} = {text}"
        if writes:
            for other in [r for r, m in self.memory.items() if m == self.memory[writes] and r != writes]:
                self.values.pop(other, None)
                del self.memory[other]
        else:
            self.memory[gives] = self.memory[views] if views else self.count
            if not copies or (views in self.unwritable):
                self.unwritable.add(gives)
        self.values.pop(gives, None)  # the last one written is the last
        self.values[gives] = result
        bounds = given(kind, [self.bounds[r] for r in reads], about)
        self.bounds[gives] = bounds
        call = "" if writes else call or re.sub(r"\bv\d+\b", lambda v: f"<{_place(v[0], reads)}>", text)
        self.net.steps.append(Step(line, kind, tuple(reads), gives, value, shapes, bounds, call, path, about))
        return gives

    def bounded(self, r: str) -> bool:
        """Whether a register's numbers have proved finite bounds."""
        return finite(self.bounds[r])

    def module(self, stem: str, module: nn.Module) -> str:
        """Give the network a module; its name."""
        name = self.name(stem)
        self.net.add_module(name, module.double().eval())
        return name

    def constant(self, *shape: int, low: float = -1.0, high: float = 1.0) -> tuple[str, Tensor]:
        """Give the network a buffer of random numbers; its name."""
        name, t = self.name("c"), torch.empty(*shape, dtype=D).uniform_(low, high)
        self.net.register_buffer(name, t)
        return name, t

    def pick(self, fits: Callable[[Tensor], bool] = lambda _: True) -> str | None:
        """A register of images, most likely the last."""
        found = [r for r, v in self.values.items() if v.ndim == 4 and fits(v)]
        if not found:
            return None
        return found[-1] if self.coin(0.75) else self.rng.choice(found)

    def like(self, r: str) -> list[str]:
        """Other registers of the same shape that do not share memory with this one."""
        shape, where = self.values[r].shape, self.memory[r]
        return [o for o, v in self.values.items() if v.shape == shape and self.memory[o] != where]

    def writable(self, r: str) -> bool:
        """Whether a register may be overwritten."""
        return r not in self.unwritable

    # -- layers ----------------------------------------------------------------------------------------

    def conv(self, r: str, *, keep: bool = False, channels: int | None = None) -> str:
        """A convolution; `keep` keeps the shape of images, and of everything if no channels are given."""
        _, c, h, w = self.values[r].shape
        out = channels or (c if keep else self.rng.choice([2, 3, 4, 4, 6]))
        groups = self.rng.choice([g for g in (1, 1, 1, 2, c) if c % g == 0 and out % g == 0])
        k, stride, padding, dilation = self._geometry(min(h, w), keep=keep)
        kernel = (k, k) if keep or self.coin(0.7) else (k, 1)
        bias = self.coin(0.7)
        conv = nn.Conv2d(c, out, kernel, stride, padding, dilation, groups, bias)
        self._draw(conv, kernel[0] * kernel[1] * c // groups)
        if kernel == (k, k) and keep and groups == 1 and out == c:
            self.reusable.append((self.module("conv", conv), conv))
            return self.call_conv(r, *self.reusable[-1])
        if self.coin(0.75):
            return self.call_conv(r, self.module("conv", conv), conv)
        name = self.name("w")
        self.net.register_parameter(name, conv.weight)
        bias_name = "None"
        if bias:
            bias_name = f"self.b{name}"
            self.net.register_parameter(f"b{name}", conv.bias)
        conv.double()
        text = f"F.conv2d({r}, self.{name}, {bias_name}, {stride}, {padding!r}, {dilation}, {groups})"
        return self._weighted(r, text, conv, "")

    def call_conv(self, r: str, name: str, conv: nn.Module) -> str:
        """Call a convolution that is a module, perhaps in a loop over pictures."""
        if self.coin(0.05):
            text = f"torch.cat([self.{name}(v) for v in {r}.split(1)])  # {conv.extra_repr()}"
            return self._weighted(r, text, conv, name, merges=False)
        return self._weighted(r, f"self.{name}({r})  # {conv.extra_repr()}", conv, name)

    def _weighted(self, r: str, text: str, conv: Any, path: str, *, merges: bool = True) -> str:
        def linear(x: Tensor, w: Tensor) -> Tensor:
            if isinstance(conv, nn.ConvTranspose2d):
                settings = (conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation)
                return F.conv_transpose2d(x, w, None, *settings)
            return F.conv2d(x, w, None, conv.stride, conv.padding, conv.dilation, conv.groups)

        size = tuple(self.values[r].shape[2:])
        transposed = isinstance(conv, nn.ConvTranspose2d)
        padded = conv.padding not in ("valid", (0, 0)) and not (conv.padding == "same" and conv.kernel_size == (1, 1))
        return self.emit(
            "conv",
            text,
            [r],
            conv,
            path=path,
            linear=linear,
            weight=conv.weight,
            bias=conv.bias,
            merges=merges,
            pointwise=conv.kernel_size == (1, 1),
            covers=tuple(conv.kernel_size) == size and not padded and not transposed,
            area=conv.in_channels // conv.groups * conv.kernel_size[0] * conv.kernel_size[1],
        )

    def _geometry(self, size: int, *, keep: bool) -> tuple[int, int, Any, int]:
        """Kernel, stride, padding and dilation that fit."""
        if keep:
            k, dilation = self.rng.choice([1, 2, 3, 3]), self.rng.choice([1, 1, 2])
            return k, 1, ("same" if k == 2 or self.coin(0.3) else dilation * (k // 2)), dilation
        while True:
            k, dilation = self.rng.choice([1, 2, 3, 3]), self.rng.choice([1, 1, 1, 2])
            padding, stride = self.rng.choice([0, 0, 1, 1, 2]), self.rng.choice([1, 1, 2])
            if padding < max(k, 2) and size + 2 * padding - dilation * (k - 1) >= 1 + stride:
                return k, stride, padding, dilation

    def _draw(self, layer: Any, fan: int) -> None:
        """Weights that keep the size of numbers, and biases that matter."""
        layer.weight.normal_(0, 1.3 / fan**0.5)
        if layer.bias is not None:
            layer.bias.normal_(0, 0.3)

    def transposed(self, r: str) -> str:
        """A transposed convolution."""
        _, c, h, w = self.values[r].shape
        groups = self.rng.choice([g for g in (1, 2, c) if c % g == 0])
        out = groups * self.rng.choice([1, 2] if groups > 1 else [2, 3])
        stride = self.rng.choice([1, 2, 3]) if max(h, w) < 4 else 1
        k = self.rng.choice([1, 2, 3])
        padding = self.rng.choice([0, 1]) if k == 3 else 0
        more = self.rng.choice([0, 1]) if stride > 1 else 0
        conv = nn.ConvTranspose2d(c, out, k, stride, padding, more, groups, bias=self.coin(0.7))
        self._draw(conv, k * k * c // groups)
        return self.call_conv(r, self.module("conv", conv), conv)

    def norm(self, r: str) -> str:
        """BatchNorm with statistics of its own."""
        v = self.values[r]
        kind = nn.BatchNorm2d if v.ndim == 4 else nn.BatchNorm1d
        norm = kind(v.shape[1], eps=self.rng.choice([1e-5, 1e-3, 0.1]), affine=self.coin(0.8))
        norm.running_mean.normal_(0, 0.5)
        norm.running_var.uniform_(0.3, 2)
        if norm.affine:
            norm.weight.normal_(0, 0.3).add_(self.rng.choice([1.0, 1.0, -0.6]))
            norm.bias.normal_(0, 0.4)
        name = self.module("norm", norm)
        text, path = f"self.{name}({r})", name
        if self.coin(0.25):
            given = f"self.{name}.running_mean, self.{name}.running_var, self.{name}.weight, self.{name}.bias"
            text, path = f"F.batch_norm({r}, {given}, eps={norm.eps})", ""
        return self.emit("norm", f"{text}  # eps {norm.eps}", [r], norm, path=path, norm=norm)

    def linear(self, r: str, out: int) -> str:
        """A linear layer on the last axis: a module, a function or a matrix product."""
        n = self.values[r].shape[-1]
        layer = nn.Linear(n, out, bias=self.coin(0.7)).double()
        self._draw(layer, n)
        how = self.rng.choice(["module", "module", "function", "matmul", "addmm"])
        if how == "addmm" and (layer.bias is None or self.values[r].ndim != 2):
            how = "matmul"
        name = self.module("linear", layer)
        path = name if how == "module" else ""
        text = {
            "module": f"self.{name}({r})",
            "function": f"F.linear({r}, self.{name}.weight, self.{name}.bias)",
            "matmul": f"{r} @ self.{name}.weight.T",
            "addmm": f"torch.addmm(self.{name}.bias, {r}, self.{name}.weight.T)",
        }[how]
        bias = None if how == "matmul" else layer.bias
        plain = how in ("module", "function")
        return self.emit(
            "linear",
            f"{text}  # {n} to {out}",
            [r],
            lambda v: F.linear(v, layer.weight, bias),
            path=path,
            linear=F.linear,
            weight=layer.weight,
            bias=bias,
            merges=plain and self.values[r].ndim == 2,
            area=n,
        )
