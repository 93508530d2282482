"""Before relevance can be propagated: the checks of model and input, and the recorded pass made ready."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.composites.composite import Composite, opened_by
from relprop.ops.normalization import output_read, scale_and_shift
from relprop.ops.weighted import covers_its_input, pointwise
from relprop.record.acceptance import Model, check_model, failures_explained
from relprop.record.inputs import Inputs, inputs_of
from relprop.record.logits import Output, logits_of, rows_of
from relprop.record.recorder import Roots, record, undisturbed
from relprop.record.replay import Replay, replay
from relprop.record.unsupported import CONSTANT_CHANGED, FOREIGN, WRITE_THROUGH_VIEW, unsupported
from relprop.rules.layer import WEIGHTED, Kind
from relprop.support.errors import InputError
from relprop.tape.order import after
from relprop.tape.tape import Merged, Node, Tape, Value, receivers
from relprop.tape.torch_internals import version


def recorded(
    model: Model,
    x: Any,
    *,
    lean: bool = False,
    output: Output = None,
    roots: Roots | None = None,
    watch: Sequence[str] = (),
    composites: Collection[Composite] = (),
    check: bool = False,
) -> Tape:
    """Run the model, and make its tape ready to be walked: it holds the nodes that the outputs depend on.

    Args:
        model: as for `relprop.attribute`.
        x: pictures, (B, ...), or other `Inputs`.
        lean: whether what an in-place ReLU overwrote need not be kept (see `Value.rectified`).
        output: which of several outputs is meant.
        roots: finds what relevance starts from in what the model returned; None: its logits.
        watch: patterns of the modules whose outputs are wanted.
        composites: whose rules will go through it; some open gates.
        check: whether the record is replayed and compared with the model; that is done anyway where a constant came
            from where the record could not see.

    Raises:
        InputError: if model, x or logits are not fit to be explained.
        UnsupportedOp: if relevance cannot pass some op; it names all of them.
    """
    check_model(model)
    inputs = inputs_of(x)
    roots = roots or logits_alone(output, inputs.batch)
    with failures_explained(model, inputs):
        tape = record(model, inputs, roots, lean=lean, watch=watch)
    tape.nodes = tape.path_to_output()
    mark_reached(tape, composites)
    problems = [n for n in tape.nodes if n.problem and (n.reached or n.opened or not _in_gates(n))]
    if problems:
        raise unsupported(problems)
    demand_connected(tape)
    demand_logits(tape)
    if not all(value.owners.batch_first for value in tape.outputs):
        raise InputError("the rows of the logits are not the pictures in their order; explain one picture at a time")
    check_finite([value.data for value in tape.outputs])
    merge_batchnorms(tape.nodes, tape.outputs)
    mark_heads(tape.nodes)
    check_untouched(tape.nodes)
    on_path = set(tape.nodes)
    tape.doubts = [node for node in tape.doubts if node in on_path]
    if check or tape.doubts:
        demand_replay(tape, replay(tape, model, inputs, roots))
    return tape


def mark_reached(tape: Tape, composites: Collection[Composite]) -> None:
    """Find the nodes that relevance can come to, and for each composite whose rules open gates those beyond these."""
    reached = tape.reached()
    for node in tape.nodes:
        node.reached = node in reached
    for composite in composites:
        for node in _opened(tape, composite, reached) if composite.opens else ():
            node.opened |= {composite}


def _opened(tape: Tape, composite: Composite, reached: set[Node]) -> set[Node]:
    """What a composite comes to beyond all that is reached: what is opened may hold more that opens."""
    comes, more = reached, reached
    while more:
        comes = comes | more
        more = tape.reached(opened_by(composite, [node for node in tape.nodes if node in comes])) - comes
    return comes - reached


def _in_gates(node: Node) -> bool:
    """Whether a call that relevance cannot pass does no harm where none comes to it."""
    return node.kind == Kind.OPAQUE or node.op.gates


def logits_alone(output: Output, batch: int) -> Roots:
    """The logits are what relevance starts from."""
    return lambda returned, _: [rows_of(logits_of(returned, output), batch)]


def demand_logits(tape: Tape) -> None:
    """Refuse probabilities: where one is below a half, what spoke for the class would speak against it.

    Their logarithms are never positive: what speaks for a class would speak against it likewise.
    """
    source = tape.output.source
    if source is not None and len(tape.output.shape) == 2 and source.op.name in PROBABILITIES:
        source.problem = (
            "the model ends in it, so its outputs are probabilities or their logarithms, and relevance starts at "
            "logits; explain the model without its last op, such as model[:-1]"
        )
        raise unsupported([source])


PROBABILITIES = ("sigmoid", "hardsigmoid", "softmax", "log_softmax")
"""What gives probabilities, or their logarithms, where a model ends in it."""


def demand_connected(tape: Tape) -> None:
    """Refuse an output that does not depend on the input, or on nothing that relevance can come to."""
    given = set(tape.inputs)
    if given & set(tape.outputs):
        return
    if not any(given & set(node.inputs) for node in tape.nodes):
        raise unsupported([], ["the output: it does not depend on the input"])
    if any(value in given and takes for node in tape.nodes if node.reached for value, takes in _taken(node)):
        return
    ends = [node for node in tape.nodes if node.reached and not all(takes for _, takes in _taken(node))]
    places = ", ".join(dict.fromkeys(node.where for node in ends))
    raise unsupported(
        [], [f"the output: no relevance reaches the input, it stops at {places}; explain what stands after"]
    )


def _taken(node: Node) -> list[tuple[Value, bool]]:
    return list(zip(node.inputs, receivers(node), strict=True))


def demand_replay(tape: Tape, found: Replay) -> None:
    """Refuse a record that is not the model.

    Raises:
        UnsupportedOp: what the record gives is not what the model gives.
    """
    if found.ok:
        return
    worst = max(found.on_input, found.on_noise)
    if tape.doubts:
        for node in tape.doubts:
            node.problem = FOREIGN.format(worst)
        raise unsupported(tape.doubts)
    if found.on_input > found.bound:
        cause = "weights that are changed during the call and restored, or a model that answers differently each time"
    else:
        cause = "numbers that come from the input past the record, or a decision that a little noise turns"
    raise unsupported([], [f"the model: its record, run again, is {worst:.2g} off what it gives itself: {cause}"])


def demand_known_gates(tape: Tape) -> None:
    """For rules that go through gates as well, such as Guided Backprop's.

    Raises:
        UnsupportedOp: a gate is made of an op without a rule.
    """
    problems = [node for node in tape.nodes if node.problem]
    if problems:
        raise unsupported(problems)


def roots_of(model: Model, inputs: Inputs, roots: Roots) -> list[Tensor]:
    """Run the model without a record, and give what relevance would start from.

    Raises:
        InputError: if model, x or logits are not fit to be explained.
    """
    check_model(model)
    with failures_explained(model, inputs), undisturbed(inputs.device):
        found = list(roots(inputs.call(model), contextlib.nullcontext()))
    check_finite(found)
    return found


def check_finite(roots: Sequence[Tensor]) -> None:
    """Refuse logits that say nothing."""
    if not all(bool(torch.isfinite(root).all()) for root in roots):
        raise InputError("the model's logits are not all finite (NaN or infinite), so there is nothing to explain")


def merge_batchnorms(nodes: Sequence[Node], roots: Sequence[Value]) -> None:
    """Let the rules see a weighted op and the BatchNorm that alone reads its output as one layer.

    Where relevance starts at that output, or a function of the output reads it, the two stay apart.
    """
    readers: dict[Value, list[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    for node in nodes:
        if not node.op.merges(node):
            continue
        read = output_read(node)
        layer = read[-1].source
        if layer is not None and all(len(readers[v]) == 1 and v not in roots for v in read):
            layer.merged = Merged(*scale_and_shift(node), node.outputs[0])
            node.into = layer


def mark_heads(nodes: Sequence[Node]) -> None:
    """Fully connected: linear ops, convolutions that cover their input, a 1x1 convolution that is the last."""
    weighted = {node for node in nodes if node.kind in WEIGHTED and (node.reached or node.opened)}
    left = after(
        [node for node in nodes if node.reached], {node for node in weighted if node.reached and not node.beyond}
    )
    for node in weighted:
        node.head = node.kind == Kind.LINEAR or covers_its_input(node) or (left.get(node) == 0 and pointwise(node))


def check_untouched(nodes: Sequence[Node]) -> None:
    """Refuse values that were written to after they were recorded."""
    spoiled = []
    for node in nodes:
        values = [(v.data, v.version) for v in (*node.inputs, *node.outputs)]
        if any(version(t) != at for t, at in values):
            node.problem = WRITE_THROUGH_VIEW
        elif any(constant.changed for constant in node.constants):
            node.problem = CONSTANT_CHANGED
        if node.problem and not _in_gates(node):
            spoiled.append(node)
    if spoiled:
        raise unsupported(spoiled)
