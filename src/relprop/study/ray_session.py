"""Ray, started for a while and kept quiet, or a cluster of it that is there already.

Ray is imported here alone, and only when it is asked for: it is the extra ``ray``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from relprop.support.errors import InputError

STORE = 200 << 20
"""Bytes for what processes of this machine hand each other: numbers of parts and a few figures of each."""

STARTS = 2
"""So often Ray is started here before that is given up."""
PATIENCE = 10.0
"""Seconds that a cluster has to answer."""
LOCAL = "local"
"""Ray's word for processes of this machine that are started for the work."""
SURROUNDINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing of ours is told to anybody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # processes run in this environment; none is built for them
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # of what its daemons report; Ray would print it to stdout, among our results
    "RAY_SCHEDULER_EVENTS": "0",
}
"""What Ray reads when it is imported, as far as the user's surroundings say nothing else."""


@dataclass(frozen=True)
class Crew:
    """Who works on parts.

    Attributes:
        address: of a cluster, as Ray has it: ``"auto"`` or ``"HOST:PORT"``; None: what RAY_ADDRESS says, or else
            processes on this machine, which are started for the work and ended with it.
        actors: how many processes; None: as many as there is room for.
        threads: CPU threads of each.
        gpu: whether each has a GPU of its own.
        tries: how often a part is begun at most: a process that dies over it costs one.
    """

    address: str | None = None
    actors: int | None = None
    threads: int = 1
    gpu: bool = False
    tries: int = 4

    def room(self, resources: Mapping[str, float]) -> int:
        """Return how many processes there are to be.

        Args:
            resources: what the cluster has, by Ray's names.

        Raises:
            InputError: there is not room for one.
        """
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if self.gpu and not gpus:
            raise InputError(
                "Ray finds no GPU here; leave --device out, or name a cluster with --address that has some"
            )
        if cores < self.cores:
            raise InputError(
                f"Ray has {cores} cores here, and each process wants {self.cores} threads; give fewer with --threads"
            )
        return self.actors or (min(cores, gpus) if self.gpu else cores // self.cores)

    @property
    def cores(self) -> int:
        """How many cores each process takes; beside a GPU one, whatever its threads."""
        return 1 if self.gpu else self.threads


@contextmanager
def session(crew: Crew) -> Iterator[Any]:
    """Give the block Ray, connected; what was started for it ends with it, however it ends.

    Ray that the caller has started already is used as it is.

    Raises:
        InputError: Ray is not installed, or there is no cluster where one was named.
    """
    ray = _imported()
    if ray.is_initialized():
        yield ray
        return
    with _descriptor_2_to_ourselves():
        try:
            _connect(ray, crew)
            yield ray
        finally:
            ray.shutdown()


def demand_ray(address: str | None = None) -> None:
    """Refuse, before any work, what Ray would be needed for.

    Raises:
        InputError: it is not installed; or nobody listens at the address, which Ray would try for minutes.
    """
    if find_spec("ray") is None:
        raise InputError("--ray needs Ray, which is not installed: pip install 'relprop[ray]'")
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if address and host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _not_there(address, error) from None


def _imported() -> Any:
    """Ray, which says nothing but in its files."""
    demand_ray()
    for name, value in SURROUNDINGS.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - seconds, and an extra
    import ray.data  # noqa: PLC0415

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    data = logging.getLogger("ray.data")
    for handler in list(data.handlers):
        if isinstance(handler, logging.StreamHandler):
            data.removeHandler(handler)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


def _connect(ray: Any, crew: Crew) -> None:
    address = crew.address or os.environ.get("RAY_ADDRESS") or LOCAL
    here: dict[str, Any] = {}
    if address == LOCAL:
        cores = max(cores_here(), (crew.actors or 1) * crew.cores)
        here = {"num_cpus": cores, "object_store_memory": STORE, "include_dashboard": False}
    try:
        _started(ray, STARTS if address == LOCAL else 1, address=address, **here)
    except Exception as error:  # noqa: BLE001 - what Ray raises where its own processes do not start has no type
        raise _not_there(address, error) from None


def _not_there(address: str, error: Exception) -> InputError:
    """What to say where Ray does not start, or a cluster does not answer."""
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if address == LOCAL:
        return InputError(f"Ray cannot be started here ({reason}); try again, or measure without --ray")
    return InputError(
        f"no Ray cluster answers at {address} ({reason}); start one (ray start --head), or leave --address out to work "
        "on this machine alone"
    )


def _started(ray: Any, times: int, **options: Any) -> None:
    """Start Ray, or connect; its own processes have half a minute, which on a busy machine may be too little."""
    for left in reversed(range(times)):
        try:
            with _end_as_before():
                ray.init(log_to_driver=False, configure_logging=False, **options)
        except Exception:
            if not left:
                raise
        else:
            return


def cores_here() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _end_as_before() -> Iterator[None]:
    """Keep what SIGTERM does, which Ray changes: it would have the process exit wherever it is."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _descriptor_2_to_ourselves() -> Iterator[None]:
    """Let only Python write to where stderr goes: the compiled part of Ray writes what is for its developers."""
    before = sys.stderr
    before.flush()
    kept = os.dup(2)
    if _descriptor_of(before) == 2:
        sys.stderr = os.fdopen(os.dup(kept), "w", 1, encoding=before.encoding, errors=before.errors)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


def _descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):  # a test's, or a notebook's
        return None
