"""The interception: an unmodified model runs once, and every torch function it calls is written down.

A `TorchFunctionMode` sees each function before it runs; what the table knows becomes a node. Beneath it the `audit`
sees every kernel: one that touches a recorded value outside of any recorded call means that something went past the
record, and that is an error.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relprop.ops.chains import begun_earlier
from relprop.ops.complex_numbers import begun_at_real, goes_through_complex
from relprop.ops.embedding import are_ids, carries_ids
from relprop.ops.normalization import output_read
from relprop.ops.remedies import NOTHING_FINITE, remedy
from relprop.ops.table import TABLE, op_of
from relprop.record.audit import Audit, Inside
from relprop.record.inputs import Inputs, demand_ids_looked_up, plain
from relprop.record.memory import Memory, name_of, versions, written_by
from relprop.record.module_outputs import ModuleOutputs
from relprop.record.module_paths import module_paths
from relprop.record.ownership import MixesPictures, owners_of_results
from relprop.record.provenance import DRAW, Provenance, random_states, slotted
from relprop.record.realness import real_parts
from relprop.record.unsupported import PAST_THE_RECORD, WRITE_THROUGH_VIEW, unsupported
from relprop.rules.layer import WEIGHTED, Kind
from relprop.tape.constants import Constant
from relprop.tape.owners import Owners, in_order, one_owner
from relprop.tape.tape import Derived, Node, Op, Slot, Tape, Value, unbounded
from relprop.tape.torch_internals import version
from relprop.tape.trees import float_tensors, tensors_of

LAYERS = WEIGHTED | {Kind.EMBEDDING, Kind.BILINEAR, Kind.ATTENTION}
"""What a constant that is added after it is no part of the input's normalisation: an embedding is linear, too, and
scores of the input's own numbers are none of them."""

NO_NODES = frozenset({Kind.GETTER, Kind.CONSTANT, Kind.ESCAPE})
"""Kinds of call that yield no value of ours."""


Roots = Callable[[Any, contextlib.AbstractContextManager[None]], Sequence[Tensor]]
"""From what a model returned to what relevance starts from; within the context that it gets nothing is recorded."""


def record(
    model: Callable[..., Any], inputs: Inputs, roots: Roots, *, lean: bool = False, watch: Sequence[str] = ()
) -> Tape:
    """Run the model on its inputs, find the roots in what it returned, and give what was done.

    Args:
        model: any callable.
        inputs: its arguments.
        roots: what relevance will start from; they are recorded like the model.
        lean: whether what an in-place ReLU overwrote need not be kept (see `Value.rectified`).
        watch: patterns of the modules whose outputs are wanted, as `Tape.places`.

    Raises:
        UnsupportedOp: if something went past the record, or random numbers were drawn.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(undisturbed(inputs.device))
        provenance = Provenance()
        places = ModuleOutputs(watch)
        running = stack.enter_context(module_paths(model, provenance.module_runs, places.left if watch else None))
        given = [plain(t) for t in inputs.tensors]
        arguments = inputs.arguments(given)
        recorder = Recorder(given, inputs.embedded, running, provenance, lean=lean)
        places.value_of = recorder.memory.value_of
        for constant in tensors_of(arguments):
            provenance.know(constant)
        before = random_states(inputs.device)
        stack.enter_context(Audit(recorder.inside, recorder.bypassed))
        stack.enter_context(recorder)
        returned = inputs.call_with(model, arguments)
        running[:], recorder.beyond = ["target"], True
        outputs = list(roots(returned, recorder.inside))
    if not all(map(torch.equal, random_states(inputs.device), before)):
        problems = [node for node in recorder.nodes if node.problem]
        raise unsupported(
            problems, [DRAWS.format(", ".join(dict.fromkeys(provenance.draws)) or "a function of its own")]
        )
    demand_ids_looked_up(inputs, recorder.inputs, recorder.nodes)
    tape = recorder.tape(outputs)
    tape.places = places.found
    return tape


DRAWS = (
    "{}: the model draws random numbers in eval mode, so that each call explains another function; switch that off, or "
    "draw them once and pass them as a constant"
)


@contextlib.contextmanager
def undisturbed(device: torch.device, *, gradients: bool = False) -> Iterator[None]:
    """Leave the caller's inference mode and autocast; with or without gradients."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        for kind in {device.type, "cpu"}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


