"""Tensors in nested arguments: torch's own trees are right for every container, and slow for the usual ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from relprop.tape.torch_internals import tree_leaves, tree_map_only

PLAIN = frozenset({int, float, bool, str, type(None), type(Ellipsis), slice, torch.dtype, torch.device, torch.layout})
"""Types that hold no tensor (slices are leaves to torch as well)."""


def mapped(kind: type, function: Callable[[Any], Any], tree: Any) -> Any:
    """The same arguments, with the function's result in the place of every instance of a kind."""
    if isinstance(tree, kind):
        return function(tree)
    container = type(tree)
    if container in PLAIN or (container is torch.nn.Parameter and not issubclass(kind, Tensor)):
        return tree
    if container is tuple or container is list:
        return container([mapped(kind, function, item) for item in tree])
    if container is dict:
        return {key: mapped(kind, function, item) for key, item in tree.items()}
    return tree_map_only(kind, function, tree)


def tensors_of(tree: Any) -> list[Tensor]:
    """The tensors in arguments or results, in order."""
    return list(_tensors(tree))


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
        return
    container = type(tree)
    if container in PLAIN:
        return
    if container is tuple or container is list:
        for item in tree:
            yield from _tensors(item)
    elif container is dict:
        for item in tree.values():
            yield from _tensors(item)
    else:
        yield from (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def float_tensors(tree: Any) -> list[Tensor]:
    """The floating-point tensors in what a function returned, in order."""
    return [leaf for leaf in _tensors(tree) if leaf.is_floating_point()]
