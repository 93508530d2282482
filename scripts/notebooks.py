"""The notebooks of docs/notebooks: run again from top to bottom, each in a process of its own.

    uv sync --group weights                    # the trained networks that they show
    uv run python -m scripts.notebooks         # do they run?
    uv run python -m scripts.notebooks --write # keep what they give

What a cell tagged "photograph" gives is never kept: photographs of data sets are not ours to hand on. Nor are times and
counts of runs, so that a notebook that gives the same is the same file. Pictures are kept in 256 colours, which is a
third of their bytes and looks the same.
"""

# ruff: noqa: INP001, T201 - a script of its own, that prints

from __future__ import annotations

import argparse
import io
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
PATIENCE = 900
"""Seconds that a cell may take."""
PRIVATE = "photograph"
"""The tag of cells whose outputs are not kept."""
COLOURS = 256
SIGNATURE = b"\x89PNG"


def run(path: Path) -> Any:
    """Run a notebook.

    Returns:
        It, with what its cells gave.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env={"OMP_NUM_THREADS": "1", **os.environ})  # tests run beside each other, and small kernels wait
    return notebook


def kept(notebook: Any) -> Any:
    """Return a notebook without what is not ours to hand on, and without what differs from run to run."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        if PRIVATE in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.validate(notebook)
    return notebook


def smaller(picture: str) -> str:
    """Return a PNG, in letters, with a palette; what is none, and what does not shrink, as it was."""
    content = b64decode(picture)
    if not content.startswith(SIGNATURE):
        return picture
    buffer = io.BytesIO()
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=4).save(buffer, "PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode() if len(buffer.getvalue()) < len(content) else picture


def main() -> None:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="without any, all of docs/notebooks")
    parser.add_argument("--write", action="store_true", help="keep what the cells give")
    arguments = parser.parse_args()
    for path in arguments.notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = run(path)
        if arguments.write:
            nbformat.write(kept(notebook), path)
        print(f"{path.name}: {'written' if arguments.write else 'runs'}")


if __name__ == "__main__":
    main()
