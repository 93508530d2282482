"""Which network this is: a hash of its weights and of what it does with them.

For what was measured on a network or fitted to it: rows of a study, patterns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from relprop.support.source import functions_of, identity, plain, reached, writes

Part = str | bytes | memoryview

BESIDE = {*vars(nn.Module()), "preprocess", "classes", "patterns"}
"""Attributes that do not change what a network computes, or that are counted in another way."""


def weights_hash(model: Callable[..., Any]) -> str:
    """SHA-256 of a network: its numbers, its structure, and the code of its user.

    Counted are every parameter and buffer with its name, also those that are not saved; every module by its place, its
    class and what it says of itself (`extra_repr`); functions and hooks that it holds; and of classes that come with
    no library the source of their methods, and the numbers that they hold and their methods do not write. Of a plain
    function: its source, and the networks, tensors, numbers and functions that it reaches. Not counted: the file that
    a class is from, comments, formatting, what stands in lists, and code of libraries.

    Numbers of float64 that float32 holds exactly count as those: `model.double()` is the same network.
    """
    digest = hashlib.sha256()
    for part in _parts(model, set()):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape and numbers; of float64 that float32 holds exactly, as of float32."""
    return hashlib.sha256(f"{tuple(tensor.shape)}".encode() + bytes(_bytes(tensor))).hexdigest()


def _parts(thing: Any, seen: set[int]) -> Iterator[Part]:
    """What identifies something that may be a network, a tensor, a number, or hold some of these."""
    if isinstance(thing, Tensor):
        yield _bytes(thing)
    elif plain(thing):
        yield plain(thing)
    elif id(thing) not in seen:
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            yield from _of_module(thing, seen)
        elif isinstance(thing, (list, tuple, dict)):
            values = thing.values() if isinstance(thing, dict) else thing
            held = (value for value in values if isinstance(value, Tensor) or callable(value))
            yield from (part for value in held for part in _parts(value, seen))
        elif callable(thing):
            yield identity(thing)
            yield from _named(reached(thing), seen)


def _named(things: Iterator[tuple[str, Any]], seen: set[int]) -> Iterator[Part]:
    for name, thing in things:
        yield name
        yield from _parts(thing, seen)


def _of_module(model: nn.Module, seen: set[int]) -> Iterator[Part]:
    """Numbers first, then every module in its place."""
    numbers = {**model.state_dict(), **dict(model.named_buffers(remove_duplicate=False))}
    for name, tensor in numbers.items():
        yield name
        yield _bytes(tensor) if isinstance(tensor, Tensor) else repr(tensor)
    for path, module in model.named_modules(remove_duplicate=False):
        seen.add(id(module))
        yield f"{path}: {identity(type(module))}({_said(module)})"
        yield from _named(_held(module), seen)
        for function in functions_of(type(module)):
            yield from _named(reached(function), seen)
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):  # noqa: SLF001 - torch's
            yield from _named(iter([("hook", hook)]), seen)


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes that change what a module computes, but are neither parameters, buffers nor modules."""
    own = functions_of(type(module))
    written = set().union(*map(writes, own))
    for name, value in sorted(vars(module).items()):
        if name in BESIDE or name in written or isinstance(value, type):
            continue
        if callable(value) or (own and (isinstance(value, (Tensor, list, dict)) or plain(value))):
            yield name, value
    if isinstance(module, torch.fx.GraphModule):
        yield "code", module.code


def _said(module: nn.Module) -> str:
    """What a module says of itself, without places in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", module.extra_repr())


def _bytes(tensor: Tensor) -> bytes | memoryview:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.float64 and torch.equal(tensor.float().double(), tensor):
        tensor = tensor.float()
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b""
