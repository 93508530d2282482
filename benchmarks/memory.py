"""Peak memory of one contender, beyond weights and input.

On the CPU the kernel itself is asked: a fresh process notes its resident memory once everything is ready and
resets the high-water mark of it (`VmHWM`, by writing 5 to `/proc/self/clear_refs`), makes one run, and reads the
mark. That counts all that a user's machine must have, whoever allocated it: tensors, the scratch memory of the
convolutions, weights that a library keeps in changed form. A profiler would see PyTorch's tensors alone.

The process is forked from one that has imported everything and made the network, and has run no kernel, so that
no thread pool is lost in the fork. Before it notes its memory it warms the libraries up on another, tiny network:
code that is loaded on first use is then not counted, and what a library keeps per network is. The C library is
told to give every tensor of a MiB or more back as soon as it is freed: else its own habits decide which of the freed
ones count, and the same gradient takes 92 or 134 MiB.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import BASES, Call, UnavailableError, contenders
from benchmarks.networks import network, stage

ROOT = Path(__file__).resolve().parent.parent
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
LEFT_OUT = frozenset({"floor", "floor-four"})
"""Contenders whose memory says nothing: they hold what they recorded."""

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
"""glibc's: by itself it moves this threshold by what was freed before, and then keeps freed tensors or not."""


def available() -> bool:
    """Whether this system can tell: Linux can."""
    return CLEAR.exists() and STATUS.exists()


class Nursery:
    """The process that measurements are forked from."""

    def __init__(self, threads: int) -> None:
        # No BLAS of NumPy's may start threads before the forks.
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-m", "benchmarks.memory", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | quiet | ALLOCATOR,
        )

    def measure(self, name: str, batch: int, method: str, contender: str) -> dict[str, Any]:
        """Return peak and kept memory in bytes, or under "skipped" why there is none."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process that memory is measured in has no pipes")
        self.process.stdin.write(json.dumps([name, batch, method, contender]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that memory is measured in has ended; its error stands above")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def serve(threads: int) -> None:
    """Answer requests, one a line, until there are no more."""
    torch.set_num_threads(1)
    models: dict[str, torch.nn.Module] = {}
    for line in sys.stdin:
        name, batch, method, contender = json.loads(line)
        if name not in models:
            models = {name: network(name)}
        model = models[name]
        result = forked(lambda: measured(name, model, batch, method, contender, threads))  # noqa: B023 - called at once
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def forked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what work returns in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - the parent tells
                result = {"skipped": f"{type(error).__name__}: {error}"}
            os.write(writing, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    ended = f"the process was ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "no answer came"
    told: dict[str, Any] = json.loads(answer) if answer else {"skipped": ended}
    return told


def measured(
    name: str, model: torch.nn.Module, batch: int, method: str, contender: str, threads: int
) -> dict[str, Any]:
    """Return the memory of one run, after a warm-up on another network."""
    torch.set_num_threads(threads)
    ready = (BASES | contenders(method))[contender]
    small = stage("tiny", 2, network("tiny"), "cpu", torch.float32)
    with suppress(UnavailableError), ready(small, method) as call:
        call()
    it = stage(name, batch, model, "cpu", torch.float32)
    it.copy = False  # this process may change its model
    try:
        with ready(it, method) as call:
            return resident(call)
    except UnavailableError as reason:
        return {"skipped": str(reason)}


def resident(call: Call) -> dict[str, Any]:
    """Return by how many bytes the process grew in a call at most, and afterwards, when its result was dropped."""
    tidy()
    before = status("VmRSS")
    CLEAR.write_text("5")
    result = call()
    peak = status("VmHWM")
    del result
    tidy()
    return {"peak": max(peak - before, 0), "kept": max(status("VmRSS") - before, 0)}


def on_cuda(call: Call) -> dict[str, Any]:
    """Return the same for a GPU, whose allocator keeps count itself."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    del result
    gc.collect()
    return {"peak": peak - before, "kept": max(torch.cuda.memory_allocated() - before, 0)}


def tidy() -> None:
    """Give back what is free."""
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library that has no such call keeps it
        ctypes.CDLL(None).malloc_trim(0)


def status(what: str) -> int:
    """Return a line of /proc/self/status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


def free() -> int:
    """Return the bytes that the machine could still give; a great many where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 2**60
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 2**60)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
