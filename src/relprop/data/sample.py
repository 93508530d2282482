"""The picture that is explained where none is named: a PNG file in the package.

It is number 545 of the held-out digits of `relprop.data.clutter`, two of different classes on one picture;
`scripts/write_sample.py` writes it. Drawing it anew would import scikit-learn, which takes a second.
"""

from __future__ import annotations

from importlib import resources

from PIL import Image

from relprop.data.pictures import decoded

FILE = "sample.png"
"""Beside this file."""


def sample() -> Image.Image:
    """Return the embedded picture, 64x64 pixels of RGB."""
    return decoded((resources.files("relprop.data") / FILE).read_bytes(), FILE)
