"""Activations, what leaves numbers as they are, and gates: the ways to write them, and what each is proved to keep."""

import torch
import torch.nn.functional as F
from torch import nn

from intervals import ABOVE, BOTH, FREE, UNIT, clipped
from random_program import Writer

RELU = clipped(0, float("inf"))

SAME = [
    ("F.relu({0})", F.relu, RELU),
    ("torch.relu({0})", F.relu, RELU),
    ("F.relu({0})", F.relu, RELU),
    ("{0}.clamp(min=0)", F.relu, RELU),
    ("torch.clamp({0}, -0.5, 0.8)", lambda v: v.clamp(-0.5, 0.8), clipped(-0.5, 0.8)),
    ("F.relu6(4 * {0})", None, None),
    ("F.leaky_relu({0}, 0.2)", lambda v: F.leaky_relu(v, 0.2), FREE),
    ("F.elu({0})", F.elu, FREE),
    ("F.gelu({0})", F.gelu, FREE),
    ("F.silu({0})", F.silu, FREE),
    ("torch.tanh({0})", torch.tanh, BOTH),
    ("torch.erf({0})", torch.erf, BOTH),
    ("F.hardswish({0})", F.hardswish, FREE),
    ("F.softsign({0})", F.softsign, BOTH),
    ("F.relu6({0})", F.relu6, (0.0, 6.0)),
    ("F.hardtanh({0}, -1, 1)", F.hardtanh, clipped(-1, 1)),
    ("F.hardtanh({0}, 0, 2)", lambda v: F.hardtanh(v, 0, 2), clipped(0, 2)),
    ("F.softshrink({0}, 0.1)", lambda v: F.softshrink(v, 0.1), FREE),
    # What gives something for nothing.
    ("F.softplus({0})", F.softplus, ABOVE),
    ("torch.sigmoid({0})", torch.sigmoid, UNIT),
    ("F.hardsigmoid({0})", F.hardsigmoid, UNIT),
    ("F.logsigmoid({0})", F.logsigmoid, (-float("inf"), 0.0)),
    ("F.threshold({0}, 0.2, -0.3)", lambda v: F.threshold(v, 0.2, -0.3), FREE),
    ("{0}.clamp(0.1, 0.9)", lambda v: v.clamp(0.1, 0.9), clipped(0.1, 0.9)),
    ("torch.clamp({0}, min=0.2)", lambda v: v.clamp(min=0.2), clipped(0.2, float("inf"))),
]
"""Activations that give a new value, what each computes, and its bounds."""
SAME = [each for each in SAME if each[1] is not None]

WRITTEN = [
    ("{0}.relu_()", F.relu, RELU),
    ("torch.relu_({0})", F.relu, RELU),
    ("F.relu({0}, inplace=True)", F.relu, RELU),
    ("{0}.clamp_(min=0)", F.relu, RELU),
    ("F.leaky_relu({0}, 0.1, inplace=True)", lambda v: F.leaky_relu(v, 0.1), FREE),
    ("{0}.tanh_()", torch.tanh, BOTH),
    ("F.elu({0}, inplace=True)", F.elu, FREE),
    ("F.hardtanh({0}, -1, 1, inplace=True)", F.hardtanh, clipped(-1, 1)),
    ("{0}.clamp_(-0.5, 0.8)", lambda v: v.clamp(-0.5, 0.8), clipped(-0.5, 0.8)),
    ("{0}.sigmoid_()", torch.sigmoid, UNIT),
    ("F.threshold({0}, 0.1, 0.4, inplace=True)", lambda v: F.threshold(v, 0.1, 0.4), FREE),
]
"""Activations that overwrite."""

