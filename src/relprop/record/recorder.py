"""The interception: an unmodified model runs once, and every torch function it calls is written down.

A `TorchFunctionMode` sees each function before it runs; what the table knows becomes a node. Beneath it a
`TorchDispatchMode` sees every kernel: one that touches a recorded value outside of any recorded call means
that something went past the record, and that is an error (the audit).
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode, _push_mode

from relprop.ops import TABLE
from relprop.ops.normalization import merges
from relprop.ops.remedies import remedy
from relprop.ops.table import UNIT, Op
from relprop.support.errors import InputError, UnsupportedOp
from relprop.tape import owners as samples
from relprop.tape.tape import Node, Slot, Tape, Value, parameter_position
from relprop.tape.trees import float_tensors, mapped, tensors_of

WRITE_THROUGH_VIEW = (
    "a value that the record holds was overwritten through a view, or by something outside of the record; "
    "write that step without in-place, or on a clone"
)
PAST_THE_RECORD = (
    "an argument shares its memory with a value that the record holds, and came here by a way that no record sees "
    "(nn.Parameter(y), as_subclass, DLPack, y.data = ...); use the value itself, or y.detach()"
)
REMADE = frozenset({"conv", "linear", "norm", "add"})
"""Kinds of op that make their output again from their inputs, should relevance need what was overwritten."""

INPLACE_DUNDERS = frozenset({"__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__"})


def record(model: Callable[[Tensor], Any], x: Tensor, *, lean: bool = False) -> Tape:
    """Run the model on x, (B, ...), and return what it did.

    Raises:
        UnsupportedOp: if something went past the record.
        InputError: if the output is not a (B, C) tensor.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(undisturbed(x.device))
        x = x.detach().as_subclass(Tensor).clone()
        recorder = Recorder(x, lean=lean)
        stack.enter_context(recorder.paths_of(model))
        stack.enter_context(_Audit(recorder))
        stack.enter_context(recorder)
        output = model(x)
    return recorder.tape(output)


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
    """Writes down every torch function that receives a recorded value."""

    def __init__(self, x: Tensor, *, lean: bool = False) -> None:
        super().__init__()
        self.lean = lean
        self.batch = x.shape[0]
        self.nodes: list[Node] = []
        self.escapes: list[Node] = []
        self.depth = 0
        self.path: list[str] = [""]
        self._known: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._sharing: dict[int, list[Value]] = defaultdict(list)
        self._stale: set[Value] = set()
        self._dropped: dict[Value, int] = {}
        self._let_go: dict[int, StorageWeakRef] = {}  # memory of dropped values, which the model may still hold
        self._uses: Counter[Value] = Counter()
        self.input = self._remember(x, samples.batch_first(self.batch, x.ndim))

    # -- what the two modes call ---------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        values: list[Value] = []
        places: list[Tensor] = []

        def slot(t: Tensor) -> Any:
            value = self.value_of(t)
            if value is None:
                return t
            values.append(value)
            places.append(t)
            return Slot(len(values) - 1)

        if self.depth:  # a kernel of a recorded call that came back through the dispatcher
            return func(*args, **kwargs)
        slotted_args, slotted_kwargs = mapped(Tensor, slot, (args, kwargs))
        op = TABLE.get(func) or Op(name_of(func), "opaque")
        if op.kind == "constant" and any(map(self.value_of, tensors_of((args[1:], kwargs.get("data"))))):
            op = Op(op.name, "opaque")  # y.new_tensor(z) takes more than the form of a value
        if not values:
            self._check_weighted(op, func, args, kwargs)
            return func(*args, **kwargs)
        with self.inside():
            if op.kind in UNIT or (op.form and self.value_of(args[0]) is None):
                return self._unit(op, func, values, args, kwargs)
            node = Node(len(self.nodes), op, func, self.path[-1], slotted_args, slotted_kwargs, tuple(values))
            self._check_versions(node, places)
            self._uses.update(set(values))
            return self._run(node, args, kwargs)

    def inside(self) -> _Inside:
        """Kernels that run in here belong to a recorded call."""
        return _Inside(self)

    def value_of(self, t: Tensor) -> Value | None:
        """The recorded value that a tensor holds now."""
        ref, value = self._known.get(id(t), (None, None))
        if ref is None or ref() is not t:
            return None
        if value is not None and value in self._dropped:
            self._take_back(value, t)
        return value

    def bypassed(self, func: Any, args: Any, kwargs: Any) -> None:
        """A kernel ran outside of every recorded call: if it touched a recorded value, that is a problem."""
        touched = [t for t in tensors_of((args, kwargs)) if self._recorded(t)]
        if touched:
            self._escape(
                Op(str(func), "opaque"),
                func,
                touched,
                "a kernel ran on a recorded value without passing a torch function (a C++ extension?), so "
                "its relevance cannot be followed; write it with torch functions, or in Python",
            )

    # -- one call ------------------------------------------------------------------------------------

    def _run(self, node: Node, args: Any, kwargs: Any) -> Any:
        target = self._written(node, args, kwargs)
        rectified = target is not None and self._rectifies(node, target)
        kept = {} if target is None or rectified else self._keep(node, target)
        node.constants = tuple((t, version(t)) for t in tensors_of((node.args, node.kwargs)))
        if any(self._recorded(t) for t, _ in node.constants):
            node.problem = PAST_THE_RECORD
        given = tensors_of((args, kwargs))
        before = [version(t) for t in given]
        result = node.op.run(node, args, kwargs) if node.op.run else node.func(*args, **kwargs)
        if rectified:
            node.inplace = True
            node.inputs[0].rectified, node.inputs[0].version = True, version(node.inputs[0].data)
            self._stale.add(node.inputs[0])
        elif target is not None:
            node.inplace = True
            self._protect(node, target, kept)
        elif before != [version(t) for t in given]:
            node.problem = "it writes into its arguments, which the record did not expect"
        outputs = [target] if target is not None and result is None else tensors_of(result)
        floats = float_tensors(outputs)
        node.problem = node.problem or self._problem(node, outputs, floats)
        self._finish(node, floats or outputs)
        if self.lean and not node.problem and merges(node) and self._uses[node.inputs[0]] == 1:
            self._drop(node.inputs[0])
        return result

    def _problem(self, node: Node, outputs: list[Tensor], floats: list[Tensor]) -> str:
        """Why relevance could not pass a call, "" if it can."""
        if node.op.kind == "opaque":
            return remedy(node.op.name)
        if any(t.is_inference() for t in outputs):
            return "it ran in inference mode, where writes into values cannot be seen; use torch.no_grad() there"
        if not floats:
            return "it turns the value into whole numbers, through which no relevance can pass"
        return (node.op.refuse(node) if node.op.refuse else None) or ""

    def _finish(self, node: Node, floats: list[Tensor]) -> None:
        try:
            obscure = bool(node.problem) or any(v.obscure for v in node.inputs)
            maps = [self._blank(t) for t in floats] if obscure else samples.through(node, floats, self.batch)
        except samples.MixesPictures:
            node.problem = "it mixes the pictures of a batch; explain one picture at a time"
            maps, obscure = [self._blank(t) for t in floats], True
        nonneg = not node.problem and node.op.positive(node)
        seen = node.op.kind in ("conv", "linear") or any(v.seen for v in node.inputs)
        made = []
        for t, owners in zip(floats, maps, strict=True):
            value = self._remember(t, owners)
            value.nonneg, value.source, value.seen, value.obscure = nonneg, node, seen, obscure
            made.append(value)
        node.outputs = tuple(made)
        self.nodes.append(node)

    def _unit(self, op: Op, func: Any, values: list[Value], args: Any, kwargs: Any) -> Any:
        """A call that yields no value of ours: a getter, a constant, or numbers that leave torch."""
        result = func(*args, **kwargs)
        if op.kind == "escape":
            self._escape(op, func, [v.data for v in values], remedy(op.name))
        elif op.kind == "getter":
            floats = float_tensors(result)
            if floats:
                node = Node(len(self.nodes), op, func, self.path[-1], (), {}, tuple(values))
                node.problem = f"{op.name} gave a tensor of numbers, through which relevance cannot be followed"
                self._finish(node, floats)
        return result

    # -- values --------------------------------------------------------------------------------------

    def _remember(self, t: Tensor, owners: Tensor) -> Value:
        """From now on this tensor holds a new value."""
        value = Value(t.detach(), version(t), owners)
        self._known[id(t)] = (weakref.ref(t), value)
        self._sharing[storage(t)].append(value)
        return value

    def _drop(self, value: Value) -> None:
        """Hold a value's numbers no longer: the rules will see the BatchNorm that read it as part of its layer."""
        self._sharing[storage(value.data)].remove(value)
        self._let_go[storage(value.data)] = StorageWeakRef(value.data.untyped_storage())
        self._dropped[value], value.version = value.version, 0
        value.data = value.data.new_empty(0)

    def _take_back(self, value: Value, t: Tensor) -> None:
        """Somebody else reads it after all, and so its tensor is still there."""
        with self.inside():
            value.data, value.version = t.detach(), self._dropped.pop(value)
        self._sharing[storage(t)].append(value)

    def _recorded(self, t: Tensor) -> bool:
        if t.numel() == 0:
            return False
        gone = self._let_go.get(storage(t))
        return bool(self._sharing.get(storage(t))) or (gone is not None and not gone.expired())

    def _blank(self, t: Tensor) -> Tensor:
        return samples.nobody(t.ndim)

    def _written(self, node: Node, args: Any, kwargs: Any) -> Tensor | None:
        """The tensor that the call will write into."""
        name = name_of(node.func)
        position = parameter_position(node.func, "inplace")
        flag = kwargs.get("inplace", args[position] if position is not None and position < len(args) else False)
        writes = flag is True or name in INPLACE_DUNDERS or (name.endswith("_") and not name.endswith("__"))
        return args[0] if writes and args and isinstance(args[0], Tensor) else None

    def _rectifies(self, node: Node, target: Tensor) -> bool:
        """Whether a call is a ReLU that overwrites what it alone reads, and that can be made again from its inputs.

        No copy is kept then: where the ReLU gives 0, relevance is 0 under nearly all rules, whatever stood there.
        """
        value = self.value_of(target)
        return (
            self.lean
            and node.op.name == "relu"
            and value is not None
            and value.source is not None
            and value.source.kind in REMADE
            and not (value.source.inplace and value.source.kind != "add")
            and self._uses[value] == 1
            and self._sharing[storage(target)] == [value]
        )

    def _keep(self, node: Node, target: Tensor) -> dict[Value, Tensor]:
        """Copies of the recorded values that a write into `target` may change."""
        sharing = self._sharing[storage(target)]
        if not sharing and target._base is not None:  # noqa: SLF001
            node.problem = "it writes through a view of a tensor that the record does not know"
        if self.value_of(target) is None:  # a constant that recorded values are written into
            node.args = (target.clone(), *node.args[1:])
        kept: dict[Value, Tensor] = {}
        copies: dict[Any, Tensor] = {}
        for value in sharing:
            place = (value.data.data_ptr(), value.shape, value.data.stride())
            if place not in copies:
                copies[place] = value.data.clone()
            kept[value] = copies[place]
        return kept

    def _protect(self, node: Node, target: Tensor, kept: dict[Value, Tensor]) -> None:
        """Give the earlier nodes the copies of what was overwritten, and know whose tensor is stale now."""
        current = self.value_of(target)
        chain = self._views_up_to(current)
        for value, copy in kept.items():
            if value is not current and torch.equal(copy, value.data):
                value.version = version(value.data)
                continue
            excused = value is current or value in chain or value.rectified  # what a ReLU made of it is checked itself
            if not excused and target._base is not None:  # noqa: SLF001
                self._escape(node.op, node.func, [copy], WRITE_THROUGH_VIEW)
            value.data, value.version = copy, version(copy)
            self._stale.add(value)
            self._sharing[storage(target)].remove(value)

    def _views_up_to(self, value: Value | None) -> set[Value]:
        """The values that a tensor is a view of and that nothing else has used: a write concerns no one."""
        chain: set[Value] = set()
        while value is not None and value.source is not None and value.source.kind == "move":
            value = value.source.inputs[0]
            if self._uses[value] > 1:
                break
            chain.add(value)
        return chain

    def _check_versions(self, node: Node, places: list[Tensor]) -> None:
        for value, t in zip(node.inputs, places, strict=True):
            if not self._current(value, t):
                node.problem = WRITE_THROUGH_VIEW

    def _current(self, value: Value, t: Tensor) -> bool:
        """Whether a tensor still holds the numbers of its value, at the same place."""
        return value not in self._stale and version(t) == value.version and t.data_ptr() == value.data.data_ptr()

    def _check_weighted(self, op: Op, func: Any, args: Any, kwargs: Any) -> None:
        """A weighted op on an unknown input: relevance that should arrive at the picture would not."""
        given = args or [kwargs[name] for name in ("input", "x") if name in kwargs]
        tensors = [t for t in given[:2] if isinstance(t, Tensor)]
        if op.kind in ("conv", "linear") and tensors and not isinstance(tensors[0], nn.Parameter):
            problem = (
                "its input does not come from the explained input by any recorded op (a trip through NumPy, "
                "another thread, a C++ extension?), so relevance cannot arrive"
            )
            self._escape(op, func, tensors[:1], problem)

    def _escape(self, op: Op, func: Any, tensors: list[Tensor], problem: str) -> None:
        with self.inside():
            held = tuple(Value(t.detach(), version(t), self._blank(t)) for t in tensors)
        self.escapes.append(Node(-1, op, func, self.path[-1], (), {}, held, problem=problem))

    # -- module paths --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def paths_of(self, model: Any) -> Iterator[None]:
        """Know the path of the module that runs, by PyTorch's global hooks, in this thread alone."""
        names = {m: n for n, m in model.named_modules()} if isinstance(model, nn.Module) else {}
        thread = threading.get_ident()

        def enter(module: nn.Module, _: Any) -> None:
            if threading.get_ident() == thread:
                self.path.append(names.get(module, self.path[-1]))

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            if threading.get_ident() == thread and len(self.path) > 1:
                self.path.pop()

        handles = [
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    # -- the end -------------------------------------------------------------------------------------

    def tape(self, result: Any) -> Tape:
        """What was recorded, checked."""
        output = logits_of(result)
        value = self.value_of(output)
        if value is None or not self._current(value, output):
            raise unsupported(self.escapes, ["the output: no recorded op made it from the input"])
        if self.escapes:
            raise unsupported(self.escapes)
        check_logits(output, self.batch)
        return Tape(self.nodes, self.input, value, self.batch)


class _Inside:
    """While a recorded call runs the audit has nothing to see, and steps aside: seeing every kernel takes time."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.audit: TorchDispatchMode | None = None

    def __enter__(self) -> None:
        self.recorder.depth += 1
        if isinstance(_get_current_dispatch_mode(), _Audit):
            self.audit = _pop_mode()

    def __exit__(self, *_: object) -> None:
        if self.audit is not None:
            _push_mode(self.audit)
        self.recorder.depth -= 1


class _Audit(TorchDispatchMode):
    """Sees every kernel."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Hide from torch.compile? That would import the compiler, for seconds; compiled models are refused."""
        return False

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.recorder.depth:
            self.recorder.bypassed(func, args, kwargs)
        with self.recorder.inside():
            return func(*args, **(kwargs or {}))


def logits_of(result: Any) -> Tensor:
    """The logits in what a model returned.

    Args:
        result: a tensor; an object or a mapping with ``logits``; or a tuple or list, of which the first tensor of
            numbers with two dimensions is meant, as in (logits, features) or (loss, logits).

    Raises:
        InputError: it is none of these; the message tells what came.
    """
    if isinstance(result, Tensor):
        return result
    named = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(named, Tensor):
        return named
    if isinstance(result, (tuple, list)):
        for item in result:
            if isinstance(item, Tensor) and item.ndim == 2 and item.is_floating_point():
                return item
    raise InputError(
        f"the model returned {_described(result)}, and a tensor of logits (or .logits, or a tuple that holds "
        f"a (B, classes) tensor) is needed; wrap the model so that it returns that"
    )


def _described(result: Any, deep: bool = True) -> str:
    """What something is: its type, a tensor's shape too, and of a collection what it holds."""
    kind = type(result).__name__
    if isinstance(result, Tensor):
        return f"{kind} {tuple(result.shape)}"
    if deep and isinstance(result, Mapping):
        return f"{kind} of {', '.join(f'{key}: {_described(value, False)}' for key, value in result.items())}"
    if deep and isinstance(result, (tuple, list)):
        return f"{kind} of {', '.join(_described(item, False) for item in result)}"
    return kind


def check_logits(output: Tensor, batch: int) -> None:
    """Refuse an output that is not one row of logits per picture."""
    if output.ndim != 2 or output.shape[0] != batch:
        raise InputError(
            f"the model's output has shape {tuple(output.shape)}, and one row of logits per picture, "
            f"({batch}, classes), is needed; wrap the model so that it returns that"
        )


def unsupported(nodes: Sequence[Node], more: Sequence[str] = ()) -> UnsupportedOp:
    """One error that names every op that relevance cannot pass; what is to be done is said once per op."""
    places: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        shapes = ", ".join(str(tuple(v.shape)) for v in node.inputs)
        place = f"in '{node.path}' on {shapes}" if node.path else f"in the model itself on {shapes}"
        places.setdefault((node.op.name, node.problem), []).append(place)
    lines = [f"  - {line}" for line in more]
    for (name, problem), found in places.items():
        lines.append(f"  - {name}: {problem}")
        lines += [f"      {place}" for place in dict.fromkeys(found)]
    return UnsupportedOp("relevance cannot pass\n" + "\n".join(lines))


def name_of(func: Any) -> str:
    """A function's name, for people."""
    name = getattr(func, "__name__", None) or str(func)
    owner = getattr(func, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name == "__get__" else str(name)


def version(t: Tensor) -> int:
    """How often a tensor was written to; tensors of inference mode do not count."""
    return -1 if t.is_inference() else t._version  # noqa: SLF001


def storage(t: Tensor) -> int:
    """The memory that a tensor and its views share."""
    return t.untyped_storage().data_ptr() if t.layout is torch.strided else 0
