# ruff: noqa: INP001, S311, S603 - our own program is started, and killed at moments that need be no secret
"""One study by one process, by shards, by Ray, and by Ray while its processes are killed: the same bytes?

Run as ``python -m scripts.spread_study FOLDER``; ``--pictures 200 --kills 3`` is a small version. Killed are, at random
moments, a process that measures (SIGKILL), an actor (``ray.kill``), and the driver (SIGKILL; the command is then given
again). ``--efficiency`` measures, beside that, what two processes with a thread each gain on one with two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyarrow import parquet

from relprop.study.manifest import differences
from relprop.study.store import Store

WORDS = ("--model", "digits-shallow", "--method", "lrp-z,cmp-alpha2-flat,uniform", "--no-occlusion", "--json")
KINDS = ("worker", "actor", "driver")
SIGN = "RELPROP_KILL_AN_ACTOR"
"""Names a file that is there while an actor is to be killed from within."""


def command(out: Path, pictures: int, *more: str, driven: bool = False) -> list[str]:
    """A study's command line; `driven` kills an actor of its own when it is told to."""
    program = "scripts.spread_study" if driven else "relprop"
    how = ["--drive"] if driven else []
    return [sys.executable, "-m", program, *how, "study", *WORDS, "--limit", str(pictures), "--out", str(out), *more]


def measured(out: Path, pictures: int, *more: str, surroundings: Mapping[str, str] = {}) -> dict[str, Any]:
    """Measure to the end, and return what the command says, with the seconds that it took."""
    began = time.perf_counter()
    told = subprocess.run(
        command(out, pictures, *more), check=True, stdout=subprocess.PIPE, env=os.environ | dict(surroundings)
    )
    summary: dict[str, Any] = json.loads(told.stdout)
    return summary | {"took": time.perf_counter() - began}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a study's parts, and what it is a study of."""
    files = (folder / "run.json", *sorted((folder / "parts").rglob("*")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.is_file()}


def doubled(folder: Path) -> int:
    """How many rows are there more than once."""
    keys = ("image_index", "class_name", "method")
    files = sorted((folder / "parts").glob("*/rows.parquet"))
    rows = parquet.read_table(files, columns=list(keys)).to_pylist()
    return len(rows) - len({tuple(row[key] for key in keys) for row in rows})


# -- killing -----------------------------------------------------------------------------------------


def processes(ancestor: int, name: str) -> Iterator[int]:
    """Processes that come from another, whose command line begins with a name."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
    for pid in parents:
        line = pid
        while line in parents and line != ancestor:
            line = parents[line]
        if line == ancestor and _called(pid).startswith(name):
            yield pid


def _parent(place: Path) -> int:
    try:
        return int((place / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _called(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text()
    except OSError:
        return ""


def killed_now_and_then(out: Path, pictures: int, kills: int, seed: int) -> Counter[str]:
    """Measure by Ray, killing at random moments; return how often what was killed."""
    moments, done = random.Random(seed), Counter[str]()
    store, sign = Store(out), out.parent / "kill"
    kinds = [KINDS[k % len(KINDS)] for k in range(kills)]
    moments.shuffle(kinds)
    parts = (pictures + 49) // 50
    targets = sorted(moments.sample(range(parts - 2), kills))
    driver = _driver(out, pictures, sign)
    for kind, target in zip(kinds, targets, strict=True):
        while len(store.done()) < target or not list(processes(driver.pid, "ray::MapWorker")):
            assert driver.poll() is None, "the study ended before it could be killed often enough"
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 2))
        if kind == "driver":
            driver.kill()
            driver.wait()
            driver = _driver(out, pictures, sign)
        elif kind == "actor":
            sign.touch()
            while sign.exists():
                time.sleep(0.02)
        else:
            os.kill(moments.choice(list(processes(driver.pid, "ray::MapWorker"))), signal.SIGKILL)
        done[kind] += 1
        print(f"killed: {kind}, with {len(store.done())} of {parts} parts", file=sys.stderr)  # noqa: T201
    assert driver.wait() == 0, "the study failed"
    return done


def _driver(out: Path, pictures: int, sign: Path) -> subprocess.Popen[bytes]:
    words = command(out, pictures, "--ray", "--actors", "2", driven=True)
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ | {SIGN: str(sign)})


def drive(words: list[str]) -> None:
    """Run the command line; beside it, kill an actor whenever the sign is there."""
    from relprop.cli import main  # noqa: PLC0415 - the other side of this program has no need of it

    threading.Thread(target=_kill_when_told, args=(Path(os.environ[SIGN]),), daemon=True).start()
    sys.argv = ["relprop", *words]
    main()


def _kill_when_told(sign: Path) -> None:
    import ray  # noqa: PLC0415
    from ray._private import state, worker  # noqa: PLC0415 - Ray Data keeps its actors' handles to itself

    while True:
        time.sleep(0.02)
        if not (sign.exists() and ray.is_initialized()):
            continue
        alive = [
            key
            for key, actor in state.actors().items()
            if actor["State"] == "ALIVE" and actor["ActorClassName"].startswith("MapWorker")
        ]
        if alive:
            ray.kill(worker.global_worker.core_worker.get_actor_handle(ray.ActorID.from_hex(random.choice(alive))))
            sign.unlink()


# -- all of it ---------------------------------------------------------------------------------------


def compared(folder: Path, pictures: int, kills: int, seed: int) -> dict[str, Any]:
    """The same study in four ways; return which of them differ from the first, and what was killed."""
    one = folder / "one"
    measured(one, pictures, "--threads", "1")
    for shard in ("1/3", "2/3"):
        measured(folder / "shards", pictures, "--threads", "1", "--shard", shard)
    measured(folder / "shards", pictures, "--threads", "1", surroundings={"RANK": "2", "WORLD_SIZE": "3"})
    measured(folder / "ray", pictures, "--ray", "--actors", "2")
    done = killed_now_and_then(folder / "killed", pictures, kills, seed)
    whole = contents(one)
    ways = ("shards", "ray", "killed")
    return {
        "pictures": pictures,
        "files": len(whole),
        "bytes": sum(map(len, whole.values())),
        "identical": {way: contents(folder / way) == whole for way in ways},
        "doubled rows": {way: doubled(folder / way) for way in ("one", *ways)},
        "against the manifest": {way: differences(folder / way) for way in ways[1:]},
        "killed": dict(done),
    }


def efficiency(folder: Path, pictures: int) -> dict[str, Any]:
    """Two processes with one thread each beside one process with two, and one with one, on an idle machine."""
    ways = {
        "one process, one thread": ("--threads", "1"),
        "one process, two threads": ("--threads", "2"),
        "Ray, two processes, one thread each": ("--ray", "--actors", "2", "--threads", "1"),
    }
    found = {}
    for number, (way, words) in enumerate(ways.items()):
        told = measured(folder / f"way-{number}", pictures, *words)
        spent = sum(told["seconds"].values())
        found[way] = {
            "seconds": round(told["took"], 1),
            "of these measuring": round(spent / (2 if "--ray" in words else 1), 1),
            "outside of the network": told["overhead"],
        }
    return found


def main() -> None:
    """Do what the command line says, and print what was found."""
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the studies; empty, or not there yet")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--efficiency", action="store_true", help="only what two processes gain")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    told = (
        efficiency(given.folder, given.pictures)
        if given.efficiency
        else compared(given.folder, given.pictures, given.kills, given.seed)
    )
    print(json.dumps(told, indent=2))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
