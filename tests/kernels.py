"""What runs beneath the library: which kernels, how often, what they write, and how much memory they hold.

The engine's own mode, which looks for kernels that went past the record, steps aside while a recorded call runs; this
one stands outside of it and sees every kernel of a whole `rp.explain`.
"""

import weakref
from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PASSES = ("convolution", "convolution_backward", "mm", "addmm", "bmm")
"""Kernels that go through all weights of a layer, forward or backward: what an explanation's time is spent on."""

COPIES = ("clone", "cat", "stack", "_to_copy")


class Kernels(TorchDispatchMode):
    """Counts kernels while it is on.

    Attributes:
        calls: how often each ran, by name.
        written: how many numbers each gave that lie in memory of their own.
        held: the bytes that results lie in and that somebody holds still.
        peak: the most that it was.
    """

    @classmethod
    def _should_skip_dynamo(cls):
        """Hide from torch.compile? That would import the compiler, for seconds."""
        return False

    def __init__(self):
        super().__init__()
        self.calls, self.written = Counter(), Counter()
        self.held = self.peak = 0
        self._known = {}

    @property
    def passes(self):
        return sum(self.calls[name] for name in PASSES)

    @property
    def copied(self):
        """Numbers that were copied."""
        return sum(self.written[name] for name in COPIES)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for storage in storages((args, kwargs)):
            self._know(storage, 0)
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        for storage in storages(result):
            self.written[name] += self._know(storage, storage.nbytes()) // bytes_of_a_number(result)
        return result

    def _know(self, storage, size):
        """Enter memory that is new, and give its size; memory from before the mode was on has none."""
        key = storage._cdata
        if key in self._known:
            return 0

        def gone():
            self.held -= size
            del self._known[key]

        self._known[key] = weakref.finalize(storage, gone)
        self.held += size
        self.peak = max(self.peak, self.held)
        return size


def storages(tree):
    """The memory of the tensors in arguments or results."""
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and strided(leaf)]


def strided(tensor):
    return tensor.layout is torch.strided and not tensor.is_meta


def bytes_of_a_number(result):
    return next(leaf.element_size() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))


def kernels_of(call):
    """What runs beneath a call."""
    with Kernels() as kernels:
        call()
    return kernels
