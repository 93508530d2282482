"""From the data set to pictures as the network takes them, here or in processes that read ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from relprop.data.entries import Dataset
from relprop.data.geometry import Geometry, normalise
from relprop.data.orientation import framed
from relprop.data.pictures import OrientationError, PictureError
from relprop.data.prefetch import Readers
from relprop.data.preprocess import Preprocess
from relprop.study.records import Picture
from relprop.study.task import Task


class Decoder:
    """Reads, frames and normalises the pictures of a study, part by part.

    Args:
        task: the study.
        workers: processes that read ahead.
        ahead: the parts that are going to be asked for, in order. Others are read when they are asked for, by all of
            the processes at once.
    """

    def __init__(self, task: Task, workers: int = 0, ahead: Sequence[Sequence[int]] = ()) -> None:
        self._one = _Reading(task.data, task.geometry, task.preprocess, task.targets)
        self._workers = workers
        self._readers = Readers(self._one.lean if workers else self._one.picture, workers)
        self._ahead = list(ahead)
        self._coming = self._readers.parts(self._ahead.copy())

    def part(self, indices: Sequence[int]) -> list[Picture]:
        """Return the pictures of a part; what is wrong with one is written down in it.

        Raises:
            DataError: what pictures are packed in cannot be read now.
        """
        if self._ahead and self._ahead[0] == indices:
            self._ahead.pop(0)
            return next(self._coming)
        if self._ahead:  # not the one that was announced: the processes are busy with that
            return [self._one.picture(index) for index in indices]
        (found,) = self._readers.parts([indices], -(-len(indices) // max(self._workers, 1)))
        return found

    def close(self) -> None:
        """End the processes that read ahead."""
        self._coming.close()
        self._readers.close()


@dataclass(frozen=True)
class _Reading:
    """What reading a picture takes, without the network: it is copied to other processes."""

    data: Dataset
    geometry: Geometry
    preprocess: Preprocess
    targets: Mapping[str, tuple[int, ...]]

    def picture(self, index: int) -> Picture:
        """Decode and frame one picture; what is wrong with it is written down."""
        entry = self.data[index]
        picture = Picture(index, entry, sha256=self.data.picture_sha256(index))
        try:
            picture.framed = framed(entry, self.geometry)
        except PictureError as error:
            picture.problem = str(error)
            if isinstance(error, OrientationError):
                picture.without = "unknown_orientation"
            return picture
        picture.x = normalise(picture.framed.image, self.preprocess)
        names = [name for name in picture.names if name in picture.framed.masks]
        picture.targets = {name: -1 for name in names if self.targets.get(name)}
        return picture

    def lean(self, index: int) -> Picture:
        """Return a picture without what opens its file and draws its masks, as it is decoded and framed."""
        picture = self.picture(index)
        entry = picture.entry
        things = tuple(replace(thing, mask=None) for thing in entry.things)
        return replace(picture, entry=replace(entry, open=_spent, things=things, orientation=_upright))


def _spent() -> Image.Image:
    """Stand for what opened a picture in the process that read it."""
    raise PictureError("read by another process, which has decoded it")


def _upright() -> int:
    """Stand for what told its orientation, as it has been turned."""
    return 1
