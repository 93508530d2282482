"""Published weights: fetched once, when that is asked for, checked, kept where PyTorch keeps them."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import torch

from relprop.models.errors import ModelError
from relprop.models.families.torch_cache import cached

PATIENCE = 20
"""Seconds without a byte after which a server is given up."""

DOWNLOAD = "download"
"""The word that stands for a network's own weights where they may be fetched."""

_PUBLISHED_HASH = re.compile(r"-([0-9a-f]{8,})\.")


def not_here(name: str, megabytes: float | None = None) -> NoReturn:
    """Say that a network's weights are not on this machine, where nobody asked for a download; no server is asked.

    Args:
        name: the network's.
        megabytes: the size of what would be downloaded, where it is known.

    Raises:
        ModelError: always.
    """
    size = f" ({megabytes:.0f} MB)" if megabytes else ""
    raise ModelError(
        f"{name}: its weights are not on this machine, and nothing is downloaded unasked; give --weights {DOWNLOAD} to "
        f"fetch them once{size}, --weights FILE, or --weights random to look at its structure; in Python weights=..."
    )


def fetch(url: str, name: str) -> Path:
    """Return the local copy of `url`, downloaded first where there is none.

    A bar with the time left is drawn on stderr, on a terminal. The copy takes its name only when it is whole
    and its SHA-256 begins as the file's name says.

    Args:
        url: of a weight file.
        name: the model's, for the errors.

    Raises:
        ModelError: no network, no such file, not the content that was published, or no room for it.
    """
    path = cached(url)
    if path.exists():
        return path
    published = _PUBLISHED_HASH.search(path.name)
    remedy = "fetch it elsewhere and pass it with --weights FILE"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _patient():
            torch.hub.download_url_to_file(
                url, str(path), hash_prefix=published and published[1], progress=sys.stderr.isatty()
            )
    except RuntimeError:  # torch's, and only for a hash that is another
        raise ModelError(f"{name}: {url} came damaged (its SHA-256 is another); try again, or {remedy}") from None
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"{name}: no download of {url} ({reason}); {remedy}") from None
    except OSError as error:
        reason = f"{name}: its weights cannot be kept in {path.parent} ({error.strerror})"
        raise ModelError(f"{reason}; set TORCH_HOME to another folder, or {remedy}") from None
    return path


@contextmanager
def _patient() -> Iterator[None]:
    """Limit how long connections made in the block may be silent; torch itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
