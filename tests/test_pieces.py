"""Pieces of vocabularies made readable."""

import doctest

import pytest

from relprop.support import pieces
from relprop.support.pieces import readable, visible
from text_models import SENTENCES, byte_level


def test_examples_in_docstrings_run():
    assert doctest.testmod(pieces) == (0, 3)


def test_every_byte_is_read_back():
    tokenizer = byte_level()
    text = SENTENCES[0] + " naïve 日本 🙂\n\tend"
    words = readable(tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]), byte_level=True)
    raw = b"".join(bytes.fromhex(word[3:5]) if word.startswith("<0x") else word.encode() for word in words)
    assert raw.decode() == text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["Ħ", " Ġdoor"], ["Ħ", " Ġdoor"]),  # Maltese, with a space: no alphabet of bytes
        (["ĠParis", "日"], ["ĠParis", "日"]),  # a letter that the alphabet lacks
        (["▁the", "<0xE6>", "<0x0A>"], [" the", "<0xE6>", "\n"]),
        (["play", "##ing", "[SEP]"], ["play", "##ing", "[SEP]"]),
    ],
)
def test_the_spelling_is_told_by_the_pieces(given, told):
    assert readable(given) == told


def test_special_pieces_mean_themselves():
    assert readable(["<Ġ>", "ĠParis"], byte_level=True, special={"<Ġ>"}) == ["<Ġ>", " Paris"]


def test_nothing_invisible_is_shown_as_it_is():
    assert visible("") == ""
    assert visible("\u202egnp\u200b\x07") == "\\u202egnp\\u200b\\x07"
    assert visible("a b\n") == "a b↵"
    assert visible("\t") == "⇥"
