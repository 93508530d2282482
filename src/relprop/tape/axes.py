"""Which axes a call puts together."""

from __future__ import annotations

from typing import Any

from relprop.tape.tape import Node

ELSEWHERE: dict[str, tuple[int, Any]] = {
    "kthvalue": (2, -1),
    "norm": (2, None),
    "matrix_norm": (2, (-2, -1)),
    "aminmax": (9, None),
    "mode": (1, -1),
}
"""Where the axis stands among the arguments, and its default, unless that is the first after the value, and all."""


def axes_of(node: Node, ndim: int) -> list[int]:
    """The axes along which a call puts the numbers of a value of `ndim` axes together, in order."""
    position, default = ELSEWHERE.get(node.op.name, (1, None))
    axes = node.argument("dim", position, default)
    if axes is None or isinstance(axes, bool) or (not isinstance(axes, int) and len(axes) == 0):
        return list(range(ndim))
    return sorted({axis % max(ndim, 1) for axis in ([axes] if isinstance(axes, int) else axes)} if ndim else ())
