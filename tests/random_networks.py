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

What is drawn keeps to what the documentation says; two things are left out on purpose, because what should happen is
being decided: gates that are no sigmoids, and constants (padding as an op) that a layer reads under flat, w-square or
zB, for which `Network.padded` is the sign.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from random_program import D, Network, Writer

CLASSES = 4
LARGEST = 420
"""Numbers of one picture that a value may have: explicit matrices of layers are made of it."""


def random_network(seed: int) -> tuple[Network, Tensor]:
    """A network in evaluation mode in float64, and pictures of both signs for it."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return Builder(seed).build()


SAME = [
    ("F.relu({0})", F.relu),
    ("torch.relu({0})", F.relu),
    ("{0}.clamp(min=0)", F.relu),
    ("torch.clamp({0}, -0.5, 0.8)", lambda v: v.clamp(-0.5, 0.8)),
    ("F.relu6(4 * {0})", None),
    ("F.leaky_relu({0}, 0.2)", lambda v: F.leaky_relu(v, 0.2)),
    ("F.elu({0})", F.elu),
    ("F.gelu({0})", F.gelu),
    ("F.silu({0})", F.silu),
    ("torch.tanh({0})", torch.tanh),
    ("F.hardswish({0})", F.hardswish),
    ("F.softsign({0})", F.softsign),
    ("F.hardtanh({0}, -1, 1)", F.hardtanh),
    ("F.hardtanh({0}, 0, 2)", lambda v: F.hardtanh(v, 0, 2)),
    ("F.softshrink({0}, 0.1)", lambda v: F.softshrink(v, 0.1)),
]
"""Activations that give a new value, and what each computes."""
SAME = [(text, f) for text, f in SAME if f is not None]

WRITTEN = [
    ("{0}.relu_()", F.relu),
    ("torch.relu_({0})", F.relu),
    ("F.relu({0}, inplace=True)", F.relu),
    ("{0}.clamp_(min=0)", F.relu),
    ("F.leaky_relu({0}, 0.1, inplace=True)", lambda v: F.leaky_relu(v, 0.1)),
    ("{0}.tanh_()", torch.tanh),
    ("F.elu({0}, inplace=True)", F.elu),
    ("F.hardtanh({0}, -1, 1, inplace=True)", F.hardtanh),
    ("{0}.clamp_(-0.5, 0.8)", lambda v: v.clamp(-0.5, 0.8)),
]
"""Activations that overwrite."""

MODULES = [
    (lambda: nn.ReLU(), False),
    (lambda: nn.ReLU(), False),
    (lambda: nn.ReLU(inplace=True), True),
    (lambda: nn.ReLU(inplace=True), True),
    (lambda: nn.ReLU(inplace=True), True),
    (lambda: nn.ReLU6(inplace=True), True),
    (lambda: nn.Hardswish(inplace=True), True),
    (lambda: nn.SiLU(inplace=True), True),
    (lambda: nn.ELU(), False),
    (lambda: nn.PReLU(), False),
    (lambda: nn.LeakyReLU(0.3, inplace=True), True),
]
"""Activations as modules, and whether they overwrite."""


class Builder(Writer):
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

    def activation(self, r: str) -> str:
        """An activation: a module, a function or a method, in place or not."""
        if self.coin(0.4):
            make, writes = self.rng.choice(MODULES)
            if not writes or self.writable(r):
                act = make()
                name = self.module("act", act)
                text = f"self.{name}({r})  # {act}"
                if writes:
                    same = type(act)(act.negative_slope) if isinstance(act, nn.LeakyReLU) else type(act)()
                    return self.emit("activation", f"{r} = {text}", [r], same, writes=r, path=name)
                return self.emit("activation", text, [r], act, path=name)
        if self.writable(r) and self.coin(0.5):
            text, f = self.rng.choice(WRITTEN)
            return self.emit("activation", text.format(r), [r], f, writes=r)
        text, f = self.rng.choice(SAME)
        return self.emit("activation", text.format(r), [r], f)

    def dropout(self, r: str) -> str:
        """A number that stays where it was."""
        how = self.rng.choice(["dropout", "dropout", "clone", "contiguous", "F"])
        if how == "dropout":
            name = self.module("drop", nn.Dropout())
            return self.emit("move", f"self.{name}({r})", [r], lambda v: v * 1, views=r, path=name)
        text = {
            "clone": f"{r}.clone()",
            "contiguous": f"{r}.contiguous()",
            "F": f"F.dropout({r}, 0.5, training=False)",
        }
        views = None if how == "clone" else r
        return self.emit("move", text[how], [r], lambda v: v * 1, views=views)

    def plus(self, a: str, b: str) -> str:
        """A sum or a difference of two values, in one of the ways to write it."""
        forms = [
            ("{0} + {1}", 1.0, 1.0, False),
            ("{0} + {1}", 1.0, 1.0, False),
            ("torch.add({0}, {1}, alpha=-0.5)", 1.0, -0.5, False),
            ("torch.add({0}, {1}, alpha=2)", 1.0, 2.0, False),
            ("{0} - {1}", 1.0, -1.0, False),
            ("torch.sub({0}, {1}, alpha=0.5)", 1.0, -0.5, False),
            ("torch.rsub({0}, {1})", -1.0, 1.0, False),
            ("{0} += {1}", 1.0, 1.0, True),
            ("{0} += {1}", 1.0, 1.0, True),
            ("{0}.add_({1}, alpha=-1.5)", 1.0, -1.5, True),
            ("{0} -= {1}", 1.0, -1.0, True),
            ("{0}.sub_({1})", 1.0, -1.0, True),
        ]
        may = self.writable(a) and self.memory[a] != self.memory[b]
        wide = torch.broadcast_shapes(self.values[a].shape, self.values[b].shape) == self.values[a].shape
        text, p, q, inplace = self.rng.choice([form for form in forms if not form[3] or (may and wide)])
        if a == b and p == -q:
            text, p, q = "{0} + {1}", 1.0, 1.0
        writes = a if inplace else None
        terms = ((0, p), (1, q))
        return self.emit("add", text.format(a, b), [a, b], lambda u, v: p * u + q * v, writes=writes, terms=terms)

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

    def block_sum(self, r: str) -> str:
        """A sum with any value of the same shape, or with its own mean."""
        others = self.like(r)
        if others:
            return self.plus(r, self.rng.choice(others))
        if self.coin(0.2):
            return self.emit("add", f"{r} + {r}", [r, r], lambda u, v: u + v, terms=((0, 1.0), (1, 1.0)))
        return self.plus(r, self.mean(r))

    def mean(self, r: str) -> str:
        """A mean or a sum over some axes, which keep their place."""
        axes = self.rng.choice([(2, 3), (1,), (3,), (1, 2, 3)])
        how = self.rng.choice(["mean", "mean", "sum"])
        text = f"{r}.{how}({axes}, keepdim=True)"
        return self.emit("average", text, [r], lambda v: getattr(v, how)(axes, keepdim=True))

    def block_gate(self, r: str) -> str:
        """Squeeze-and-excitation, a gate of equal shape, or a product of equals."""
        kind = self.rng.choice(["squeeze", "squeeze", "equal", "half"])
        if kind == "half":
            a, b = self.conv(r, keep=True), self.conv(r, keep=True)
            return self.emit("product", f"{a} * {b}", [a, b], torch.mul)
        g = r
        if kind == "squeeze":
            g = self.emit("average", f"F.adaptive_avg_pool2d({r}, 1)", [r], lambda v: F.adaptive_avg_pool2d(v, 1))
            if self.coin(0.3):
                return self._gate_by_linear(r, g)
            g = self.activation(self.conv(g, keep=True)) if self.coin(0.4) else g
        g = self.sigmoid(self.conv(g, keep=True))
        if kind == "equal" and self.coin(0.3):
            g = self.emit("move", f"{g}.flip(3)", [g], lambda v: v.flip(3))
        return self.times(r, g)

    def _gate_by_linear(self, r: str, g: str) -> str:
        c = self.values[r].shape[1]
        g = self.emit("move", f"{g}.flatten(1)", [g], lambda v: v.flatten(1), views=g)
        g = self.sigmoid(self.linear(g, c))
        text = f"{g}[:, :, None, None]"
        g = self.emit("move", text, [g], lambda v: v[:, :, None, None], views=g)
        return self.times(r, g)

    def sigmoid(self, r: str) -> str:
        """A gate's activation."""
        text, f = self.rng.choice(
            [
                ("torch.sigmoid({0})", torch.sigmoid),
                ("{0}.sigmoid()", torch.sigmoid),
                ("F.hardsigmoid({0})", F.hardsigmoid),
            ]
        )
        return self.emit("activation", text.format(r), [r], f, sigmoid=True)

    def times(self, r: str, g: str) -> str:
        """A value times its gate; the gate may be cut off from relevance, which it gets none of."""
        how = self.rng.choice(
            ["{0} * {1}", "{1} * {0}", "torch.mul({0}, {1})", "{0}.mul_({1})", "{0} *= {1}", "detach"]
        )
        if how == "detach":
            g = self.emit("stop", f"{g}.detach()", [g], torch.detach, views=g, copies=False)
            how = "{0} * {1}"
        inplace = how in ("{0}.mul_({1})", "{0} *= {1}")
        if inplace and (not self.writable(r) or self.memory[r] == self.memory[g]):
            how, inplace = "{0} * {1}", False
        reads = [g, r] if how.startswith("{1}") else [r, g]
        y = self.emit("product", how.format(r, g), reads, torch.mul, writes=r if inplace else None)
        self._forget_cut(g)
        return y

    def _forget_cut(self, r: str) -> None:
        """Let nothing else read what was cut off: all that is read leads to the input."""
        if self.net.steps and any(step.kind == "stop" and step.gives == r for step in self.net.steps):
            self.values.pop(r, None)

    def block_scale(self, r: str) -> str:
        """A product with a constant."""
        c, t = self.constant(1, self.values[r].shape[1], 1, 1, low=0.5, high=1.5)
        t = t * 1
        text, f, inplace = self.rng.choice(
            [
                ("{0} * 0.7", lambda v: v * 0.7, False),
                ("-1.2 * {0}", lambda v: -1.2 * v, False),
                ("{0} / 1.6", lambda v: v / 1.6, False),
                ("-{0}", torch.neg, False),
                ("{0} * self.{1}", lambda v: v * t, False),
                ("self.{1} * {0}", lambda v: t * v, False),
                ("{0} / self.{1}", lambda v: v / t, False),
                ("{0}.mul_(-0.8)", lambda v: v * -0.8, True),
                ("{0} *= self.{1}", lambda v: v * t, True),
                ("{0}.div_(0.9)", lambda v: v / 0.9, True),
                ("{0}.neg_()", torch.neg, True),
            ]
        )
        writes = r if inplace and self.writable(r) else None
        if inplace and writes is None:
            text, f = "{0} * 0.7", lambda v: v * 0.7
        return self.emit("scale", text.format(r, c), [r], f, writes=writes)

    def block_constant(self, r: str) -> str:
        """A constant added."""
        c, t = self.constant(1, self.values[r].shape[1], 1, 1, low=-0.5, high=0.5)
        t = t * 1
        text, p, constant, q, inplace = self.rng.choice(
            [
                ("{0} + 0.3", 1.0, 0.3, 1.0, False),
                ("0.4 + {0}", 1.0, 0.4, 1.0, False),
                ("{0} + self.{1}", 1.0, t, 1.0, False),
                ("{0} - self.{1}", 1.0, t, -1.0, False),
                ("0.5 - {0}", -1.0, 0.5, 1.0, False),
                ("torch.add({0}, self.{1}, alpha=-2)", 1.0, t, -2.0, False),
                ("{0} += self.{1}", 1.0, t, 1.0, True),
                ("{0}.add_(-0.2)", 1.0, -0.2, 1.0, True),
                ("{0} -= 0.25", 1.0, 0.25, -1.0, True),
            ]
        )
        writes = r if inplace and self.writable(r) else None
        if inplace and writes is None:
            text, p, constant, q = "{0} + 0.3", 1.0, 0.3, 1.0
        value = lambda v: p * v + q * constant  # noqa: E731
        return self.emit("add", text.format(r, c), [r], value, writes=writes, terms=((0, p),))

    def block_pool(self, r: str) -> str:
        """A maximum or an average over windows."""
        h, w = self.values[r].shape[2:]
        if min(h, w) < 3:
            return self.block_scale(r)
        k, stride = self.rng.choice([2, 3]), self.rng.choice([1, 2, 2])
        padding, ceil = self.rng.choice([0, 0, 1]), self.coin(0.3)
        if self.coin(0.5):
            return self._max_pool(r, k, stride, padding, ceil)
        more = {"count_include_pad": self.coin(0.5)}
        if self.coin(0.15):
            more["divisor_override"] = 5
        how = self.rng.choice(["avg", "avg", "module", "adaptive"])
        if how == "adaptive":
            size = self.rng.choice([2, 3, (2, 1)])
            text = f"F.adaptive_avg_pool2d({r}, {size})"
            return self.emit("average", text, [r], lambda v: F.adaptive_avg_pool2d(v, size))
        pool = nn.AvgPool2d(k, stride, padding, ceil, **more)
        if how == "module":
            name = self.module("pool", pool)
            text = f"self.{name}({r})  # {k}, stride {stride}, padding {padding}, {ceil}, {more}"
            return self.emit("average", text, [r], pool, path=name)
        text = f"F.avg_pool2d({r}, {k}, {stride}, {padding}, {ceil}, {', '.join(f'{n}={v}' for n, v in more.items())})"
        return self.emit("average", text, [r], pool)

    def _max_pool(self, r: str, k: int, stride: int, padding: int, ceil: bool) -> str:
        h, w = self.values[r].shape[2:]
        dilation = 2 if min(h, w) >= 5 and self.coin(0.25) else 1
        how = self.rng.choice(["F", "F", "module", "adaptive", "dim", "indices"])
        if how == "adaptive":
            size = self.rng.choice([2, 3])
            return self.emit(
                "max", f"F.adaptive_max_pool2d({r}, {size})", [r], lambda v: F.adaptive_max_pool2d(v, size)
            )
        if how == "dim":
            axis = self.rng.choice([1, 2, 3])
            value = lambda v: v.max(axis, keepdim=True)[0]  # noqa: E731
            return self.emit("max", f"{r}.max({axis}, keepdim=True)[0]", [r], value)
        settings = (k, stride, padding, dilation)
        value = lambda v: F.max_pool2d(v, *settings, ceil_mode=ceil)  # noqa: E731
        if how == "module":
            name = self.module("pool", nn.MaxPool2d(*settings, ceil_mode=ceil))
            return self.emit("max", f"self.{name}({r})  # {settings}, {ceil}", [r], value, path=name)
        more = ", return_indices=True)[0]" if how == "indices" else ")"
        given = ", ".join(map(str, settings))
        return self.emit("max", f"F.max_pool2d({r}, {given}, ceil_mode={ceil}{more}", [r], value)

    def block_join(self, r: str) -> str:
        """Values one beside the other; parts of one in another order."""
        h, w = self.values[r].shape[2:]
        others = [o for o, v in self.values.items() if v.ndim == 4 and v.shape[2:] == (h, w) and v.shape[1] <= 4]
        if self.coin(0.5) and self.values[r].shape[1] > 1:
            return self._chunks(r)
        parts = [r, self.rng.choice(others or [r])]
        if self.coin(0.3):
            parts = [parts[1], r, parts[1]]
        if sum(self.values[p].shape[1] for p in parts) * h * w > LARGEST:
            return self.block_scale(r)
        if self.coin(0.3) and len({self.values[p].shape for p in parts}) == 1:
            axis = self.rng.choice([2, -1])
            return self.emit("move", f"torch.cat([{', '.join(parts)}], {axis})", parts, lambda *v: torch.cat(v, axis))
        return self.emit("move", f"torch.cat([{', '.join(parts)}], 1)", parts, lambda *v: torch.cat(v, 1))

    def _chunks(self, r: str) -> str:
        """Two parts of a value's channels, each changed or not, put together the other way round."""
        c = self.values[r].shape[1]
        k = c // 2
        how = self.rng.choice(["slice", "split", "narrow"])
        texts = {
            "slice": (f"{r}[:, :{k}]", f"{r}[:, {k}:]"),
            "split": (f"{r}.split([{k}, {c - k}], 1)[0]", f"torch.split({r}, [{k}, {c - k}], 1)[1]"),
            "narrow": (f"{r}.narrow(1, 0, {k})", f"{r}.narrow(1, {k}, {c - k})"),
        }[how]
        a = self.emit("move", texts[0], [r], lambda v: v[:, :k], views=r)
        b = self.emit("move", texts[1], [r], lambda v: v[:, k:], views=r)
        if self.coin(0.4):
            a = self.conv(a, keep=True)
        if self.coin(0.4):
            text, f = self.rng.choice(SAME)
            b = self.emit("activation", text.format(b), [b], f)
        return self.emit("move", f"torch.cat(({b}, {a}), dim=1)", [b, a], lambda u, v: torch.cat([u, v], 1))

    def block_move(self, r: str) -> str:
        """Numbers that change their places."""
        b, c, h, w = self.values[r].shape
        forms = [
            (f"{r}.permute(0, 1, 3, 2)", lambda v: v.permute(0, 1, 3, 2), r),
            (f"{r}.transpose(1, 2)", lambda v: v.transpose(1, 2), r),
            (f"{r}.flip(3)", lambda v: v.flip(3), None),
            (f"torch.roll({r}, 1, 2)", lambda v: v.roll(1, 2), None),
            (f"{r}.reshape({b}, {h}, {c}, {w})", lambda v: v.reshape(b, h, c, w), r),
            (f"{r}[:, :, ::2]", lambda v: v[:, :, ::2], r),
            (f"{r}[:, [0, {c - 1}, 0]]", lambda v: v[:, [0, c - 1, 0]], None),
            (f"{r}.flatten(2).unsqueeze(1)", None, r),
            (f"{r}.repeat(1, 2, 1, 1)[:, 1:]", None, None),
        ]
        if c % 4 == 0:
            forms += [(f"F.pixel_shuffle({r}, 2)", lambda v: F.pixel_shuffle(v, 2), None)] * 3
        if h % 2 == 0 and w % 2 == 0 and h > 2:
            forms += [(f"F.pixel_unshuffle({r}, 2)", lambda v: F.pixel_unshuffle(v, 2), None)] * 2
        if c % 2 == 0:
            forms += [
                (f"F.channel_shuffle({r}, 2)", lambda v: v.view(b, 2, c // 2, h, w).transpose(1, 2).flatten(1, 2), None)
            ]
        text, f, views = self.rng.choice([form for form in forms if form[1] is not None])
        return self.emit("move", text, [r], f, views=views)

    def block_write(self, r: str) -> str:
        """A part of a value overwritten by a part of another, or by a constant."""
        c = self.values[r].shape[1]
        k = max(c // 2, 1)
        if not self.writable(r):
            return self.block_scale(r)
        others = [o for o in self.like(r) if o in self.values]
        if not others:
            others = [self.conv(r, keep=True)]
        o = self.rng.choice(others)
        how = self.rng.choice(["part", "part", "where", "constant", "copy"])
        if how == "where":
            text = f"torch.where({r} > 0.1, {r}, {o})"
            return self.emit("move", text, [r, o], lambda u, v: torch.where(u > 0.1, u, v))
        if how == "constant":
            self.net.padded = True
            value = lambda v: torch.cat([torch.full_like(v[:, :1], 0.25), v[:, 1:]], 1)  # noqa: E731
            return self.emit("move", f"{r}[:, 0] = 0.25", [r], value, writes=r)
        part = self.emit("move", f"{o}[:, :{k}]", [o], lambda v: v[:, :k], views=o)
        if how == "copy":
            part = self.emit("scale", f"{part} * 0.5", [part], lambda v: v * 0.5)
        value = lambda u, v: torch.cat([v, u[:, k:]], 1)  # noqa: E731
        return self.emit("move", f"{r}[:, :{k}] = {part}", [r, part], value, writes=r)

    def block_pad(self, r: str) -> str:
        """Zeros around, or a constant beside."""
        if self.values[r][0].numel() > 120:
            return self.block_scale(r)
        self.net.padded = True
        if self.coin(0.5):
            c, t = self.constant(1, 1, *self.values[r].shape[2:])
            t = t * 1
            text = f"torch.cat([{r}, self.{c}.expand(len({r}), -1, -1, -1)], 1)"
            return self.emit("move", text, [r], lambda v: torch.cat([v, t.expand(len(v), -1, -1, -1)], 1))
        return self.emit("move", f"F.pad({r}, (1, 0, 0, 1))", [r], lambda v: F.pad(v, (1, 0, 0, 1)))

    def block_stop(self, r: str) -> str:
        """A term that the model cuts off."""
        others = [r, *self.like(r)]
        o = self.rng.choice(others)
        cut = self.emit("stop", f"{o}.detach()", [o], torch.detach, views=o, copies=False)
        y = self.plus(self.conv(r, keep=True), cut)
        self._forget_cut(cut)
        return y

    def block_last_axis(self, r: str) -> str:
        """A linear layer on the channels of each place."""
        c = self.values[r].shape[1]
        y = self.emit("move", f"{r}.permute(0, 2, 3, 1)", [r], lambda v: v.permute(0, 2, 3, 1), views=r)
        y = self.linear(y, self.rng.choice([c, 3]))
        return self.emit("move", f"{y}.permute(0, 3, 1, 2)", [y], lambda v: v.permute(0, 3, 1, 2), views=y)

    def block_rows(self, r: str) -> str:
        """A linear layer on the places of each channel, and a BatchNorm whose channels are not its outputs."""
        h, w = self.values[r].shape[2:]
        y = self.emit("move", f"{r}.flatten(2)", [r], lambda v: v.flatten(2), views=r)
        y = self.linear(y, h * w)
        if self.coin(0.7):
            y = self.norm(y)
        return self.emit("move", f"{y}.unflatten(2, ({h}, {w}))", [y], lambda v: v.unflatten(2, (h, w)), views=y)

    def block_fold(self, r: str) -> str:
        """Half of the channels as pictures of their own, through one convolution."""
        b, c, h, w = self.values[r].shape
        if c % 2:
            return self.block_scale(r)
        y = self.emit(
            "move",
            f"{r}.reshape({r}.shape[0] * 2, {c // 2}, {h}, {w})",
            [r],
            lambda v: v.reshape(len(v) * 2, c // 2, h, w),
            views=r,
        )
        y = self.activation(self.conv(y, keep=True))
        del b
        text = f"{y}.reshape({y}.shape[0] // 2, {c}, {h}, {w})"
        return self.emit("move", text, [y], lambda v: v.reshape(len(v) // 2, c, h, w), views=y)

    def block_upsample(self, r: str) -> str:
        """Nearest neighbours, or a mixture of them."""
        h, w = self.values[r].shape[2:]
        if max(h, w) > 3:
            return self.block_scale(r)
        if self.coin(0.6):
            text = f"F.interpolate({r}, scale_factor=2)"
            return self.emit("move", text, [r], lambda v: F.interpolate(v, scale_factor=2))
        text = f"F.interpolate({r}, size=(4, 3), mode='bilinear', align_corners=False)"
        value = lambda v: F.interpolate(v, size=(4, 3), mode="bilinear", align_corners=False)  # noqa: E731
        return self.emit("interpolate", text, [r], value)

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
                return self.emit("average", f"{y}.mean((2, 3))", [y], lambda v: v.mean((2, 3)))
            return self.emit("move", f"{y}.flatten(1)", [y], lambda v: v.flatten(1), views=y)
        if kind == "maps":
            conv = nn.Conv2d(self.values[r].shape[1], CLASSES, 1)
            self._draw(conv, self.values[r].shape[1])
            y = self.call_conv(r, self.module("conv", conv), conv)
            if self.coin(0.4):  # a gate's layer comes later, and is none that relevance comes to
                g = self.emit("average", f"{y}.mean((2, 3), keepdim=True)", [y], lambda v: v.mean((2, 3), keepdim=True))
                y = self.times(y, self.sigmoid(self.conv(g, keep=True)))
            return self.emit("average", f"{y}.mean((2, 3))", [y], lambda v: v.mean((2, 3)))
        if kind == "mean":
            y = self.emit("average", f"{r}.mean(dim=(2, 3))", [r], lambda v: v.mean((2, 3)))
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
                self.emit("scale", f"{y} / 16", [y], lambda v: v / 16)
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
    ("block_gate", 2),
    ("block_scale", 1),
    ("block_constant", 1),
    ("block_pool", 3),
    ("block_join", 2),
    ("block_move", 1.5),
    ("block_write", 1.5),
    ("block_pad", 1),
    ("block_stop", 0.4),
    ("block_last_axis", 0.5),
    ("block_rows", 0.4),
    ("block_fold", 0.5),
    ("block_upsample", 0.7),
]
"""What comes after the first layer, and how often."""
