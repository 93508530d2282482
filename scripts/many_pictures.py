"""What a thousand pictures through ``relprop explain FOLDER`` cost beside their maps alone, and whether memory stays.

`python scripts/many_pictures.py` writes the pictures (embedded data, of which ten files are broken), explains them in
this one process, and prints the figures that `docs/folders.md` shows.
"""

# ruff: noqa: INP001, T201 - beside scripts, and prints

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pyarrow import compute, parquet

import relprop as rp
from relprop.commands import explain_pictures
from relprop.commands.requests import ExplainRequest
from relprop.data.clutter import Clutter
from relprop.data.pictures import open_picture
from relprop.support.errors import RelpropError

MIB = 2**20


def write(folder: Path, number: int, broken: int) -> None:
    """Write pictures into a hundred folders; the broken ones are cut short."""
    clutter = Clutter("test", "multi")
    for k in range(number):
        path = folder / f"{k % 100:02d}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(clutter[k].image).save(path)
        if k % (number // broken) == number // broken // 2:
            path.write_bytes(path.read_bytes()[:2000])


def resident() -> int:
    """Return the bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Watch(threading.Thread):
    """Notes memory every now and then, with how many maps there are by then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.seen, self.over = folder, [], threading.Event()

    def run(self) -> None:
        """Note until it is over."""
        while not self.over.wait(0.5):
            self.seen.append((sum(1 for _ in self.folder.rglob("*.png")), resident()))


def maps_alone(name: str, paths: list[Path], batch: int) -> tuple[float, float]:
    """Return the seconds, and those of the CPU, that maps of a picture take where pictures are already tensors."""
    model = rp.models.load(name)
    x = torch.stack([model.preprocess(open_picture(path)) for path in paths])
    rp.explain(model, x[:batch])
    wall, cpu = time.perf_counter(), time.process_time()
    for some in x.split(batch):
        rp.explain(model, some)
    return (time.perf_counter() - wall) / len(x), (time.process_time() - cpu) / len(x)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digits-deep")
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--broken", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "pictures", Path(place) / "out"
        write(folder, asked.number, asked.broken)
        whole = [path for path in sorted(folder.rglob("*.png")) if path.stat().st_size != 2000]
        alone, alone_cpu = maps_alone(asked.model, whole[: asked.number // 5], asked.batch)
        watch = Watch(out / "maps")
        watch.start()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            explain_pictures.run(
                ExplainRequest(pictures=(folder,), model=asked.model, out=out, batch=asked.batch, threads=1)
            )
        except RelpropError as error:
            print(f"error: {error}")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        watch.over.set()
        rows = parquet.read_table(out / "explained.parquet")
        problems = compute.sum(compute.is_valid(rows["problem"])).as_py()
        maps = sum(file.stat().st_size for file in (out / "maps").rglob("*.png"))
        page = (out / "explained.html").stat().st_size
    per, per_cpu = wall / asked.number, cpu / asked.number
    print(f"{asked.number} pictures, {asked.model}, one thread, batch {asked.batch}: {problems} told as broken")
    print(f"a picture: {1e3 * per:.1f} ms ({1e3 * per_cpu:.1f} of the CPU)")
    print(f"its map alone: {1e3 * alone:.1f} ms ({1e3 * alone_cpu:.1f} of the CPU)")
    print(f"in maps: {per / alone:.2f} ({per_cpu / alone_cpu:.2f} of the CPU)")
    print(f"page {page / MIB:.2f} MiB, maps {maps / MIB:.1f} MiB")
    done, memory = np.array(watch.seen).T
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        at = min(int(np.searchsorted(done, share * (asked.number - asked.broken))), len(done) - 1)
        print(f"memory after {done[at]} pictures: {memory[at] / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
