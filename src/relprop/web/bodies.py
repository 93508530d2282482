"""What a request carries: read while it comes, no more than is allowed, and no more than there is room for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from relprop.web.refused import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]

AGAIN = {"Retry-After": "2"}
"""What goes with an answer that there is no room just now: in so many seconds there may be."""


class GoneError(Exception):
    """Whoever asked does not wait for the answer any more."""


@dataclass
class Room:
    """Bytes of bodies that are read, or that wait to be worked on.

    Attributes:
        most: that there may be at a time.
        taken: by now.
    """

    most: int
    taken: int = 0

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Hold so much of it while the block runs.

        Raises:
            Refused: there is not so much left.
        """
        if self.taken + size > self.most:
            raise Refused(429, "too many uploads at once; send it again in a moment", AGAIN)
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


def stated_size(headers: list[tuple[bytes, bytes]], most: int, what: str) -> int:
    """How many bytes a body says it has; `most` where it does not say.

    Raises:
        Refused: more than `most`, or what it says is no number.
    """
    stated = [value for name, value in headers if name == b"content-length"]
    if not stated:
        return most
    if len(set(stated)) > 1 or not (stated[0].isdigit() and len(stated[0]) <= 18):
        raise Refused(400, "the request's Content-Length is no number; send it again with the body's size")
    size = int(stated[0])
    if size > most:
        raise too_large(what, most)
    return size


def too_large(what: str, most: int) -> Refused:
    """The answer to a body of more than `most` bytes."""
    limit = f"{most / 10**6:g} MB" if most >= 10**6 else f"{most // 1024} kB"
    return Refused(413, f"{what} of more than {limit}; scale it down, or leave some of it out")


async def read(receive: Receive, most: int, what: str, seconds: float) -> bytes:
    """Read a body.

    Args:
        receive: as ASGI has it.
        most: bytes that are read.
        what: it is, for the message: "a picture's file".
        seconds: until all of it has to be there.

    Raises:
        Refused: it is larger, whatever it said, or it does not come.
        GoneError: whoever sends it has gone.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large(what, most)
                more = bool(message.get("more_body"))
    except TimeoutError:
        raise Refused(408, f"the request's body did not come within {seconds:g} s; send it again") from None
    return bytes(body)


async def gone(receive: Receive) -> None:
    """Come back when whoever asked has gone; for a request whose body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def mapping_in(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        Refused: it is none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, 'the request\'s body is no JSON object; send {"network": ..., "targets": [...], ...}')
    return found
