"""What a model of texts from a folder of Hugging Face's has beside its weights: a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from relprop.models.families import optional_libraries
from relprop.models.families.not_stated import NotStated
from relprop.models.text import Text
from relprop.support.one_line import first_line

FILES = ("tokenizer*", "vocab*", "merges.txt", "spiece.model", "sentencepiece*", "special_tokens_map.json")
"""Where tokenizers are kept."""


def equip(model: nn.Module, folder: Path, name: str, gguf: str | None) -> None:
    """Give a model ``tokenizer``, ``encode`` and ``tokens``; each a `NotStated` where no tokenizer can be had.

    Args:
        model: of `transformers`, reading token ids.
        folder: where its files are.
        name: what the user called it.
        gguf: the file in it that holds the tokenizer too, if it is one.
    """
    tokenizer = _tokenizer(folder, name, gguf)
    if isinstance(tokenizer, NotStated):
        vars(model).update(tokenizer=tokenizer, encode=tokenizer, tokens=tokenizer)
        return
    text = Text(model, tokenizer)
    vars(model).update(tokenizer=tokenizer, encode=text.encode, tokens=text.tokens)


def no_pictures(name: str) -> NotStated:
    """What stands where a network of pictures has its preprocessing."""
    return NotStated(f'{name}: it reads texts, no pictures; name one, relprop explain --text "...", or model.encode')


def _tokenizer(folder: Path, name: str, gguf: str | None) -> Any:
    """The tokenizer, or a `NotStated` that says why there is none."""
    how = "save it there with tokenizer.save_pretrained, or explain token ids of your own with relprop.attribute"
    if gguf is None and not any(found for pattern in FILES for found in folder.glob(pattern)):
        return NotStated(f"{name}: no tokenizer in {folder}; {how}")
    options: dict[str, Any] = {} if gguf is None else {"gguf_file": gguf}
    auto = optional_libraries.library("transformers").AutoTokenizer
    try:
        return auto.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **options)
    except Exception as error:  # noqa: BLE001 - whatever the files' content leads to
        return NotStated(f"{name}: its tokenizer cannot be used ({first_line(error)}); {how}")
