"""How much a request may ask for, in one place."""

from __future__ import annotations

from dataclasses import dataclass

MEGA = 10**6


@dataclass(frozen=True)
class Limits:
    """Bounds of a request and of what waits; together they bound the memory.

    Attributes:
        bytes: of a picture's file.
        pixels: of a picture, width times height, as its file's head states them.
        proportion: of a picture's longer side to its shorter one; a network that wants 256 pixels of the shorter one
            makes so many times 256 of the longer one before it cuts out the centre.
        scans: of a progressive JPEG, each of which is work for the whole picture; cameras and programs write about ten.
        json: bytes of a question.
        characters: of a text.
        tokens: of a text.
        targets: of one question.
        methods: of one question.
        maps: of one question, targets times methods.
        numbers: of all maps of one question together.
        name: characters of a network's or a method's name.
        rounds: of methods that explain a picture many times over (samples=, steps=).
        held: bytes of files of pictures that are kept, the least recently used go first.
        prepared: pictures as networks see them that are kept, likewise.
        under_way: bytes of bodies that are read or wait at a time.
        waiting: questions that wait for the one that is worked on.
        seconds: until a question is given up that is not answered.
        body_seconds: until a body has to be there.
        rows: of a study that are sent at once.
        deepest: row of a study that can be asked for, in whatever order.
    """

    bytes: int = 20 * MEGA
    pixels: int = 40 * MEGA
    proportion: int = 50
    scans: int = 100
    json: int = 64 * 1024
    characters: int = 8000
    tokens: int = 1024
    targets: int = 16
    methods: int = 16
    maps: int = 64
    numbers: int = 8 * MEGA
    name: int = 200
    rounds: int = 64
    held: int = 80 * MEGA
    prepared: int = 64
    under_way: int = 80 * MEGA
    waiting: int = 16
    seconds: float = 120.0
    body_seconds: float = 30.0
    rows: int = 500
    deepest: int = 20_000
