"""Maps as files of numbers, one for each method."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_path(path: Path, method: str, methods: int) -> Path:
    """Return ``cat.npy`` beside a path ``cat.png``, or with several methods ``cat.lrp-z.npy`` and so on."""
    if methods == 1:
        return path.with_suffix(".npy")
    plain = re.sub(r"[^\w.,=+-]", "_", method)  # what every file system takes
    return path.with_name(f"{path.stem}.{plain}.npy")


def npy(array: NDArray[Any]) -> bytes:
    """Return what a file of this array holds."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
