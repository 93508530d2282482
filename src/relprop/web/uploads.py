"""Files of strangers: what counts as a picture, judged before a single pixel of it is unpacked.

Of a file whose kind is on the list the head is read, which states width and height; only a picture within the limits
is decoded. Pillow's own bounds on compressed texts and colour profiles (one megabyte each) hold beside ours.
"""

from __future__ import annotations

import re
import struct
import warnings
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from relprop.data.pictures import PictureError, decoded
from relprop.web.limits import MEGA, Limits
from relprop.web.refused import Refused

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""As Pillow calls them."""
WHAT = "the file"
JPEG = b"\xff\xd8"
"""How a JPEG begins, also one of several pictures, which Pillow calls by another name."""
SCAN, END = 0xDA, 0xD9
MARKER = re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])")
"""What begins a part of a JPEG that states its length; not what stands within the data of a scan."""


def picture_in(data: bytes, limits: Limits) -> Image.Image:
    """Read a picture as `relprop.data.pictures.open_picture` does, if it may be read.

    Raises:
        Refused: it is none of the kinds, too large, or damaged; with a line that says which.
    """
    if not data:
        raise Refused(400, "the request's body is empty; send the bytes of a picture's file")
    width, height = _size(data)
    if width * height > limits.pixels:
        raise Refused(
            413,
            f"a picture of {width} x {height} pixels, and {limits.pixels / MEGA:g} million are read at most; "
            "scale it down first",
        )
    if max(width, height) > limits.proportion * min(width, height):
        raise Refused(
            413,
            f"a picture of {width} x {height} pixels, of which one side may be {limits.proportion} times the other "
            "at most; cut a part out of it",
        )
    if data.startswith(JPEG) and _scans(data) > limits.scans:
        raise Refused(413, f"a JPEG of more than {limits.scans} scans; save it anew, as one is enough")
    try:
        return decoded(data, WHAT, KINDS)
    except PictureError as error:
        raise Refused(415 if "not a picture" in str(error) else 422, str(error)) from None


def _size(data: bytes) -> tuple[int, int]:
    """The width and height that a file's head states.

    Raises:
        Refused: it is of no kind that is read, or its head is damaged.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":  # Pillow makes room for all its pixels when it opens one
        return _webp(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=[kind for kind in KINDS if kind != "WEBP"]) as image:
                return image.width, image.height
    except Image.DecompressionBombError:
        raise Refused(413, "a picture of more pixels than could be right; scale it down first") from None
    except UnidentifiedImageError:
        raise Refused(415, f"no picture that is read here: {', '.join(KINDS)}; save it as PNG or JPEG") from None
    except Exception as error:  # noqa: BLE001 - on damaged bytes Pillow's readers raise anything
        if "MAX_TEXT" in str(error):
            raise Refused(413, f"{WHAT}: the texts in it unpack to too much; save it without its notes") from None
        raise Refused(422, f"{WHAT}: its head is damaged ({error}); get a whole copy") from None


def _scans(data: bytes) -> int:
    """How many scans a JPEG has: up to its end, as behind it there may be another picture, or a film."""
    found, at = 0, len(JPEG)
    while (marker := MARKER.search(data, at)) and marker[1][0] != END:
        found += marker[1][0] == SCAN
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return found


def _webp(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP file, as its first chunk states them."""
    chunk, head = data[12:16], data[20:30]
    if len(head) == 10:
        if chunk == b"VP8X":
            return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
        if chunk == b"VP8L" and head[0] == 0x2F:
            bits = int.from_bytes(head[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", head[6:10])
            return width & 0x3FFF, height & 0x3FFF
    raise Refused(422, f"{WHAT}: its head is damaged; get a whole copy")
