"""Write the picture that the package explains where none is named: `python scripts/write_sample.py`."""  # noqa: INP001

from __future__ import annotations

from pathlib import Path

from PIL import Image

from relprop.data import sample
from relprop.data.clutter import sample_picture

if __name__ == "__main__":
    Image.fromarray(sample_picture().image).save(Path(sample.__file__).with_name(sample.FILE), optimize=True)
