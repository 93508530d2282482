"""One error that names everything relevance cannot pass."""

from __future__ import annotations

from collections.abc import Sequence

from relprop.support.errors import UnsupportedOp
from relprop.tape.tape import Node

WRITE_THROUGH_VIEW = (
    "a value that the record holds was overwritten through a view, or by something outside of the record; "
    "write that step without in-place, or on a clone"
)
CONSTANT_CHANGED = (
    "a weight or another constant was changed after it had been used (x.data = ..., x.data.copy_(...), through NumPy), "
    "so the numbers that ran are gone; make what is to be used a tensor of its own, as in F.conv2d(x, weight.sign())"
)
FOREIGN = (
    "one of its arguments was made by nothing that the record saw (a trip through NumPy, another thread, a C++ "
    "extension?), and it depends on the input: the record, run again, is {:.0%} off the model; write that step with "
    "torch functions, in the thread of the call"
)
PAST_THE_RECORD = (
    "an argument shares its memory with a value that the record holds, and came here by a way that no record sees "
    "(nn.Parameter(y), as_subclass, DLPack, y.data = ...); use the value itself, or y.detach()"
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
