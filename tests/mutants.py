"""Deliberate faults, one at a time, to see whether the fast tests notice: `python tests/mutants.py`.

The table is `tests/mutants.toml`: by room what is looked through for the texts, the fast tests of the room, and the
faults, each a name, a text, and what to write in its place: something that changes results, or what is accepted
silently. A fault is put into a copy of src/ by itself, and the room's tests run against that copy (first on the path)
until the first failure; a run in which another relprop was imported, an installed one for instance, does not count.
Tests that fail without any fault are left out, and named.

    python tests/mutants.py                    # all faults
    python tests/mutants.py --only walk        # those of a room; may be said more than once
    python tests/mutants.py gate signed        # those whose name holds one of the words
    python tests/mutants.py --tests test_a.py  # against this file of tests alone
    python tests/mutants.py --at-once 8        # more processes than two
    python tests/mutants.py --list             # the table; nothing is run
    PYTHONPATH=src python tests/mutants.py --at-once 14  # from a checkout alone, where relprop is not installed

What survives is a hole in the tests, or a fault that changes nothing; the latter stand in the table's `unseen` with the
reason. The exit code is 1 if another one survives, or if a text is not found exactly once. Pytest does not run this by
itself: it takes some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests" / "mutants.toml"
ENDLESS = 900
"""Seconds after which tests that run on a fault have noticed it: they would never end."""
QUIET = (
    "-q -n 0 -p no:cacheprovider -p no:unraisableexception -rfE -W ignore::pytest.PytestAssertRewriteWarning".split()
)
IMPORTED = (
    *("torch", "torchvision", "numpy", "pyarrow.parquet", "duckdb", "sklearn.metrics", "typer.testing", "PIL.Image"),
    *("anyio.pytest_plugin", "hypothesis.strategies", "xdist.plugin"),
)
"""What takes long to import, and is done once, before each fault gets a process of its own."""
KILLED, SURVIVED, UNSEEN = "killed", "SURVIVED", "unseen"
UNKNOWN, UNTRIED = "TEXT FOUND", "NOT TRIED"
ELSEWHERE = -1
"""The exit code of tests that ran on another relprop than the copy."""


@dataclass(frozen=True)
class Room:
    """A part of the source.

    Attributes:
        name: as `--only` calls it.
        sources: files and folders under src/relprop in which the texts of its faults are looked for.
        tests: files under tests/.
    """

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """A text that stands in a room, once, and the faulty one; and why no test can see it, "" where one can."""

    room: Room
    name: str
    old: str
    new: str
    unseen: str = ""


def table() -> list[Fault]:
    """All faults."""
    content = tomllib.loads(TABLE.read_text("utf-8"))
    unseen = content.pop("unseen")
    faults = []
    for name, entry in content.items():
        room = Room(name, tuple(entry["sources"]), tuple(entry["tests"]))
        faults += [Fault(room, title, old, new, unseen.pop(title, "")) for title, old, new in entry["faults"]]
    if unseen:
        raise SystemExit(f"unseen, and not in the table: {', '.join(unseen)}")
    return faults


def place_of(fault: Fault, package: Path) -> Path | str:
    """The file that holds the fault's text, or why it cannot be told."""
    paths: list[Path] = []
    for source in fault.room.sources:
        path = package / source
        paths += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    found = [(path, path.read_text("utf-8").count(fault.old)) for path in paths]
    times = sum(n for _, n in found)
    return next(path for path, n in found if n) if times == 1 else f"{UNKNOWN} {times} TIMES"


def tested(tests: tuple[str, ...], source: Path, *options: str) -> tuple[int, str]:
    """Run tests on a copy of src/, in this very process, which must not have imported any; exit code and print."""
    os.chdir(ROOT)
    os.environ |= {"PYTHONPATH": str(source), "COLUMNS": "400"}
    sys.path.insert(0, str(source))
    printed = io.StringIO()
    signal.alarm(ENDLESS)  # ends the process, which is then known to have noticed
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = int(pytest.main([*QUIET, "-m", "not slow", *options, *(f"tests/{test}" for test in tests)]))
    imported = getattr(sys.modules.get("relprop"), "__file__", None)
    if imported and not Path(imported).is_relative_to(source):
        return ELSEWHERE, f"relprop was imported from {imported}"
    return code, printed.getvalue()


def first_failure(printed: str) -> str:
    """The test that noticed, from what pytest printed."""
    found = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - .*)?$", printed, re.MULTILINE)
    return found[1] if found else printed.strip().splitlines()[-1][:100] if printed.strip() else "nothing was printed"


