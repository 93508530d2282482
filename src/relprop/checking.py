"""The check: does the record of a model prove to be the model, and does the ledger close?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from relprop.catalogue.names import Method, resolve
from relprop.composites.composite import Composite
from relprop.composites.profiles import profile_named
from relprop.from_pictures import as_input
from relprop.planning import plan
from relprop.propagate import BEST_PRACTICE, explain
from relprop.record.acceptance import Model
from relprop.record.inputs import Of, inputs_of
from relprop.record.logits import Output
from relprop.record.prepare import recorded
from relprop.record.replay import Replay, replay
from relprop.support.errors import InputError, RelpropError, UnsupportedOp
from relprop.support.tables import columns, html_table
from relprop.tape.tape import Tape
from relprop.targets import Starts, Target
from relprop.walk.ledger import Ledger


@dataclass(frozen=True)
class OpUse:
    """What the calls of one op do with relevance.

    Attributes:
        op: its name.
        calls: how many calls the output depends on.
        rules: the rules they follow, or how relevance passes.
    """

    op: str
    calls: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """What `check` found; prints as a table.

    Attributes:
        method: whose ledger was looked at.
        replay: the record, run again, against the model; None where there is no record.
        ledger: the largest gap of an account, relative to the relevance that came to it; None where there is none.
        ops: what the ops do with relevance.
        refused: why the model cannot be explained, or which account does not close; "" where nothing is wrong.
        not_covered: what this check says nothing of.
    """

    method: str
    replay: Replay | None
    ledger: float | None
    ops: tuple[OpUse, ...]
    refused: str
    not_covered: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether maps of this model can be trusted to be what they say they are."""
        return self.replay is not None and self.replay.ok and not self.refused

    def _found(self) -> list[tuple[str, str]]:
        """What stands at the head."""
        found = [("verdict", "ok" if self.ok else "NOT ok"), ("method", self.method)]
        if self.replay is not None:
            found += [
                ("replay on x", _judged(self.replay.on_input, self.replay.bound)),
                ("replay on x + noise", _judged(self.replay.on_noise, self.replay.bound)),
            ]
        if self.ledger is not None:
            found.append(("ledger's largest gap", f"{self.ledger:.2g}{'  DOES NOT CLOSE' if self.refused else ''}"))
        return found

    def __str__(self) -> str:
        """The table."""
        lines = columns(self._found())
        uses = columns([(f"{use.calls:4d} x", use.op, ", ".join(use.rules)) for use in self.ops], indent=2)
        for title, told in (
            ("what ops do with relevance", uses),
            ("refused", [f"  {line}" for line in self.refused.splitlines()]),
            ("not covered", columns([(line,) for line in self.not_covered], indent=2)),
        ):
            lines += ["", f"{title}:", *told] if told else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the same in two tables."""
        head = html_table("", ("check", ""), self._found())
        ops = [(str(use.calls), use.op, ", ".join(use.rules)) for use in self.ops]
        told = [("refused", line) for line in self.refused.splitlines()] + [
            ("not covered", n) for n in self.not_covered
        ]
        return (
            head
            + (html_table("", ("", ""), told) if told else "")
            + (html_table("what ops do with relevance", ("calls", "op", "rules"), ops) if ops else "")
        )

    def __repr__(self) -> str:
        return f"Check({'ok' if self.ok else 'not ok'}: {len(self.ops)} ops, {self.method})"


def _judged(gap: float, bound: float) -> str:
    return f"{gap:.2g}{'' if gap <= bound else '  OFF THE MODEL'}"


def check(
    model: Model,
    x: Any,
    method: Method | None = None,
    *,
    target: Target = None,
    profile: str = "paper",
    output: Output = None,
    of: Of = None,
) -> Check:
    """Prove the record of a model on an input: run it again, and close the ledger.

    The record is replayed on x and on x plus a little noise and compared with what the model gives. That finds what no
    look at single calls can: weights that are swapped during the call, a branch that another thread computes, numbers
    that go through NumPy. A clean model differs by exactly 0. It costs one explanation and three more forward passes.

    Args:
        model: as for `attribute`.
        x: as for `attribute`.
        method: whose ledger is looked at: a name or a `Composite`; None: best practice, as for `attribute`.
        profile: numeric conventions, as for `attribute`.
        target: as for `attribute`.
        output: which of several outputs is meant.
        of: which of several inputs are explained.

    Returns:
        What was found; it raises nothing that can be said there.

    Raises:
        InputError: model, x or method are not what they must be.

    Example:
        >>> import torch, relprop as rp
        >>> rp.check(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), "lrp-epsilon").ok
        True
    """
    name = BEST_PRACTICE if method is None else method if isinstance(method, str) else "the composite"
    if method is not None and not isinstance(resolve(method, model, profile_named(profile)), Composite):
        raise InputError(f"{method!r} has no rules to check; name an LRP method or a Composite")
    try:
        inputs = inputs_of(as_input(model, x), of)
        roots = Starts([target], model, output, inputs).find
        tape = recorded(model, inputs, roots=roots)
        proof = replay(tape, model, inputs, roots)
        steps = plan(model, inputs, method, target=[target], profile=profile, output=output)
        named = None if method is None else {name: method}
        explanation = explain(model, inputs, [target], named, profile=profile, output=output)
    except UnsupportedOp as error:
        return Check(name, None, None, (), str(error), ())
    (name,) = explanation.relevance  # where none was named, the one that was chosen
    rules: dict[str, Counter[str]] = {}
    for step in steps:
        rules.setdefault(step.op, Counter())[step.rule] += 1
    ops = tuple(OpUse(op, sum(uses.values()), tuple(uses)) for op, uses in rules.items())
    ledger = explanation.ledger.get(name)
    if ledger is None:
        note = f"{name} does not conserve relevance, so there is no ledger to close"
        return Check(name, proof, None, ops, "", (note, *_unseen(tape)))
    return Check(name, proof, ledger.error, ops, _open_account(ledger), tuple(_unseen(tape)))


def _open_account(ledger: Ledger) -> str:
    """Which account does not close, or nothing."""
    try:
        ledger.demand_closed()
    except RelpropError as error:
        return str(error)
    return ""


def _unseen(tape: Tape) -> list[str]:
    """What the record holds and no rule looks at."""
    gates = sorted({node.where for node in tape.nodes if node.problem})
    return [f"what opens gates is taken as it is, here also by {', '.join(gates)}"] if gates else []
