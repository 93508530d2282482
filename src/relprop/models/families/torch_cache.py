"""Where PyTorch keeps what it downloads; torch itself, slow to import, is not needed to know it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cached(url: str) -> Path:
    """Return where the file of `url` is kept, whether it is there or not: where torchvision looks as well."""
    return _folder() / "checkpoints" / url.rsplit("/", 1)[-1]


def _folder() -> Path:
    """What ``torch.hub.get_dir`` says, by the rule in its documentation where torch is not imported yet."""
    hub = sys.modules.get("torch.hub")
    if hub is not None:  # a program may have called torch.hub.set_dir
        return Path(hub.get_dir())
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub"
