"""The notebooks of docs/notebooks: run again from top to bottom, each in a process of its own.

    uv sync --group weights                    # the trained networks that they show
    uv run python -m scripts.notebooks         # do they run?
    uv run python -m scripts.notebooks --write # keep what they give

What a cell tagged "photograph" gives is never kept: photographs of data sets are not ours to hand on. Nor are times and
counts of runs, so that a notebook that gives the same is the same file.
"""

# ruff: noqa: INP001, T201 - a script of its own, that prints

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
PATIENCE = 900
"""Seconds that a cell may take."""
PRIVATE = "photograph"
"""The tag of cells whose outputs are not kept."""


def run(path: Path) -> Any:
    """Run a notebook.

    Returns:
        It, with what its cells gave.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(path.parent)}}).execute()
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
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.validate(notebook)
    return notebook


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