class Recorder(TorchFunctionMode):
    """Writes down every torch function that receives a recorded value.

    Args:
        given: the tensors that are explained.
        embedded: for each whether it is what an embedding gave.
        running: the paths of the modules that run now, the innermost last.
        provenance: what is known of where constants come from.
        lean: as for `record`.
    """

    def __init__(
        self,
        given: Sequence[Tensor],
        embedded: Sequence[bool],
        running: list[str],
        provenance: Provenance,
        *,
        lean: bool = False,
    ) -> None:
        super().__init__()
        self.lean = lean
        self.beyond = False
        self.batch = given[0].shape[0]
        self.running = running
        self.provenance = provenance
        self.doubts: list[Node] = []
        self.nodes: list[Node] = []
        self.escapes: list[Node] = []
        self.inside = Inside()
        self.memory = Memory(self.inside)
        self.inputs = tuple(self.memory.remember(t, in_order(self.batch, t.ndim)) for t in given)
        for value, after in zip(self.inputs, embedded, strict=True):
            value.after_weighted = after

    # -- what the two modes call ---------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:  # a kernel of a recorded call that came back through the dispatcher
            return func(*args, **kwargs)
        holders: list[Tensor] = []

        def value_of(t: Tensor) -> Value | None:
            value = self.memory.value_of(t)
            if value is not None:
                holders.append(t)
            return value

        slotted_args, slotted_kwargs, values = slotted(args, kwargs, value_of)
        op = self._op(func, args, kwargs)
        op = op.of_two if op.of_two is not None and len(values) > 1 else op
        if op.name in DRAW:
            self.provenance.drew(op.name, self.running[-1])
        if not values:
            return self._without_values(func, args, kwargs)
        if any(map(are_ids, values)) and not carries_ids(op, func, values, args, kwargs):
            return self._of_whole_numbers(op, func, values, holders, args, kwargs)
        return self._recorded(op, func, values, holders, args, kwargs, (slotted_args, slotted_kwargs))

    def _recorded(
        self, op: Op, func: Any, values: tuple[Value, ...], holders: list[Tensor], args: Any, kwargs: Any, slots: Any
    ) -> Any:
        """A call that some recorded value goes into."""
        slotted_args, slotted_kwargs = slots
        if op.expand is not None:
            with self:  # the calls that it is made of are seen as if the model had made them
                made = op.expand(func, args, kwargs)
            if made is not NotImplemented:
                return made
        with self.inside:
            if op.kind in NO_NODES or (op.form and self.memory.value_of(args[0]) is None):
                return self._without_node(op, func, values, args, kwargs, slots)
            node = Node(len(self.nodes), op, func, self.running[-1], slotted_args, slotted_kwargs, values)
            node.beyond = self.beyond
            if not self.memory.can_be_read(func, args, values, holders):
                node.problem = WRITE_THROUGH_VIEW
            self.memory.uses.update(set(values))
            return self._run(node, args, kwargs)

    def _of_whole_numbers(
        self, op: Op, func: Any, values: tuple[Value, ...], holders: list[Tensor], args: Any, kwargs: Any
    ) -> Any:
        """A call that token ids go into as numbers, masks or indices: no relevance comes to them by this way."""
        ids = [(v, t) for v, t in zip(values, holders, strict=True) if are_ids(v)]
        for value, tensor in ids:
            self.provenance.derive(Derived(len(self.nodes), same, (Slot(0),), {}, (value,), (tensor,)))
        left = [t for t in holders if not any(t is one for _, one in ids)]

        def value_of(t: Tensor) -> Value | None:
            return self.memory.value_of(t) if any(t is one for one in left) else None

        slotted_args, slotted_kwargs, values = slotted(args, kwargs, value_of)
        if not values:
            with self.inside:
                return self._without_values(func, args, kwargs)
        return self._recorded(op, func, values, left, args, kwargs, (slotted_args, slotted_kwargs))

    def bypassed(self, func: Any, args: Any, kwargs: Any) -> None:
        """A kernel ran outside of every recorded call: if it touched a recorded value, that is a problem."""
        touched = [t for t in tensors_of((args, kwargs)) if self.memory.shares_memory(t)]
        if touched:
            self._escape(
                Op(str(func), Kind.OPAQUE),
                func,
                touched,
                "a kernel ran on a recorded value without passing a torch function (a C++ extension?), so "
                "its relevance cannot be followed; write it with torch functions, or in Python",
            )

    # -- one call ------------------------------------------------------------------------------------

    def _op(self, func: Any, args: Any, kwargs: Any) -> Op:
        """What the table says of a call."""
        op = op_of(func, args, kwargs) or Op(name_of(func), Kind.OPAQUE)
        more = tensors_of((args[1:], kwargs)) if op.kind == Kind.CONSTANT else []
        # y.new_tensor(z) and full_like(y, fill_value=z) take more than the form of a value
        takes_numbers = any(t is not (args[0] if args else None) and self.memory.value_of(t) is not None for t in more)
        return Op(op.name, Kind.OPAQUE) if takes_numbers else op

    def _run(self, node: Node, args: Any, kwargs: Any) -> Any:
        target = written_by(node, args, kwargs)
        rectified = self.lean and target is not None and self.memory.only_rectified(node, target)
        copies = {} if target is None or rectified else self._copies_before(node, target)
        node.constants = tuple(map(Constant.of, tensors_of((node.args, node.kwargs))))
        if any(self.memory.shares_memory(c.tensor) and not self._holds_ids(c.tensor) for c in node.constants):
            node.problem = PAST_THE_RECORD
        if not all(self.provenance.knows(c.tensor) for c in node.constants if c.tensor.is_floating_point()):
            self.doubts.append(node)
        given = tensors_of((args, kwargs))
        before = versions(given)
        result = node.op.run(node, args, kwargs) if node.op.run else node.func(*args, **kwargs)
        node.inplace = target is not None
        if rectified:
            self.memory.mark_rectified(node.inputs[0])
        elif target is not None:
            self.memory.protect(target, copies, lambda t: self._escape(node.op, node.func, [t], WRITE_THROUGH_VIEW))
        elif before != versions(given):
            node.problem = "it writes into its arguments, which the record did not expect"
        outputs = [target] if target is not None and result is None else tensors_of(result)
        floats = float_tensors(outputs)
        node.problem = node.problem or _problem(node, outputs, floats)
        self._finish(node, floats or outputs)
        _join(node)
        places = tuple(t for t in outputs if not t.is_floating_point())
        if floats and places:  # where a maximum or a sorted number stood: a replay finds it again
            again = functools.partial(whole_numbers_of, node.func)
            self.provenance.derive(Derived(len(self.nodes), again, node.args, node.kwargs, node.inputs, places))
        if self.lean and not node.problem and node.op.merges(node):
            read = output_read(node)
            if len(read) == 1 and self.memory.uses[read[0]] == 1:  # past a clone, its output may yet be read by others
                self.memory.drop(read[0])
        return result

    def _holds_ids(self, t: Tensor) -> bool:
        """Whether a tensor is token ids that were recorded."""
        return not t.is_floating_point() and self.memory.value_of(t) is not None

    def _copies_before(self, node: Node, target: Tensor) -> dict[Value, Tensor]:
        """Copies of what a call is about to overwrite."""
        if self.memory.writes_unknown(target):
            node.problem = "it writes through a view of a tensor that the record does not know"
        if self.memory.value_of(target) is None:  # a constant that recorded values are written into
            copy = target.clone()
            if self.provenance.knows(target):
                self.provenance.know(copy)
            node.args = (copy, *node.args[1:])
        return self.memory.copies_before(target)

    def _finish(self, node: Node, floats: list[Tensor]) -> None:
        """Enter the results of a call."""
        function = of_each_number(node, floats)
        obscure = (bool(node.problem) and not function) or any(v.obscure for v in node.inputs)
        owners = [self._unknown_owners(t) for t in floats]
        if not obscure:
            try:
                owners = owners_of_results(node, floats, self.batch)
            except MixesPictures:
                node.problem = "it mixes the pictures of a batch; explain one picture at a time"
                obscure = True
        low, high = node.op.bounds(node) if function or not node.problem else unbounded(node)
        after_weighted = node.op.kind in LAYERS or any(v.after_weighted for v in node.inputs)
        real = [None] * len(floats) if obscure else real_parts(node, floats)
        made = []
        for t, whose, where in zip(floats, owners, real, strict=True):
            value = self.memory.remember(t, whose)
            value.real = where
            value.low, value.high, value.source = low, high, node
            value.after_weighted, value.obscure = after_weighted, obscure
            made.append(value)
        node.outputs = tuple(made)
        self.nodes.append(node)

    def _without_values(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A call that no recorded value goes into."""
        result = func(*args, **kwargs)
        if self.provenance.depends((args, kwargs)):
            self.provenance.derive(Derived(len(self.nodes), func, args, kwargs, (), tuple(tensors_of(result))))
        else:
            self.provenance.made(name_of(func), args, kwargs, result)
        return result

    def _without_node(self, op: Op, func: Any, values: tuple[Value, ...], args: Any, kwargs: Any, slots: Any) -> Any:
        """A call that yields no value of ours: a getter, a constant, or numbers that leave torch."""
        result = func(*args, **kwargs)
        if op.kind == Kind.ESCAPE:
            self._escape(op, func, [v.data for v in values], remedy(op.name))
        elif op.kind == Kind.CONSTANT or op.form:
            for tensor in tensors_of(result):
                self.provenance.know(tensor)
        elif float_tensors(result):
            node = Node(len(self.nodes), op, func, self.running[-1], (), {}, values)
            node.problem = f"{op.name} gave a tensor of numbers, through which relevance cannot be followed"
            self._finish(node, float_tensors(result))
        else:
            self.provenance.derive(
                Derived(len(self.nodes), func, slots[0], slots[1], values, tuple(tensors_of(result)))
            )
        return result

    def _escape(self, op: Op, func: Any, tensors: list[Tensor], problem: str) -> None:
        with self.inside:
            held = tuple(Value(t.detach(), version(t), self._unknown_owners(t)) for t in tensors)
        self.escapes.append(Node(-1, op, func, self.running[-1], (), {}, held, problem=problem))

    def _unknown_owners(self, t: Tensor) -> Owners:
        return one_owner(t.ndim, self.batch)

    # -- the end -------------------------------------------------------------------------------------

    def tape(self, outputs: Sequence[Tensor]) -> Tape:
        """What was recorded, checked."""
        values = [self.memory.value_of(output) for output in outputs]
        for value, output in zip(values, outputs, strict=True):
            if value is None or not self.memory.is_current(value, output):
                raise unsupported(self.escapes, ["the output: no recorded op made it from the input"])
        if self.escapes:
            raise unsupported(self.escapes)
        derived = self.provenance.derived
        whole = list(self.nodes) if derived else []
        found = tuple(value for value in values if value is not None)
        return Tape(self.nodes, self.inputs, found, self.batch, self.doubts, derived, whole)


def whole_numbers_of(func: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
    """The whole numbers among the results of a call."""
    return [t for t in tensors_of(func(*args, **kwargs)) if not t.is_floating_point()]


def same(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def of_each_number(node: Node, results: list[Tensor]) -> bool:
    """Whether a call that relevance may have no way through is a known function of each number alone."""
    if node.func not in TABLE or len(node.inputs) != 1:
        return False
    return node.op.kind == Kind.OPAQUE or (node.op.gates and [t.shape for t in results] == [node.inputs[0].shape])


def _join(node: Node) -> None:
    """Let a call that has no rule by itself be one with those before it, where the two together have one."""
    if node.problem == NOTHING_FINITE:
        begun_earlier(node)
    elif goes_through_complex(node):
        begun_at_real(node)


def _problem(node: Node, outputs: list[Tensor], floats: list[Tensor]) -> str:
    """Why relevance could not pass a call, "" if it can."""
    if node.op.kind == Kind.OPAQUE:
        return remedy(node.op.name)
    if any(t.is_inference() for t in outputs):
        return "it ran in inference mode, where writes into values cannot be seen; use torch.no_grad() there"
    if not floats and any(value.data.is_floating_point() for value in node.inputs):
        return "it turns the value into whole numbers, through which no relevance can pass"
    return (node.op.refuse(node) if node.op.refuse else None) or ""
