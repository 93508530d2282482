"""``relprop explain`` and ``compare`` of many pictures: the network is loaded once, and what is broken is passed over.

While the network works on a batch, a thread reads the pictures of the next one. Of each picture nothing is kept in
memory but its rows and its card, and those only until they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from relprop.commands.asked import Asked, Explained, opened
from relprop.commands.console import progress_bar, waiting
from relprop.commands.explain import about
from relprop.commands.named import OF_THE_SAMPLE, Named, named
from relprop.commands.picture_requests import PictureRequest
from relprop.commands.picture_results import Results
from relprop.commands.picture_table import table
from relprop.commands.preparation import in_words
from relprop.data.pictures import PictureError, open_picture
from relprop.plots.heatmaps import FORMATS
from relprop.support import user_code
from relprop.support.devices import Sender, Taken
from relprop.support.errors import RelpropError
from relprop.support.files import WriteError
from relprop.support.shrinking import Shrinking, out_of_memory, to_stderr
from relprop.support.tables import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

COARSE = 128
"""Maps with fewer pixels a side are shown with every pixel a square."""


def run(request: PictureRequest, highest: int, done: str) -> None:
    """Explain every picture that can be, write maps, page and table, and print how it went.

    Whatever ends it early, an error, Ctrl-C or SIGTERM: page and table of what is done are written all the same.

    Raises:
        RelpropError: nothing could be explained, for a reason that is the same for all pictures; or, when all is
            written, some pictures could not be.
    """
    folder = _folder(request, done)
    with waiting("looking for pictures"):
        pictures, left_out = named(request.pictures)
    _demand_free(folder, done, pictures, request)
    if left_out:
        to_stderr(f"{counted(left_out, 'file')} left out: figures that relprop has written")
    with waiting("loading"):
        asked = opened(request, highest)
    same, total = about(request, in_words(asked.preprocess)), len(pictures)
    stop: BaseException | None = None
    with table(folder / f"{done}.csv", folder / f"{done}.parquet") as rows:
        results = Results(request, done, folder, same, rows, coarse=asked.preprocess.crop < COARSE)
        try:
            with progress_bar() as bar:
                task = bar.add_task("explaining" if done == "explained" else "comparing", total=total)
                for found in explained(asked, pictures, request.batch):
                    results.add(*found)
                    bar.advance(task)
        except BaseException as error:
            if not results.number:
                raise  # nothing is begun, and what stands there stays
            stop = error
        results.finish(total)
    print(results.told(total))  # noqa: T201 - the result
    if stop is not None:
        raise stop
    if results.failed:
        what = counted(total, "picture")
        raise RelpropError(f"{results.failed} of {what} could not be explained; {results.page} and the table say why")


def _folder(request: PictureRequest, done: str) -> Path:
    """The folder for all that is written.

    Raises:
        WriteError: what was named is a file, or is called like one.
    """
    out = request.out or Path(OF_THE_SAMPLE[done])
    if (out.exists() and not out.is_dir()) or out.suffix[1:].lower() in (*FORMATS, "html", "csv", "parquet", "json"):
        raise WriteError(f"{out}: of several pictures a page and more is written; name a folder for it with --out")
    return out


def _demand_free(folder: Path, done: str, pictures: Sequence[Named], request: PictureRequest) -> None:
    """Refuse to write over a picture or the weights."""
    sources = {each.path.resolve() for each in pictures} | {Path(w).resolve() for w in [request.weights] if w}
    for each in pictures:
        target = (folder / "maps" / each.file(f"-{done}.png")).resolve()
        if target in sources:
            raise WriteError(f"{target}: that is a source, which is not overwritten; name another folder with --out")


# -- what is explained -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """A picture that was read: what the network gets, (3, H, W), and what it sees; or why it was not."""

    picture: Named
    x: Tensor | None = None
    seen: NDArray[np.uint8] | None = None
    problem: str = ""


def explained(asked: Asked, pictures: Sequence[Named], batch: int) -> Iterator[tuple[Named, Explained | str]]:
    """Yield for each picture what was found, or why nothing was.

    Args:
        asked: network and question.
        pictures: all of them.
        batch: so many are read and explained at once; fewer where there is no memory for so many.

    Raises:
        RelpropError: the first picture that can be read cannot be explained; what is said of it holds for all.
    """
    work = _Work(asked)
    for chunk in _read_ahead(pictures, batch, asked):
        readable = [read for read in chunk if read.x is not None]
        found: dict[str, Explained | str] = {}
        if not asked.checked and readable:  # alone: what goes wrong here is the network's fault, and goes up
            first = readable.pop(0)
            for _, results in work.shrinking.over([first], 1, work.send, work.together):
                found[first.picture.name] = results[0]
        for some, results in work.shrinking.over(readable, batch, work.send, work.one_way_or_another):
            found |= {read.picture.name: result for read, result in zip(some, results, strict=True)}
        for read in chunk:
            yield read.picture, found.get(read.picture.name, read.problem)


@dataclass
class _Work:
    """What is done with a batch."""

    asked: Asked
    shrinking: Shrinking = field(default_factory=Shrinking)

    def __post_init__(self) -> None:
        self.sender = Sender(self.asked.device)

    def send(self, some: Sequence[Read]) -> Taken:
        return self.sender.send(lambda: torch.stack([read.x for read in some if read.x is not None]))

    def together(self, some: Sequence[Read], x: Tensor) -> list[Explained | str]:
        """Explain a batch; a map that nobody could read is that picture's problem."""
        seen = [read.seen for read in some if read.seen is not None]
        return [self._readable(found) for found in self.asked.explain(x, seen)]

    def _readable(self, found: Explained) -> Explained | str:
        try:
            found.demand_finite(self.asked.name)
        except RelpropError as error:
            return str(error)
        return found

    def one_way_or_another(self, some: Sequence[Read], x: Tensor) -> list[Explained | str]:
        """Explain a batch; where that fails one by one, so that one picture is not the end of the others."""
        try:
            return self.together(some, x)
        except user_code.FAILURES as error:
            if out_of_memory(error):
                raise
            if len(some) == 1:
                return [str(error) if isinstance(error, RelpropError) else user_code.in_one_line(error)]
        found = [self.one_way_or_another([read], x[k : k + 1])[0] for k, read in enumerate(some)]
        if not any(isinstance(each, str) for each in found):
            self.shrinking.tell(f"{self.asked.name} does not take {len(some)} pictures at once; going on one by one")
            self.shrinking.most = 1
        return found


def _read_ahead(pictures: Sequence[Named], size: int, asked: Asked) -> Iterator[list[Read]]:
    """Pictures, so many at once; the next ones are read meanwhile."""
    parts = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    with ThreadPoolExecutor(1, "pictures") as pool:
        following = pool.submit(_read, parts[0], asked)
        for part in [*parts[1:], None]:
            chunk = following.result()
            if part is not None:
                following = pool.submit(_read, part, asked)
            yield chunk


def _read(pictures: Sequence[Named], asked: Asked) -> list[Read]:
    return [_read_one(picture, asked) for picture in pictures]


def _read_one(picture: Named, asked: Asked) -> Read:
    try:
        image = open_picture(picture.path)
        return Read(picture, asked.preprocess(image), np.asarray(asked.preprocess.picture(image)))
    except PictureError as error:
        return Read(picture, problem=str(error))
