"""Files that pretend to be pictures, or are pictures that ought not to be unpacked; the same for the same seed."""

# ruff: noqa: INP001, S311 - beside scripts, and nothing of it is secret

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

BOMB = 100_000_000
"""Bytes that a bomb's text or profile unpacks to."""


def honest(rng: random.Random, kind: str = "PNG", size: tuple[int, int] = (48, 40)) -> bytes:
    """A picture of noise that is what it says."""
    image = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def truncated(rng: random.Random) -> bytes:
    """The beginning of a picture."""
    whole = honest(rng, rng.choice(("PNG", "JPEG", "GIF", "WEBP", "BMP")))
    return whole[: rng.randrange(1, len(whole) * 3 // 4)]


def damaged(rng: random.Random) -> bytes:
    """A picture with other bytes in some places."""
    whole = bytearray(honest(rng, rng.choice(("PNG", "JPEG", "GIF", "WEBP", "BMP"))))
    for _ in range(rng.choice((1, 3, 30))):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)


def wrong(rng: random.Random) -> bytes:
    """What is no picture, or none of a kind that is read."""
    made = rng.choice(("TIFF", "PPM", "ICO", "text", "html", "svg", "pdf", "zip", "elf", "noise", "eps", "one byte"))
    fixed = {
        "text": b"root:x:0:0::/root:/bin/sh\n" * 20,
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "pdf": b"%PDF-1.7\n1 0 obj <<>> endobj",
        "zip": b"PK\x03\x04" + bytes(200),
        "elf": b"\x7fELF" + bytes(200),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file pop\n",
        "one byte": b"\x89",
    }
    if made in fixed:
        return fixed[made]
    return rng.randbytes(rng.randrange(1, 4000)) if made == "noise" else honest(rng, made)


def empty(_: random.Random) -> bytes:
    """Nothing."""
    return b""


def vast(rng: random.Random) -> bytes:
    """A head that states so many pixels that there is no room for them, and hardly anything behind it."""
    made = rng.choice((_vast_png, _vast_gif, _vast_bmp, _vast_webp, _vast_jpeg))
    return made()


def _vast_png() -> bytes:
    return png(100_000, 100_000, zlib.compress(bytes(1000)))


def _vast_gif() -> bytes:
    head = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\x00\x00" + bytes(6)
    return head + b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\x00\x02\x02\x4c\x01\x00;"


def _vast_bmp() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 100_000, 100_000, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(head), 0, 0, 54) + head + bytes(64)


def _vast_webp() -> bytes:
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16383).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _vast_jpeg() -> bytes:
    whole = bytearray(honest(random.Random(0), "JPEG"))
    at = whole.index(b"\xff\xc0")
    whole[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(whole)


def bomb(_: random.Random) -> bytes:
    """A small file that is 64 million pixels of one colour when it is unpacked."""
    side = 8000
    packing = zlib.compressobj(9)
    rows = b"".join(packing.compress(bytes(1 + 3 * side)) for _ in range(side)) + packing.flush()
    return png(side, side, rows)


def allowed(_: random.Random) -> bytes:
    """The same just within what is read."""
    side = 6300
    packing = zlib.compressobj(1)
    rows = b"".join(packing.compress(bytes(1 + 3 * side)) for _ in range(side)) + packing.flush()
    return png(side, side, rows)


def texts(rng: random.Random) -> bytes:
    """A PNG whose text or colour profile unpacks to a hundred megabytes."""
    packed = zlib.compress(bytes(BOMB), 1)
    chunk = rng.choice(
        (
            (b"zTXt", b"Comment\x00\x00" + packed),
            (b"iTXt", b"Comment\x00\x01\x00\x00\x00" + packed),
            (b"iCCP", b"profile\x00\x00" + packed),
        )
    )
    return png(8, 8, zlib.compress(bytes(8 * 25)), [chunk])


def many_texts(_: random.Random) -> bytes:
    """A PNG with very many small texts that unpack to a megabyte each."""
    chunk = (b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(1_000_000), 9))
    return png(8, 8, zlib.compress(bytes(8 * 25)), [chunk] * 500)


def scans(_: random.Random) -> bytes:
    """A progressive JPEG with thousands of scans, each of which is work for the whole picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (1024, 1024), "white").save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 3000 + whole[-2:]


def frames(_: random.Random) -> bytes:
    """An animation of very many frames, of which the first alone is read."""
    buffer = io.BytesIO()
    first, *others = (Image.new("L", (64, 64), k % 250) for k in range(300))
    first.save(buffer, "GIF", save_all=True, append_images=others)
    return buffer.getvalue()


def turned(rng: random.Random) -> bytes:
    """A JPEG whose camera's notes are nonsense."""
    whole = honest(rng, "JPEG")
    noted = b"Exif\x00\x00" + rng.choice((b"II*\x00\x08\x00\x00\x00\xff\xff", b"MM\x00*", b"")) + rng.randbytes(200)
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(noted)) + noted + whole[2:]


def png(width: int, height: int, packed: bytes, chunks: list[tuple[bytes, bytes]] = []) -> bytes:  # noqa: B006
    """A PNG of RGB pixels, with chunks before these."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [head, *chunks, (b"IDAT", packed), (b"IEND", b"")]
    written = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


KINDS: dict[str, tuple[Callable[[random.Random], bytes], tuple[int, ...], int]] = {
    "truncated": (truncated, (200, 415, 422), 24),
    "damaged": (damaged, (200, 413, 415, 422), 24),
    "wrong type": (wrong, (415, 422), 24),
    "empty": (empty, (400,), 2),
    "vast": (vast, (413, 422), 12),
    "bomb": (bomb, (413,), 2),
    "40 million pixels": (allowed, (200, 429), 1),
    "texts": (texts, (200, 413, 422), 4),
    "many texts": (many_texts, (200, 413, 422), 2),
    "scans": (scans, (413,), 2),
    "frames": (frames, (200,), 1),
    "turned": (turned, (200, 422), 2),
}
"""By name what makes one, how it may be answered, and how many there are of it among a hundred."""
