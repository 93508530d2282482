"""Picture files, whatever their kind, as 8-bit RGB; broken ones told apart clearly."""

from __future__ import annotations

import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from relprop.support.errors import RelpropError
from relprop.support.files import kind_of, near

_EMPTY = "an empty file (0 bytes); get a whole copy"


class PictureError(RelpropError):
    """A picture that cannot be read; the message says why and what to do."""


class OrientationError(PictureError):
    """A picture of which nothing says which way round its boxes were drawn."""


def open_picture(path: str | Path) -> Image.Image:
    """Read a picture as it is meant to be seen.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB, transparency is laid on white, the orientation
    that a camera noted (EXIF) is applied, and of several frames the first is taken.

    Args:
        path: a file in any format that Pillow reads.

    Returns:
        The picture, mode ``"RGB"``, wholly in memory.

    Raises:
        PictureError: no such file, a folder, not a picture, cut short, damaged, absurdly large, or of
            pixels without a known range (32-bit).
    """
    path = Path(path)
    _demand_file(path)
    return _read(path, str(path))


def decoded(data: bytes, name: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Read a picture from what its file holds, as `open_picture` does.

    Args:
        data: the whole file.
        name: of the picture, for messages.
        formats: as Pillow calls them, to which it is held; None: any.

    Raises:
        PictureError: as `open_picture`.
    """
    if not data:
        raise PictureError(f"{name}: {_EMPTY}")
    return _read(BytesIO(data), name, formats)


def orientation_of(source: str | Path | BytesIO) -> int:
    """Return how the camera noted that the file's pixels are to be turned: 1 (not at all) to 8, as EXIF has it.

    Only the beginning of the file is read, which `open_picture` must be able to read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source) as image:
            noted = image.getexif().get(ExifTags.Base.Orientation, 1)
    return noted if noted in range(1, 9) else 1


@cache
def suffixes() -> frozenset[str]:
    """Return how the names of pictures' files end, in small letters, with the dot."""
    return frozenset(Image.registered_extensions()) - {".pdf", ".h5", ".hdf", ".mpg", ".mpeg", ".eps", ".ps"}


def list_pictures(folder: Path) -> list[Path]:
    """Return the files in a folder, and in those within, that are pictures by their name, sorted; hidden ones not."""
    files = filter(is_picture, folder.rglob("*"))
    return sorted(path for path in files if not any(part[0] == "." for part in path.relative_to(folder).parts))


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture by its name."""
    return path.suffix.lower() in suffixes()


def _read(source: Path | BytesIO, name: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Decode what is known to be there; `name` is for messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata, and sizes below Pillow's hard limit
            with Image.open(source, formats=formats) as image:
                image.load()
                return _in_rgb(ImageOps.exif_transpose(image), name)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture that Pillow can read; save it as PNG or JPEG") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise PictureError(f"{name}: more than {limit} million pixels; scale it down first") from None
    except PermissionError:
        raise PictureError(f"{name}: no permission to read it") from None
    except Exception as error:  # on damaged bytes Pillow's readers raise anything, SyntaxError too
        raise PictureError(f"{name}: cut short or damaged ({error}); get a whole copy") from error


def _demand_file(path: Path) -> None:
    """Refuse what can be told without opening it."""
    if path.is_dir():
        raise PictureError(f"{path}: a folder, not a picture; name one file in it")
    if not path.exists():
        raise PictureError(f"{path}: no such file{near(path) or '; check the path'}")
    if not path.is_file():  # a pipe, a socket or a device: reading it may wait for ever
        raise PictureError(f"{path}: not a regular file but {kind_of(path)}; name a picture's file")
    if path.stat().st_size == 0:
        raise PictureError(f"{path}: {_EMPTY}")


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of Pillow's as `open_picture` would give it: 8-bit RGB, upright.

    Raises:
        PictureError: its pixels have no known range (32-bit).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - a camera's notes that cannot be read, of which Pillow raises anything, say nothing
        upright = image
    return _in_rgb(upright, "the picture")


def _in_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB, losing neither range (16-bit) nor what transparency hides."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise PictureError(f"{name}: 32-bit pixels have no known range; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
