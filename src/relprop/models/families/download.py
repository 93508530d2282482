"""Published weights: fetched once, checked, kept where PyTorch keeps them."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import torch

from relprop.models.files.checkpoints import ModelError

if TYPE_CHECKING:
    from typing import BinaryIO

PATIENCE = 20
"""Seconds without a byte after which a server is given up."""


def cached(url: str) -> Path:
    """Return where the file of `url` is kept, whether it is there or not: PyTorch's own folder."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def fetch(url: str, name: str) -> Path:
    """Return the local copy of `url`, downloaded first where there is none.

    A bar with the time left is drawn on stderr, on a terminal. The copy takes its name only when it is whole
    and its SHA-256 begins as the file's name says.

    Args:
        url: of a weight file.
        name: the model's, for the bar and the errors.

    Raises:
        ModelError: no network, no such file, not the content that was published, or no room for it.
    """
    path = cached(url)
    if path.exists():
        return path
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    remedy = "fetch it elsewhere and pass it with --weights FILE"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            digest = _download(url, file, name)
        published = re.search(r"-([0-9a-f]{8,})\.", path.name)
        if published and not digest.startswith(published[1]):
            raise ModelError(f"{name}: {url} came damaged (its SHA-256 is another); try again, or {remedy}")
        part.replace(path)
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"{name}: no download of {url} ({reason}); {remedy}") from None
    except OSError as error:
        reason = f"{name}: its weights cannot be kept in {path.parent} ({error.strerror})"
        raise ModelError(f"{reason}; set TORCH_HOME to another folder, or {remedy}") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return path


def _download(url: str, file: BinaryIO, name: str) -> str:
    """Copy `url` into `file` and return its SHA-256, drawing the progress."""
    from rich.console import Console  # noqa: PLC0415 - only who downloads needs it
    from rich.progress import (  # noqa: PLC0415 - likewise
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    digest = hashlib.sha256()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        urllib.request.urlopen(url, timeout=PATIENCE) as response,  # noqa: S310 - https, from torchvision's table
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        length = int(response.headers.get("Content-Length", 0)) or None
        task = progress.add_task(f"weights of {name}", total=length)
        while chunk := response.read(1 << 20):
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    return digest.hexdigest()
