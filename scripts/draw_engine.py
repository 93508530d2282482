"""Draw docs/images/engine.png: one tensor's way through record, assign and walk, side by side.

    uv run python scripts/draw_engine.py

Everything in the picture is read off the engine at work on a small network: nothing is written into it by hand but
the titles. The tensor that is followed is the one that two calls read: its
relevance is the sum of what both hand down.
"""

# ruff: noqa: INP001, T201 - a script: no package, and it prints

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

import relprop as rp
from relprop.planning import Plan
from relprop.plots.palette import BLUE, FAINT, INK, STYLE, VERMILION
from relprop.record.prepare import recorded
from relprop.tape.tape import Node, Value
from relprop.walk.ledger import Ledger

METHOD = "cmp-alpha2-flat"
TARGET = 1


class Network(nn.Module):
    """A ReLU whose output two calls read, and what most networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 8, 8) to (B, 3)."""
        y = torch.relu(self.conv(x))
        y = y + torch.relu(self.norm(self.branch(y)))
        return self.fc(torch.max_pool2d(y, 2).flatten(1))


def lines_of_record(nodes: list[Node], names: dict[Value, str]) -> list[str]:
    """What was recorded: a line a call."""
    calls = [f"{node.op.name}({', '.join(names[v] for v in node.inputs)})" for node in nodes]
    return [
        f"{names[node.outputs[0]]} = {call:{max(map(len, calls))}}  {' x '.join(map(str, node.outputs[0].shape))}"
        for node, call in zip(nodes, calls, strict=True)
    ]


def lines_of_plan(plan: Plan) -> list[str]:
    """Which rule each call gets, and why."""
    width = max(len(step.rule) for step in plan)
    return [f"{step.rule:{width}}  {step.why}" for step in plan]


def lines_of_walk(ledger: Ledger, count: int) -> list[str]:
    """Where relevance went, in the order of the calls."""
    rows = list(ledger)[::-1]
    assert len(rows) == count
    return [
        f"{float(row.relevance_in):7.3f} to {float(row.relevance_out):7.3f}"
        + "".join(
            f"   {name} {float(getattr(row, name)):+.3f}"
            for name in ("bias", "eps", "lost")
            if abs(float(getattr(row, name))) >= 5e-4
        )
        for row in rows
    ]


def column(axes: Axes, title: str, told: str, lines: list[str], followed: list[bool], *, down: bool) -> None:
    """One step of the engine: a line a call, with the followed tensor's marked, and the direction it works in."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(lines) - 0.4, -2.6)
    axes.text(0, -1.9, title, fontsize=11, fontweight="bold", color=INK)
    axes.text(0, -1.2, told, fontsize=8, color=INK)
    for k, (line, marked) in enumerate(zip(lines, followed, strict=True)):
        if marked:
            axes.axhspan(k - 0.45, k + 0.45, color=VERMILION, alpha=0.14, lw=0)
        axes.text(0.045, k, line, fontsize=7.6, family="monospace", va="center", color=INK)
    start, end = (-0.3, len(lines) - 0.7) if down else (len(lines) - 0.7, -0.3)
    axes.annotate("", (0.012, end), (0.012, start), arrowprops={"arrowstyle": "-|>", "color": BLUE, "lw": 1.4})


def draw() -> Figure:
    """The picture."""
    torch.manual_seed(5)
    model, x = Network().eval(), torch.rand(1, 3, 8, 8)
    plan, explanation = rp.plan(model, x, METHOD), rp.explain(model, x, [TARGET], [METHOD])
    tape = recorded(model, x)
    logit = float(explanation.outputs[0, TARGET])
    names = {tape.input: "x"} | {node.outputs[0]: f"v{k}" for k, node in enumerate(tape.nodes)}
    value = next(v for v in names if sum(v in node.inputs for node in tape.nodes) == 2)
    followed = [value in (*node.inputs, *node.outputs) for node in tape.nodes]
    with rc_context(STYLE):
        figure = Figure(figsize=(13.5, 3.9), layout="constrained", dpi=130)
        FigureCanvasAgg(figure)
        left, middle, right = figure.subplots(1, 3, width_ratios=[1.0, 1.25, 1.05])
        column(
            left,
            "record",
            "the model runs as it is; what it calls is written down",
            lines_of_record(tape.nodes, names),
            followed,
            down=True,
        )
        column(middle, "assign", f"{METHOD}: the rule of each call, and why", lines_of_plan(plan), followed, down=True)
        column(
            right,
            "walk",
            f"the logit's {logit:.3f} goes up to x; a value that two calls read adds up both",
            lines_of_walk(explanation.ledger[METHOD], len(tape.nodes)),
            followed,
            down=False,
        )
        for axes in (middle, right):
            axes.axvline(-0.01, color=FAINT, lw=0.8)
    return figure


def main() -> None:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/engine.png"), help="(%(default)s)")
    out = parser.parse_args().out
    draw().savefig(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
