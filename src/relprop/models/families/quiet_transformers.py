"""Hugging Face's library without its bars and notes, which are for those who train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from relprop.models.families import optional_libraries


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and notes from stderr in the block."""
    logging = optional_libraries.library("transformers.utils.logging")
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
