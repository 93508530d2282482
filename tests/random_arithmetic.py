"""Sums, products and constants: the ways to write them."""

import torch
import torch.nn.functional as F

from intervals import of_constant, same, times, with_zero
from random_activations import SAME, Activations


class Arithmetic(Activations):
    """Draws them."""

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
        n = self.values[r][0].numel() // self.values[r].sum(axes, keepdim=True)[0].numel()
        bounds = same if how == "mean" else lambda a: times(a, (n, n))
        return self.emit("average", text, [r], lambda v: getattr(v, how)(axes, keepdim=True), bounds=bounds)

    def block_gate(self, r: str) -> str:
        """Squeeze-and-excitation, a gate of equal shape, or a product of two of a kind."""
        kind = self.rng.choice(["squeeze", "squeeze", "equal", "equal", "half", "pair"])
        if kind in ("half", "pair"):
            a, b = self.conv(r, keep=True), self.conv(r, keep=True)
            if kind == "pair":  # both bounded
                text, f, bounds = self.rng.choice(
                    [
                        ("torch.tanh({0})", torch.tanh, (-1.0, 1.0)),
                        ("F.relu6({0})", F.relu6, (0.0, 6.0)),
                        ("torch.sigmoid({0})", torch.sigmoid, (0.0, 1.0)),
                    ]
                )
                a, b = self.function(a, text, f, bounds), self.gate(b, opaque=False)
            return self.emit("product", f"{a} * {b}", [a, b], torch.mul)
        g = r
        if kind == "squeeze":
            g = self.emit(
                "average",
                f"F.adaptive_avg_pool2d({r}, 1)",
                [r],
                lambda v: F.adaptive_avg_pool2d(v, 1),
                bounds=with_zero,
            )
            if self.coin(0.3):
                return self._gate_by_linear(r, g)
            g = self.activation(self.conv(g, keep=True)) if self.coin(0.4) else g
        g = self.gate(self.conv(g, keep=True), opaque=not self.bounded(r))
        if kind == "equal" and self.coin(0.3):
            g = self.emit("move", f"{g}.flip(3)", [g], lambda v: v.flip(3))
        if r in self.values and kind == "squeeze" and self.coin(0.4):
            g = self.widened(g, r)
        return self.times(r, g) if self.coin(0.7) or r not in self.values else self.with_itself(r, g)

    def widened(self, g: str, r: str) -> str:
        """A gate's numbers repeated to the shape of a value, as some networks write it."""
        _, c, h, w = self.values[r].shape
        text, f, copies = self.rng.choice(
            [
                (f"{g}.expand_as({r})", lambda v: v.expand(-1, c, h, w), False),
                (f"{g}.expand(-1, -1, {h}, {w})", lambda v: v.expand(-1, c, h, w), False),
                (f"{g}.repeat(1, 1, {h}, {w})", lambda v: v.repeat(1, 1, h, w), True),
            ]
        )
        if self.values[g].shape[1:] != (c, 1, 1):
            return g
        return self.emit("move", text, [g], f, copies=copies)

    def with_itself(self, r: str, g: str) -> str:
        """A value and a multiple of it, x + x s, which is all of x; perhaps with more of the same."""
        a = self.emit("product", f"{r} * {g}", [r, g], torch.mul)
        if self.coin(0.3):
            a = self.dropout(a)
        y = self.plus(a, r) if self.coin(0.5) else self.plus(r, a)
        if r in self.values and self.values[r].shape == self.values[y].shape and self.coin(0.3):
            y = self.plus(y, self.scaled(r, "0.5 * {0}", 0.5))
        return y

    def block_twice(self, r: str) -> str:
        """A value computed twice by the same calls: f(x) + f(x) s, or two that share all but the last call."""
        y = self.conv(r, keep=True)
        fitting = [(n, m) for n, m in self.reusable if m.in_channels == self.values[r].shape[1]]
        if not fitting:
            return y
        name, conv = self.rng.choice(fitting)
        a, b = self.call_conv(r, name, conv), self.call_conv(r, name, conv)
        if self.coin(0.5):
            text, f, bounds = self.rng.choice(SAME)
            a, b = (self.emit("activation", text.format(v), [v], f, bounds=bounds) for v in (a, b))
        if self.coin(0.7):
            b = self.times(b, self.sigmoid(y))
        return self.plus(a, b)

    def block_siamese(self, r: str) -> str:
        """The same layer on two halves of the channels, one after the other, and what they give together."""
        c = self.values[r].shape[1]
        if c % 2:
            return self.block_scale(r)
        k = c // 2
        a = self.emit("move", f"{r}[:, :{k}]", [r], lambda v: v[:, :k], views=r)
        b = self.emit("move", f"{r}[:, {k}:]", [r], lambda v: v[:, k:], views=r)
        a = self.conv(a, keep=True)
        fitting = [(n, m) for n, m in self.reusable if m.in_channels == k]
        if fitting:
            name, conv = self.rng.choice(fitting)
            a, b = self.call_conv(a, name, conv), self.call_conv(b, name, conv)
            if self.coin(0.5):
                a, b = (self.call_conv(self.fresh(v), name, conv) for v in (a, b))
        else:
            b = self.conv(b, keep=True)
        if self.values[a].shape == self.values[b].shape and self.coin(0.6):
            return self.plus(a, b)
        return self.emit("move", f"torch.cat([{a}, {b}], 1)", [a, b], lambda u, v: torch.cat([u, v], 1))

    def _gate_by_linear(self, r: str, g: str) -> str:
        c = self.values[r].shape[1]
        g = self.emit("move", f"{g}.flatten(1)", [g], lambda v: v.flatten(1), views=g)
        g = self.gate(self.linear(g, c), opaque=not self.bounded(r))
        text = f"{g}[:, :, None, None]"
        g = self.emit("move", text, [g], lambda v: v[:, :, None, None], views=g)
        return self.times(r, g)

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
        one, least, most = 1.0, *of_constant(t)
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
        if "self" in text:
            by = (one / most, one / least) if "/" in text else (least, most)
        else:
            by = (float(f(one)),) * 2 if "neg" not in text and text != "-{0}" else (-one, -one)
        return self.emit("scale", text.format(r, c), [r], f, writes=writes, by=by)

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
        return self.emit(
            "add",
            text.format(r, c),
            [r],
            value,
            writes=writes,
            terms=((0, p),),
            constant=times(of_constant(constant), (q, q)),
        )
