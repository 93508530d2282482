"""What mypy --strict and pyright say of user code: of right code nothing, of each wrong line one error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RIGHT = '''
"""User code, typed."""

from pathlib import Path

import torch
from PIL import Image

import relprop as rp

model = rp.models.load("digits-deep")
x: torch.Tensor = model.preprocess(Image.new("RGB", (64, 64)))[None]
classes: tuple[str, ...] = model.classes
side: int = model.preprocess.crop
logits: torch.Tensor = model(x)

R: torch.Tensor = rp.attribute(model, x, target=6)
R = rp.attribute(model, x, target=lambda y: y[:, 6] - y[:, 7])
mine = rp.Composite([(rp.on.first(3, of=rp.on.conv), rp.rules.Flat()), (rp.on.any, rp.rules.Epsilon(0.1))])
R = rp.attribute(model, x, target=None, method=mine)
of_own: torch.Tensor = rp.attribute(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), target=0)

e = rp.explain(model, x, targets=[6, "seven"], methods=["lrp-z", "cmp-alpha1"])
maps: torch.Tensor = e.relevance["cmp-alpha1"]
shown: torch.Tensor = e.map("six", "lrp-z")
why: torch.Tensor = e.versus(6, 7)
ops: list[str] = [row.op for row in e.ledger["cmp-alpha1"]]
e.save(Path("six.pdf"))
rp.plots.grid(e, scale="method").savefig("grid.png")

rules: list[str] = [step.rule for step in rp.plan(model, x, "cmp-alpha2-flat")]
trusted: bool = rp.check(model, x).ok
known: list[str] = rp.methods()
mu: torch.Tensor = rp.metrics.inside_total_ratio(R, torch.ones(1, 64, 64, dtype=torch.bool))


def towers(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Two inputs."""
    return torch.cat([a, b], 1) @ torch.ones(7, 2)


for_a, for_b = rp.attribute(towers, (torch.rand(1, 4), torch.rand(1, 3)), target=0)

texts = rp.models.load("hf:FOLDER")
tokens = texts.encode(["The capital of France is"])
R = rp.attribute(texts, tokens, rp.at(-1, " Paris", against=" London"), "attnlrp")
rp.plots.tokens(R, texts.tokens(tokens)).savefig("paris.png")
'''
WRONG = """
import relprop as rp

rp.nothing()
rp.metrics.nothing()
rp.plots.nothing()
rp.models.nothing()
rp.study.nothing()
rp.models.load("digits-deep").preprocess.nothing()
rp.models.load(3)
"""


@pytest.fixture
def told(tmp_path):
    """Run a program on both files; its exit code, and of each file the lines that it finds fault with."""
    (tmp_path / "right.py").write_text(RIGHT.lstrip())
    (tmp_path / "wrong.py").write_text(WRONG.lstrip())

    def run(*words):
        result = subprocess.run(
            [sys.executable, "-m", *words, "right.py", "wrong.py"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"MYPYPATH": str(ROOT / "src")},
        )
        found = re.findall(r"(right|wrong)\.py:(\d+)(?::\d+)?(?: -)?:? ?-? ?error", result.stdout)
        assert result.returncode == 1, result.stdout + result.stderr
        return {file: sorted({int(line) for name, line in found if name == file}) for file in ("right", "wrong")}

    return run


FAULTS = [number for number, line in enumerate(WRONG.lstrip().splitlines(), start=1) if line.startswith("rp.")]


def test_pyright(told, tmp_path):
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"extraPaths": ["{ROOT / "src"}"], "typeCheckingMode": "standard"}}'
    )
    assert told("pyright", "--pythonpath", sys.executable) == {"right": [], "wrong": FAULTS}


@pytest.mark.slow
def test_mypy_strict(told):
    # What the linters, which run before, have found out of torch is kept there.
    cache = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))
    assert told("mypy", "--strict", *cache) == {"right": [], "wrong": FAULTS}
