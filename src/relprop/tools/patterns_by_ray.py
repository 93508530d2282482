"""Patterns fitted by processes of Ray: each counts blocks of pictures, and the blocks are put together here, in order.

Sums are several times as large as the network, so a block's go through a file beside the result, on the disk that all
machines share, and are gone when they have been added. They are added block by block in one order, and every process
begins with the same pictures, so who counted a block, and how often it was begun, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from relprop.catalogue.pattern_fit import Fitter
from relprop.data.pictures import PictureError
from relprop.study.ray_session import Crew
from relprop.study.spread import spread
from relprop.support.errors import InputError
from relprop.support.files import write_whole
from relprop.support.in_order import in_order

BATCHES = 32
"""Of a block. Its sums are written once: seconds for a large network, beside minutes of looking at its pictures."""

Reader = Callable[[Sequence[int]], tuple[Tensor | None, list[str]]]
"""From numbers of pictures to those that can be read, (B, 3, H, W), and why others cannot."""
Opened = Callable[[str], tuple[nn.Module, Reader, int]]
"""On a device: the network, what reads its pictures, and how many there are. It travels, so it is plain data."""


@dataclass(frozen=True)
class Counting:
    """What a process is to do: open the network, once, and count the blocks that it is handed.

    Attributes:
        opener: opens network and pictures.
        estimator: as for `relprop.fit_patterns`.
        batch: pictures at once.
        folder: for the sums.
        device: where to compute.
    """

    opener: Opened
    estimator: str
    batch: int
    folder: Path
    device: str

    def __call__(self) -> Callable[[int], tuple[int, list[str]]]:
        """Open them, and return what counts a block; it tells how many pictures, and why not others."""
        fitter, reader, number = begun(self.opener, self.estimator, self.batch, self.device)

        def counted(block: int) -> tuple[int, list[str]]:
            sums, skipped = fitter.empty(), list[str]()
            for numbers in batches(blocks(number, self.batch)[block], self.batch):
                x, unread = reader(numbers)
                skipped += unread
                if x is not None:
                    sums.add(x.to(self.device))
            write_whole(self.folder / f"{block}.safetensors", packed(sums))
            return sums.samples, skipped

        return counted


def fitted(
    opener: Opened,
    estimator: str,
    batch: int,
    folder: Path,
    device: str,
    crew: Crew,
    progress: Callable[[int, int], None],
) -> tuple[Fitter, list[str]]:
    """Let processes of Ray count pictures in.

    Args:
        opener: opens network and pictures; here too, on the CPU.
        estimator: as for `relprop.fit_patterns`.
        batch: pictures at once.
        folder: an empty one, which all machines see.
        device: where processes compute.
        crew: who they are.
        progress: called with how many pictures are counted, or cannot be read, and how many there are.

    Returns:
        A fitter that has counted all of them, and why pictures cannot be read.

    Raises:
        PictureError: none of the first pictures can be read.
        SpreadError, InputError: as `relprop.study.spread.spread`.
    """
    fitter, _, number = begun(opener, estimator, batch, "cpu")
    progress(0, number)
    skipped: list[str] = []
    work = Counting(opener, estimator, batch, folder, device)
    with closing(spread(work, range(len(blocks(number, batch))), crew)) as found:
        for block, (samples, unread) in in_order(found):
            put(fitter, folder / f"{block}.safetensors", samples)
            skipped += unread
            progress(fitter.samples + len(skipped), number)
    return fitter, skipped


def begun(opener: Opened, estimator: str, batch: int, device: str) -> tuple[Fitter, Reader, int]:
    """A fitter that has seen the layers on the first pictures that can be read, and what was opened.

    Raises:
        PictureError: none can be read.
    """
    model, reader, number = opener(device)
    fitter, first = Fitter(model, estimator), ""
    for numbers in batches(range(number), batch):
        x, skipped = reader(numbers)
        if x is not None:
            fitter.begin(x.to(device))
            return fitter, reader, number
        first = first or skipped[0]
    raise PictureError(f"none of {number} pictures can be read; the first: {first}")


def blocks(number: int, batch: int) -> list[range]:
    """The numbers of the pictures of each block."""
    return list(batches(range(number), BATCHES * batch))


def batches(numbers: range, size: int) -> Iterator[range]:
    """So many at once."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def packed(fitter: Fitter) -> bytes:
    """Sums as a file's bytes."""
    from safetensors.torch import save  # noqa: PLC0415 - only who writes or reads a file needs it

    sums = {key: layer.totals for key, layer in fitter.sums.items()}
    return save({f"{key}/{name}": t.cpu().contiguous() for key, layer in sums.items() for name, t in layer.items()})


def put(fitter: Fitter, path: Path, samples: int) -> None:
    """Add a file's sums to a fitter's, layer by layer, and remove it.

    Raises:
        InputError: there are layers that the first pictures did not run through.
    """
    from safetensors import safe_open  # noqa: PLC0415 - likewise

    with safe_open(path, "pt") as file:
        more = sorted({name.rpartition("/")[0] for name in file.keys()} - fitter.sums.keys())  # noqa: SIM118 - no mapping
        if more:
            raise InputError(f"layer {more[0]} runs on some pictures and not on the first; fit without --ray")
        for key, layer in fitter.sums.items():
            layer.put({name: file.get_tensor(f"{key}/{name}") for name in layer.totals})
    fitter.samples += samples
    path.unlink()
