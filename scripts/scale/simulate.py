"""How long a study would take on N workers, and what they would wait for: measured times, no network, any size.

    python -m scripts.scale.simulate                                   # 50,000 and 1.2 million pictures
    python -m scripts.scale.simulate --pictures 10000000 --chunk 10    # a million parts
    python -m scripts.scale.simulate --network 0.02                    # a GPU: 20 ms a picture

Parts are handed out as a study plans them (`Task.parts`, a shard a worker). A worker decodes, explains and measures a
part, then waits for the common disk, which writes one part after another. Afterwards one process puts the parts
together and reports.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import heapq
import itertools
import time
from dataclasses import dataclass, replace

from relprop.study.task import Task


@dataclass(frozen=True)
class Costs:
    """Seconds; the defaults are those of docs/scale.md.

    Attributes:
        network: of a picture on one worker, all methods: forward pass and maps.
        around: of a picture: decoding it, measuring its maps.
        write: of a part on the common disk, whoever writes it.
        begin: of a worker: libraries and the network, then hashes of annotations.
        hashing: of a picture, to know that it is the one that was measured; at a start that goes on.
        look: of a part that has files of its own, to read and check it.
        compact: of a part, to put it together with others.
        report: of a picture, on one core.
    """

    network: float = 2.0
    around: float = 0.035
    write: float = 0.02
    begin: float = 15.0
    hashing: float = 0.001
    look: float = 0.005
    compact: float = 0.0045
    report: float = 0.00033


def simulate(costs: Costs, pictures: int, chunk: int, workers: int) -> dict[str, float]:
    """Return the hours that a study takes, and the shares of them that workers wait for the disk or have nothing to do.

    Args:
        costs: what a step takes.
        pictures: how many.
        chunk: pictures a part.
        workers: how many processes.
    """
    shards = [iter(_planned(pictures, chunk, (k + 1, workers)).values()) for k in range(workers)]
    ready = [(costs.begin, k) for k in range(workers)]
    disk = waited = idle = end = 0.0
    stopped = []
    while ready:
        now, worker = heapq.heappop(ready)
        part = next(shards[worker], None)
        if part is None:
            stopped.append(now)
            continue
        computed = now + len(part) * (costs.network + costs.around)
        heapq.heappush(ready, (max(computed, disk) + costs.write, worker))
        waited += max(0.0, disk - computed)
        disk = max(computed, disk) + costs.write
    end = max(stopped)
    idle = sum(end - each for each in stopped)
    parts = -(-pictures // chunk)
    return {
        "hours": end / 3600,
        "waiting": waited / (end * workers),
        "idle": idle / (end * workers),
        "outside": costs.around / (costs.network + costs.around),
        "check again, minutes": (parts * costs.look + pictures * costs.hashing) / 60 / workers,
        "compact, minutes": parts * costs.compact / 60,
        "report, minutes": pictures * costs.report / 60,
    }


def _planned(pictures: int, chunk: int, shard: tuple[int, int]) -> dict[int, range]:
    """A shard's parts, by the planner of studies, which of a task looks at these two numbers alone."""
    task = object.__new__(Task)
    object.__setattr__(task, "data", range(pictures))
    object.__setattr__(task, "chunk", chunk)
    return task.parts(shard)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[50_000, 1_200_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--network", type=float, nargs="+", default=[2.0, 0.02])
    asked = parser.parse_args()
    start, heads = time.process_time(), None
    for pictures, network, workers in itertools.product(asked.pictures, asked.network, asked.workers):
        found = simulate(replace(Costs(), network=network), pictures, asked.chunk, workers)
        if heads is None:
            heads = ["pictures", "network, s", "workers", *found]
            print("| " + " | ".join(heads) + " |\n|" + "---:|" * len(heads))
        row = [f"{pictures:,}", f"{network:g}", f"{workers}", *(f"{value:.3g}" for value in found.values())]
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n{time.process_time() - start:.1f} s of one core")


if __name__ == "__main__":
    main()
