"""What surrounds a program (a notebook's variables, the terminal's encoding) decides about nothing."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

BACKENDS = ("module://matplotlib_inline.backend_inline", "no such backend")


def run(*words, cwd=None, **surroundings):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", **surroundings}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, cwd=cwd, env=environment, check=False, timeout=300
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_figures_need_no_backend(backend, tmp_path):
    program = """if True:
        import os, torch
        from relprop.plots import heatmaps, render
        picture = torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()
        figure = heatmaps(picture, ["a"], {"m": torch.randn(1, 3, 8, 8).numpy()})
        for kind in ("png", "pdf", "svg"):
            assert len(render(figure, kind)) > 1000
        print(os.environ["MPLBACKEND"])
    """
    ran = run("-c", program, cwd=tmp_path, MPLBACKEND=backend)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().strip() == backend  # the user's variable is the user's


def test_gradients_need_no_backend(tmp_path):
    program = """if True:
        import torch, relprop as rp
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
        R = rp.attribute(net, torch.ones(1, 3, 2, 2), 1, "gradient")
        assert torch.equal(R.flatten(), net[1].weight[1])
    """
    ran = run("-c", program, cwd=tmp_path, MPLBACKEND=BACKENDS[0])
    assert ran.returncode == 0, ran.stderr.decode()


def test_pyplot_has_the_backend_that_the_user_asked_for(tmp_path):
    program = "import relprop.plots, matplotlib; print(matplotlib.rcParams['backend'])"
    assert run("-c", program, cwd=tmp_path, MPLBACKEND="svg").stdout.decode().strip() == "svg"


def test_the_command_line_in_a_notebook_with_a_picture_named_in_chinese_and_output_in_cp1252(tmp_path):
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "\u72ac.jpg")
    words = ("-m", "relprop", "explain", "\u72ac.jpg", "--method", "uniform", "--threads", "1")
    ran = run(*words, cwd=tmp_path, MPLBACKEND=BACKENDS[0], PYTHONIOENCODING="cp1252")
    assert ran.returncode == 0, ran.stderr.decode()
    assert "\\u72ac.jpg, digits-deep" in ran.stdout.decode("cp1252")
    assert (tmp_path / "\u72ac-explained.png").stat().st_size > 1000
    ran = run(*words, "--json", cwd=tmp_path, MPLBACKEND=BACKENDS[0], PYTHONIOENCODING="ascii:strict")
    assert ran.returncode == 0, ran.stderr.decode()
    assert json.loads(ran.stdout)["picture"] == "\u72ac.jpg"


@pytest.mark.parametrize(
    ("words", "code"),
    [(("study", "--model", "\u72ac"), 1), (("report", "st\u00fcdie"), 1), (("explain", "--\u72ac"), 2)],
)
def test_errors_in_any_encoding(words, code, tmp_path):
    ran = run("-m", "relprop", *words, cwd=tmp_path, PYTHONIOENCODING="ascii:strict")
    assert ran.returncode == code, ran.stderr.decode("latin-1")
    assert b"Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) <= (1 if code == 1 else 8)