MODULES = [
    (lambda: nn.ReLU(), False, RELU),
    (lambda: nn.ReLU(), False, RELU),
    (lambda: nn.ReLU(inplace=True), True, RELU),
    (lambda: nn.ReLU(inplace=True), True, RELU),
    (lambda: nn.ReLU(inplace=True), True, RELU),
    (lambda: nn.ReLU6(inplace=True), True, (0.0, 6.0)),
    (lambda: nn.Hardswish(inplace=True), True, FREE),
    (lambda: nn.SiLU(inplace=True), True, FREE),
    (lambda: nn.ELU(), False, FREE),
    (lambda: nn.PReLU(), False, FREE),
    (lambda: nn.Softplus(), False, ABOVE),
    (lambda: nn.LeakyReLU(0.3, inplace=True), True, FREE),
]
"""Activations as modules, whether they overwrite, and their bounds."""


class Activations(Writer):
    """Draws them."""

    def activation(self, r: str) -> str:
        """An activation: a module, a function or a method, in place or not."""
        if self.coin(0.4):
            make, writes, bounds = self.rng.choice(MODULES)
            if not writes or self.writable(r):
                act = make()
                name = self.module("act", act)
                text = f"self.{name}({r})  # {act}"
                if writes:
                    same = type(act)(act.negative_slope) if isinstance(act, nn.LeakyReLU) else type(act)()
                    return self.emit("activation", f"{r} = {text}", [r], same, writes=r, path=name, bounds=bounds)
                call = "" if isinstance(act, nn.PReLU) else f"{act} of <0>"
                return self.emit("activation", text, [r], act, path=name, bounds=bounds, call=call)
        if self.writable(r) and self.coin(0.5):
            text, f, bounds = self.rng.choice(WRITTEN)
            return self.emit("activation", text.format(r), [r], f, writes=r, bounds=bounds)
        return self.fresh(r)

    def fresh(self, r: str) -> str:
        """An activation that gives a new value."""
        text, f, bounds = self.rng.choice(SAME)
        return self.emit("activation", text.format(r), [r], f, bounds=bounds)

    def function(self, r: str, text: str, f, bounds, kind: str = "activation") -> str:
        """One that is told."""
        return self.emit(kind, text.format(r), [r], f, bounds=bounds)

    def dropout(self, r: str) -> str:
        """A number that stays where it was."""
        how = self.rng.choice(["dropout", "dropout", "clone", "contiguous", "F"])
        if how == "dropout":
            name = self.module("drop", nn.Dropout())
            text, f = f"self.{name}({r})", lambda v: v * 1
            return self.emit("move", text, [r], f, views=r, path=name, identity=True, same=True)
        text = {
            "clone": f"{r}.clone()",
            "contiguous": f"{r}.contiguous()",
            "F": f"F.dropout({r}, 0.5, training=False)",
        }
        views = None if how == "clone" else r
        same = how == "F"  # switched off it gives the very tensor that it was given
        return self.emit("move", text[how], [r], lambda v: v * 1, views=views, identity=True, same=same)

    # -- gates -----------------------------------------------------------------------------------------

    def sigmoid(self, r: str) -> str:
        """The commonest."""
        text, f = self.rng.choice(
            [
                ("torch.sigmoid({0})", torch.sigmoid),
                ("{0}.sigmoid()", torch.sigmoid),
                ("F.hardsigmoid({0})", F.hardsigmoid),
            ]
        )
        return self.function(r, text, f, UNIT)

    def shifted(self, r: str, text: str, factor: float, constant: float) -> str:
        """Factor v + constant."""
        value = lambda v: factor * v + constant  # noqa: E731
        return self.emit("add", text.format(r), [r], value, terms=((0, factor),), constant=(constant, constant))

    def scaled(self, r: str, text: str, by: float) -> str:
        """By v."""
        return self.emit("scale", text.format(r), [r], lambda v: v * by, by=(by, by))

    def gate(self, r: str, *, opaque: bool) -> str:
        """What a value may be multiplied with; most of it proved bounded, in many spellings.

        Args:
            r: the gate's logits.
            opaque: whether functions without a value at 0 may stand in it.
        """
        kinds = ["sigmoid", "sigmoid", "sigmoid", "tanh", "1 + s", "1 - s", "2 s", "relu6", "clamp", "tanh + 1", "erf"]
        kinds += ["relu", "softplus"] + ["exp", "sin", "rsqrt", "abs"] * opaque
        return getattr(self, GATES[self.rng.choice(kinds)])(r)

    def _tanh(self, r: str) -> str:
        return self.function(r, "torch.tanh({0})", torch.tanh, BOTH)

    def _one_plus(self, r: str) -> str:
        return self.shifted(self.sigmoid(r), self.rng.choice(["1 + {0}", "{0} + 1.0", "{0}.add(1)"]), 1.0, 1.0)

    def _one_minus(self, r: str) -> str:
        return self.shifted(self.sigmoid(r), self.rng.choice(["1 - {0}", "torch.rsub({0}, 1)"]), -1.0, 1.0)

    def _twice(self, r: str) -> str:
        return self.scaled(self.sigmoid(r), self.rng.choice(["2 * {0}", "{0} / 0.5"]), 2.0)

    def _relu6(self, r: str) -> str:
        y = self.function(self.shifted(r, "{0} + 3", 1.0, 3.0), "F.relu6({0})", F.relu6, (0.0, 6.0))
        return self.scaled(y, "{0} / 6", 1 / 6)

    def _clamp(self, r: str) -> str:
        low, high = self.rng.choice([(0.0, 1.0), (-1.0, 2.0), (0.2, 3.0)])
        text = self.rng.choice(["{0}.clamp(LOW, HIGH)", "F.hardtanh({0}, LOW, HIGH)", "torch.clip({0}, LOW, HIGH)"])
        text = text.replace("LOW", str(low)).replace("HIGH", str(high))
        return self.function(r, text, lambda v: v.clamp(low, high), clipped(low, high))

    def _one_plus_tanh(self, r: str) -> str:
        return self.scaled(self.shifted(self._tanh(r), "{0} + 1", 1.0, 1.0), "0.5 * {0}", 0.5)

    def _erf(self, r: str) -> str:
        y = self.function(r, "torch.erf({0})", torch.erf, BOTH)
        return self.scaled(self.shifted(y, "1 + {0}", 1.0, 1.0), "{0} / 2", 0.5)

    def _relu(self, r: str) -> str:
        return self.function(r, "F.relu({0})", F.relu, RELU)

    def _softplus(self, r: str) -> str:
        return self.function(r, "F.softplus({0})", F.softplus, ABOVE)

    # Of functions some of which have no rule: proved bounded, so that no relevance comes to them beside what is not.

    def _exp(self, r: str) -> str:
        y = self.function(self.scaled(r, "-{0}", -1.0), "torch.exp({0})", torch.exp, ABOVE, "activation")
        return self.function(
            self.shifted(y, "1 + {0}", 1.0, 1.0), "torch.reciprocal({0})", torch.reciprocal, UNIT, "opaque"
        )

    def _sin(self, r: str) -> str:
        return self.function(r, "torch.sin({0})", torch.sin, BOTH)

    def _rsqrt(self, r: str) -> str:
        y = self.function(r, "{0}.square()", torch.square, ABOVE)
        return self.function(self.shifted(y, "{0} + 1", 1.0, 1.0), "{0}.rsqrt()", torch.rsqrt, UNIT, "opaque")

    def _abs(self, r: str) -> str:
        y = self.function(r, "{0}.abs()", torch.abs, ABOVE)
        return self.function(self.shifted(y, "1 + {0}", 1.0, 1.0), "{0}.reciprocal()", torch.reciprocal, UNIT, "opaque")


GATES = {
    "sigmoid": "sigmoid",
    "tanh": "_tanh",
    "1 + s": "_one_plus",
    "1 - s": "_one_minus",
    "2 s": "_twice",
    "relu6": "_relu6",
    "clamp": "_clamp",
    "tanh + 1": "_one_plus_tanh",
    "erf": "_erf",
    "relu": "_relu",
    "softplus": "_softplus",
    "exp": "_exp",
    "sin": "_sin",
    "rsqrt": "_rsqrt",
    "abs": "_abs",
}
