"""Pieces of text as tokenizers write them, made readable: their spaces, their bytes, and what cannot be seen.

Three spellings are in use. Byte-level vocabularies (GPT-2's and its heirs) write every byte of UTF-8 as one letter of
an alphabet of their own, in which a space is "Ġ" and a new line "Ċ". SentencePiece writes a space as "▁", and bytes
that have no piece as "<0x0A>". WordPiece marks the inside of a word by "##", which is readable as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache

SPACE = "\u2581"
"""How SentencePiece writes a space."""
SEEN = {"\n": "↵", "\r": "␍", "\t": "⇥"}
"""What stands for what would break a line."""


def readable(pieces: Sequence[str], byte_level: bool | None = None, special: Collection[str] = ()) -> list[str]:
    r"""Return pieces of a vocabulary as the text that they stand for.

    Args:
        pieces: as the tokenizer's ``convert_ids_to_tokens`` gives them.
        byte_level: whether they are spelt in the alphabet of bytes; None: told by the pieces themselves.
        special: pieces that mean themselves, such as "[CLS]".

    Example:
        >>> readable(["The", "Ġcapital", "Ċ"])
        ['The', ' capital', '\n']
        >>> readable(["▁Once", "▁upon", "<0x0A>"])
        [' Once', ' upon', '\n']
    """
    if byte_level is None:
        byte_level = _spelt_in_bytes([piece for piece in pieces if piece not in special])
    own = _of_bytes if byte_level else _of_sentencepiece
    return [piece if piece in special else own(piece) for piece in pieces]


def visible(text: str) -> str:
    r"""Return a token as it can be shown: on one line, with nothing in it that a terminal or an eye would miss.

    A token of spaces alone shows as many "␣"; a new line as "↵"; what cannot be printed as its escape.

    Example:
        >>> visible(" Paris"), visible("  "), visible("a\n"), visible("\x1b[31m")
        (' Paris', '␣␣', 'a↵', '\\x1b[31m')
    """
    if text and not text.strip(" "):
        return "␣" * len(text)
    return "".join(
        SEEN.get(letter) or (letter if letter.isprintable() else letter.encode("unicode_escape").decode())
        for letter in text
    )


def _spelt_in_bytes(pieces: Sequence[str]) -> bool:
    """Whether pieces can only be the alphabet of bytes: it has no space, and a text of some length has one."""
    whole = "".join(pieces)
    return any(mark in whole for mark in "ĠĊ") and all(letter in _bytes() for letter in whole)


def _of_bytes(piece: str) -> str:
    if any(letter not in _bytes() for letter in piece):
        return piece
    raw = bytes(_bytes()[letter] for letter in piece)
    try:
        return raw.decode()
    except UnicodeDecodeError:  # a part of a letter: its bytes
        return "".join(chr(byte) if byte < 0x80 else f"<0x{byte:02X}>" for byte in raw)


def _of_sentencepiece(piece: str) -> str:
    byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
    if byte and int(byte[1], 16) < 0x80:
        return chr(int(byte[1], 16))
    return piece.replace(SPACE, " ")


@cache
def _bytes() -> dict[str, int]:
    """Which byte a letter of the alphabet stands for: printable ones themselves, the others those from U+0100 on."""
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in themselves]
    return {chr(byte): byte for byte in themselves} | {chr(0x100 + k): byte for k, byte in enumerate(others)}
