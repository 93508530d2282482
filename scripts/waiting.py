"""How much of the time a loop over pictures waits for them: with 0, 1 and 2 processes that read ahead.

    python -m scripts.waiting

The network is a pause of as long as a GPU would take, which takes no core. Pictures are photographs in a tar shard in
memory; each arrives after a pause, as over a network. Both pauses are printed; nothing is written but the table.
"""

# ruff: noqa: INP001, T201 - beside scripts, and prints

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
from PIL import Image
from torch import nn

from relprop.data.geometry import warp
from relprop.data.packed import Packed
from relprop.data.preprocess import Preprocess
from relprop.data.webdataset import webdataset
from relprop.study.decoding import Decoder
from relprop.study.task import Task

SIZE = (500, 375)
PART = 25


@dataclass
class Late:
    """A data set whose pictures take some seconds to arrive."""

    data: Packed
    seconds: float

    def __getattr__(self, name: str) -> object:
        if name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> object:
        return self.data[index]

    def picture_sha256(self, index: int) -> str | None:
        """Wait, then read."""
        time.sleep(self.seconds)
        return self.data.picture_sha256(index)


def shard(number: int) -> str:
    """Write pictures into a shard in memory and return its address."""
    rng = np.random.default_rng(0)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for k in range(number):
            coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)  # as smooth as a photograph, and as small a file
            jpeg = io.BytesIO()
            Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=90)
            for name, data in ((f"{k:05}.jpg", jpeg.getvalue()), (f"{k:05}.cls", b"0")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    fsspec.filesystem("memory").pipe("/waiting.tar", sink.getvalue())
    return "memory:///waiting.tar"


def waited(data: Late, workers: int, seconds: float) -> tuple[float, float]:
    """Return the share of the time that was waited, and the pictures per second, from the second part on."""
    model = nn.Sequential()
    model.preprocess, model.classes = Preprocess(224, 224, (0.5,) * 3, (0.5,) * 3), ("0",)  # type: ignore[assignment]
    task = Task("waiting", data, model, "none", warp(224), {"0": (0,)}, ("uniform",), chunk=PART)  # type: ignore[arg-type]
    parts = list(task.parts().values())
    decoder = Decoder(task, workers, parts)
    waiting = 0.0
    for part in parts:
        if part.start == PART:  # processes have begun
            waiting, begin = 0.0, time.perf_counter()
        before = time.perf_counter()
        pictures = decoder.part(part)
        waiting += time.perf_counter() - before
        time.sleep(seconds * len(pictures))
    whole = time.perf_counter() - begin
    decoder.close()
    return waiting / whole, (len(data) - PART) / whole


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=200)
    options.add_argument("--latency", type=float, default=0.01, help="seconds until a picture arrives")
    options.add_argument("--network", type=float, default=0.02, help="seconds of the network for a picture")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = str(Path(cache))
        data = Late(webdataset(shard(given.pictures)), given.latency)
        print(f"latency {given.latency * 1e3:.0f} ms, network {given.network * 1e3:.0f} ms a picture")
        print("| processes | waited | pictures per second |\n|---|---|---|")
        for workers in (0, 1, 2):
            share, speed = waited(data, workers, given.network)
            print(f"| {workers} | {100 * share:.0f} % | {speed:.0f} |")


if __name__ == "__main__":
    main()