def verdict(fault: Fault, failing: list[str]) -> str:
    """Which test noticed a fault; or that it survived, or why that cannot be told."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        copytree(ROOT / "src", source)
        path = place_of(fault, source / "relprop")
        if isinstance(path, str):
            return path
        path.write_text(path.read_text("utf-8").replace(fault.old, fault.new), "utf-8")
        left_out = [f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in failing]
        code, printed = tested(fault.room.tests, source, "-x", *left_out)
    if code not in (0, 1, 2):  # failed, or not even collected
        return f"{UNTRIED}: {first_failure(printed)}"
    if code:
        return f"{KILLED} by {first_failure(printed)}"
    return f"{UNSEEN}: {fault.unseen}" if fault.unseen else SURVIVED


def failing_anyway(room: Room) -> list[str]:
    """The tests of a room that fail without any fault, and the files that lack a library."""
    code, printed = tested(room.tests, ROOT / "src", "--continue-on-collection-errors")
    if code not in (0, 1):
        raise RuntimeError(first_failure(printed))
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", printed, re.MULTILINE)


def each_alone(function: Any, arguments: Sequence[tuple[Any, ...]], at_once: int = 1) -> Iterator[Any]:
    """Call a function in a process of its own for each, some at a time.

    None where a process died or did not end; the error where the function raised one.
    """
    forks, waiting = multiprocessing.get_context("fork"), deque(arguments)
    running: deque[tuple[Any, Any]] = deque()
    while waiting or running:
        while waiting and sum(process.is_alive() for process, _ in running) < at_once:
            ours, theirs = forks.Pipe(duplex=False)
            process = forks.Process(target=_alone, args=(function, waiting.popleft(), theirs))
            process.start()
            theirs.close()
            running.append((process, ours))
        if not running[0][1].poll(0.2):
            continue
        process, ours = running.popleft()
        try:
            result = ours.recv()
        except EOFError:
            result = None
        process.join()
        yield result


def _alone(function: Any, arguments: tuple[Any, ...], pipe: Any) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - it says nothing of the fault, and is told
        result = RuntimeError(f"{type(error).__name__}: {error}")
    pipe.send(result)
    os._exit(0)  # whatever tests left behind


def chosen_from(faults: list[Fault], words: list[str], rooms: list[str]) -> list[Fault]:
    """Those of some rooms whose name holds one of the words."""
    known = {fault.room.name for fault in faults}
    for room in rooms:
        if room not in known:
            raise SystemExit(f"no room {room!r}: {', '.join(sorted(known))}")
    return [
        fault
        for fault in faults
        if (not rooms or fault.room.name in rooms) and (not words or any(word in fault.name for word in words))
    ]


def totals(said: list[str]) -> str:
    """How many faults ended how; not applicable are those whose text is not found once, or whose tests did not run."""
    kinds: dict[str, str | tuple[str, ...]]
    kinds = {"noticed": KILLED, "survived": SURVIVED, "unseen": UNSEEN, "not applicable": (UNKNOWN, UNTRIED)}
    counts = (f"{sum(what.startswith(kind) for what in said)} {name}" for name, kind in kinds.items())
    return ", ".join([f"{len(said)} faults", *counts])


def listed(faults: list[Fault]) -> int:
    """Print the table, and where each text stands; 1 if one is not found."""
    bad = 0
    for fault in faults:
        place = place_of(fault, ROOT / "src" / "relprop")
        bad += isinstance(place, str)
        where = place if isinstance(place, str) else str(place.relative_to(ROOT / "src" / "relprop"))
        print(f"{fault.room.name:11} {fault.name:55} {where:28} {fault.unseen and f'unseen: {fault.unseen}'}")
    print(f"{len(faults)} faults, {bad} whose text does not stand there once")
    return int(bad > 0)


def main() -> int:
    """Try every fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--only", action="append", default=[], metavar="ROOM", help="only faults of this room")
    parser.add_argument("--tests", action="append", metavar="FILE", help="run this file of tests/, not the room's")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="so many processes (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the table and run nothing")
    given = parser.parse_args()
    chosen = chosen_from(table(), given.words, given.only)
    if given.tests:
        chosen = [replace(fault, room=replace(fault.room, tests=tuple(given.tests))) for fault in chosen]
    if given.list:
        return listed(chosen)
    rooms = {fault.room.name: fault.room for fault in chosen}
    began = time.monotonic()
    said: list[str] = []
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes are what runs side by side
    for module in IMPORTED:
        with contextlib.suppress(ImportError):  # the tests that need it are left out
            importlib.import_module(module)
    gc.freeze()  # the garbage collector need not look at them in every process again
    for room in rooms.values():
        faults = [fault for fault in chosen if fault.room == room]
        (failing,) = each_alone(failing_anyway, [(room,)])
        if failing is None:
            raise SystemExit(f"{room.name}: its tests do not end by themselves, without any fault")
        if isinstance(failing, RuntimeError):
            raise SystemExit(f"{room.name}: its tests cannot be run: {failing}")
        print(*(f"{room.name:11} fails without any fault, left out: {test}\n" for test in failing), sep="", end="")
        results = each_alone(verdict, [(fault, failing) for fault in faults], given.at_once)
        for fault, what in zip(faults, results, strict=True):
            said.append(f"{UNTRIED}: {what}" if isinstance(what, RuntimeError) else what or f"{KILLED} by its end")
            print(f"{fault.room.name:11} {fault.name:55} {said[-1]}", flush=True)
    gc.unfreeze()
    print(f"{totals(said)}, {time.monotonic() - began:.0f} s")
    return int(any(what.startswith((SURVIVED, UNKNOWN, UNTRIED)) for what in said))


if __name__ == "__main__":
    sys.exit(main())
