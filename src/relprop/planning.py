"""The plan: which rule each op of a model gets and why, before any relevance moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relprop.catalogue.best import best_practice
from relprop.catalogue.names import Method, resolve
from relprop.composites.composite import Composite, assign
from relprop.composites.profiles import profile_named
from relprop.from_pictures import as_input
from relprop.record.acceptance import Model
from relprop.record.inputs import Of, inputs_of
from relprop.record.logits import Output
from relprop.record.prepare import recorded
from relprop.support.errors import InputError
from relprop.support.tables import counted, folded, html_table, text_table
from relprop.targets import Starts, Targets

if TYPE_CHECKING:
    from relprop.tape.tape import Node


@dataclass(frozen=True)
class Step:
    """One op of the plan.

    Attributes:
        index: place in the order of execution, from 0.
        path: module path.
        op: name of the op.
        shapes: shapes of its inputs and, last, its output.
        rule: the rule, as text.
        why: the selector that chose it, or why it is the default.
        head: whether the op is fully connected.
    """

    index: int
    path: str
    op: str
    shapes: tuple[tuple[int, ...], ...]
    rule: str
    why: str
    head: bool


@dataclass(frozen=True, repr=False)
class Plan:
    """The steps in order of execution; prints as a table."""

    method: str
    steps: tuple[Step, ...]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    def __str__(self) -> str:
        """The table."""
        return f"{folded(self.method)}\n\n{text_table(HEAD, [_cells(step) for step in self.steps])}"

    def __repr__(self) -> str:
        """Short: `print` and a notebook show the table."""
        return f"Plan({' '.join(self.method.split())}: {counted(len(self), 'op')})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        return html_table(" ".join(self.method.split()), HEAD, [_cells(step) for step in self.steps])

    def as_dicts(self) -> list[dict[str, Any]]:
        """The steps as plain data, for JSON."""
        return [asdict(step) for step in self.steps]


HEAD = ("#", "module", "op", "output", "rule", "why")


def _cells(step: Step) -> tuple[str, ...]:
    shape = " x ".join(map(str, step.shapes[-1]))
    op = f"{step.op} (fully connected)" if step.head and step.op != "linear" else step.op
    return str(step.index), step.path, op, shape, step.rule, step.why


def plan(
    model: Model,
    x: Any,
    method: Method | None = None,
    *,
    target: Targets = None,
    profile: str = "paper",
    start: str = "logit",
    output: Output = None,
    of: Of = None,
    check: bool = False,
) -> Plan:
    """Which rule each op of the model gets, and why.

    Args:
        model: as for `attribute`; it runs once.
        x: as for `attribute`; shape decides which convolutions are fully connected.
        method: a name or a `Composite`; None: best practice for what the model is made of.
        target: as for `explain`; a function's own ops stand in the plan, too.
        profile: numeric conventions.
        start: accepted as by `attribute`; the plan does not depend on it.
        output: which of several outputs is meant.
        of: which of several inputs are explained.
        check: whether the record is replayed and compared with the model, as by `attribute`.

    Raises:
        UnsupportedOp, RuleError, InputError: as `attribute` does.

    Example:
        >>> import torch, relprop as rp
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
        >>> steps = rp.plan(net, torch.zeros(1, 3, 8, 8), "cmp-alpha1")
        >>> [(step.op, step.rule) for step in steps if step.op in ("conv2d", "linear")]
        [('conv2d', 'AlphaBeta(alpha=1)'), ('linear', 'Epsilon(eps=1e-06)')]
    """
    del start
    conventions = profile_named(profile)
    composite = None if method is None else resolve(method, model, conventions)
    if composite is not None and not isinstance(composite, Composite):
        raise InputError(f"{method!r} has no rules to plan; name an LRP method or a Composite")
    inputs = inputs_of(as_input(model, x), of)
    known = [] if composite is None else [composite]
    roots = Starts(target, model, output, inputs).find
    nodes = recorded(model, inputs, roots=roots, composites=known, check=check).nodes
    title = method if isinstance(method, str) else repr(method)
    if composite is None:
        best = best_practice(nodes, inputs, model, conventions)
        title, composite = f"{best.name}: {best.why}", best.composite
    assigned = assign(composite, nodes, conventions)
    return Plan(
        title,
        tuple(_step(n, node, a.rule, a.why) for n, (node, a) in enumerate(zip(nodes, assigned, strict=True))),
    )


def _step(index: int, node: Node, rule: Any, why: str) -> Step:
    shapes = tuple(tuple(v.shape) for v in (*node.inputs, *node.outputs))
    return Step(index, node.path, node.op.name, shapes, str(rule), why, node.head)
