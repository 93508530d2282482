"""A folder of pictures at an address of fsspec, with boxes in XML files or one COCO-style JSON, as on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from relprop.data.addresses import Files, MissingError
from relprop.data.annotations import Annotation, names_in, parsed
from relprop.data.coco import coco_in
from relprop.data.entries import DataError
from relprop.data.masks import demand_pycocotools
from relprop.data.packed import Packed
from relprop.data.pictures import PictureError, suffixes


def folder_elsewhere(pictures: str, annotations: str | None = None, *, masks: bool = False) -> Packed:
    """Open a folder at an address; arguments and errors as for `relprop.data.folder.folder`.

    All XML files are read when it is opened. Masks are those of COCO's JSON alone.

    Example:
        >>> data = folder_elsewhere("s3://bucket/pictures", "s3://bucket/boxes.json")  # doctest: +SKIP
    """
    if annotations is not None and annotations.partition("::")[0].lower().endswith(".json"):
        if masks:
            demand_pycocotools()
        source = _Json(pictures, annotations, masks=masks)
        more = {"annotated_but_absent": source.coco.absent(source.ids)} | ({"masks": "coco"} if masks else {})
        return Packed("folder", "all", partial(_Json, pictures, annotations, masks=masks), more)
    if masks:
        raise DataError(f"{pictures}: masks at an address are those of a COCO JSON file; name it with --annotations")
    return Packed("folder", "all", partial(_Xml, pictures, annotations))


class _Pictures:
    """The files themselves: half a `relprop.data.packed.Source`."""

    def __init__(self, pictures: str) -> None:
        self._pictures = Files(pictures, suffixes(), "pictures")
        self.ids = [self._pictures.name(path) for path in self._pictures.paths]

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""
        return self._pictures.remote

    def picture(self, index: int) -> bytes:
        """Return what a picture's file holds."""
        try:
            return self._pictures.read(self._pictures.paths[index])
        except MissingError:
            raise PictureError(f"{PurePosixPath(self.ids[index]).name}: no such file; check the address") from None


class _Xml(_Pictures):
    """A file per picture."""

    def __init__(self, pictures: str, annotations: str | None) -> None:
        super().__init__(pictures)
        self._place = Files(annotations or pictures, {".xml"}, "XML files")
        self._versions = self._place.versions()
        self._said: Mapping[str, bytes] = {
            PurePosixPath(self._place.name(path)).with_suffix("").as_posix(): data
            for path, data in self._place.read_all().items()
        }

    def annotation(self, index: int) -> Annotation:
        """Return what the XML file of a picture says."""
        stem = PurePosixPath(self.ids[index]).with_suffix("")
        if stem.as_posix() not in self._said:
            return Annotation(problem=f"{stem.name}.xml: no such annotation")
        return parsed(self._said[stem.as_posix()], f"{stem.name}.xml", first=1)

    def classes(self) -> tuple[str, ...]:
        """Return all names that are used."""
        return tuple(sorted(set[str]().union(*map(names_in, self.said(len(self.ids))))))

    def said(self, number: int) -> Iterator[bytes]:
        """Give the XML of each of the first pictures."""
        for id_ in self.ids[:number]:
            yield self._said.get(PurePosixPath(id_).with_suffix("").as_posix(), b"")

    def changed(self) -> bool:
        """Whether an XML file is not the one that was read."""
        return self._place.versions() != self._versions


class _Json(_Pictures):
    """One file for all."""

    def __init__(self, pictures: str, annotations: str, *, masks: bool) -> None:
        super().__init__(pictures)
        self._place = Files(annotations, {".json"}, "JSON files")
        (path,) = self._place.paths
        self._versions = self._place.versions()
        self._data = self._place.read(path)
        self.coco = coco_in(self._data.decode("utf-8-sig", "replace"), annotations, masks=masks)

    def annotation(self, index: int) -> Annotation:
        """Return what the file says of a picture."""
        return self.coco.annotation(self.ids[index])

    def classes(self) -> tuple[str, ...]:
        """Return the categories."""
        return self.coco.classes

    def said(self, number: int) -> Iterable[bytes]:  # noqa: ARG002 - it is one file, however many pictures count
        """Give the whole file."""
        return [self._data]

    def changed(self) -> bool:
        """Whether the file is not the one that was read."""
        return self._place.versions() != self._versions
