"""Functions and networks of one's own, named as package.module:name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from loaded_networks import conserves, failure, picture
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load

OWN = """
from torch import nn
from relprop.models import Preprocess

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))

def bare():
    return Net()

def make():
    network = Net()
    network.preprocess = Preprocess(32, 36, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network.classes = ["cat", "dog"]
    return network

def half():
    network = make()
    network.classes = "cat"
    return network

ready = make()
number = 3

def broken():
    raise ValueError("no such\\nthing")

def other():
    return "a network"

def picky(depth):
    return make()

def late():
    import own_helper_of_the_test
    return own_helper_of_the_test.made()

class Space:
    @staticmethod
    def make():
        return make()

def unnamed():
    network = make()
    del network.classes
    return network
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the current folder, which the path of modules does not name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "own_package_of_the_test").mkdir()
    (tmp_path / "own_package_of_the_test" / "nets.py").write_text(OWN)
    (tmp_path / "own_helper_of_the_test.py").write_text("from own_package_of_the_test.nets import make as made\n")
    (tmp_path / "wrong_of_the_test.py").write_text("import torch\nimport nowhere_to_be_found\n")
    (tmp_path / "unclosed_of_the_test.py").write_text("x = (\n")
    (tmp_path / "leaving_of_the_test.py").write_text("raise SystemExit(3)\n")
    yield "own_package_of_the_test.nets"
    for name in [name for name in sys.modules if name.endswith("_of_the_test") or "_of_the_test." in name]:
        del sys.modules[name]


@pytest.mark.parametrize("attribute", ["make", "ready", "late", "Space.make"])
def test_a_function_or_a_network_of_ones_own(attribute, own):
    before = list(sys.path)
    model = load(f"{own}:{attribute}")
    assert sys.path == before
    assert not model.training
    assert model.classes == ("cat", "dog")
    assert model.preprocess.crop == 32
    assert conserves(model, model.preprocess(picture())[None])


def test_weights_for_a_network_of_ones_own(own, tmp_path):
    state = load(f"{own}:make").state_dict()
    wanted = {key: value + 1 for key, value in state.items()}
    save_file(wanted, tmp_path / "a")
    loaded = load(f"{own}:make", tmp_path / "a").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in wanted.items())
    assert load(f"{own}:make", "random").classes == ("cat", "dog")
    save_file({"0.weight": state["0.weight"]}, tmp_path / "b")
    assert "does not fit" in failure(f"{own}:make", tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{own}:mak", "no 'mak' in .*own_package_of_the_test.nets.py; did you mean make"),
        ("{own}:Space.mk", "no 'mk' in Space; did you mean make"),
        ("{own}:number", "int, neither a network nor a function"),
        ("{own}:other", "it returned str, not a torch.nn.Module"),
        ("{own}:broken", r"calling it without arguments failed: ValueError: no such thing \(nets.py, line 27\)"),
        ("{own}:picky", "calling it without arguments failed: TypeError: picky"),
        (
            "own_package_of_the_test.net:make",
            "no module 'own_package_of_the_test.net'; did you mean own_package_of_the_test.nets",
        ),
        ("own_helper_of_the_tset:make", "no module 'own_helper_of_the_tset'; did you mean own_helper_of_the_test"),
        (
            "wrong_of_the_test:make",
            "importing wrong_of_the_test failed: ModuleNotFoundError: .*nowhere_to_be_found.* .wrong_.*py, line 2",
        ),
        ("unclosed_of_the_test:make", "importing unclosed_of_the_test failed: SyntaxError.*line 1"),
        ("leaving_of_the_test:make", "importing leaving_of_the_test failed: SystemExit: 3"),
        ("own_helper_of_the_test.py:made", "did you mean own_helper_of_the_test:made"),
        ("tim:resnet18", "did you mean timm"),
    ],
)
def test_mistakes_in_ones_own(name, told, own):
    with pytest.raises(ModelError, match=told) as caught:
        load(name.format(own=own))
    assert "\n" not in str(caught.value)


def test_a_network_of_ones_own_that_does_not_say_enough(own):
    told = failure(f"{own}:bare")
    assert "network.preprocess is missing and network.classes is missing" in told
    example = told.split("\n", 1)[1]
    network = nn.Sequential()
    exec("\n".join(line.strip() for line in example.splitlines()), {"network": network})
    assert isinstance(network.preprocess, Preprocess)
    assert network.classes == ("cat", "dog")
    assert "network.classes is str, not what it should be" in failure(f"{own}:half")


@pytest.mark.slow
def test_ones_own_on_the_command_line(own, call, tmp_path):
    command = [
        Path(sys.executable).with_name("relprop"),
        "explain",
        "--model",
        f"{own}:make",
        "--target",
        "dog",
        "--json",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["explanations"][0]["class"] == "dog"
    result = call("explain", "--model", f"{own}:bare", "--target", "dog", "--json", code=1)
    assert result.stderr.startswith(f"error: {own}:bare: network.preprocess is missing")


def test_ones_own_in_a_study_and_in_a_plan(own, call):
    assert "linear" in call("plan", "--model", f"{own}:make").stdout
    assert "linear" in call("plan", "--model", f"{own}:unnamed").stdout  # how its classes are called does not matter
    assert "network.classes is missing" in call("explain", "--model", f"{own}:unnamed", code=1).stderr
    assert "network.preprocess is missing" in call("plan", "--model", f"{own}:bare", code=1).stderr
    mapping = Path("map.json")
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    mapping.write_text(json.dumps({digit: [index % 2] for index, digit in enumerate(digits)}))
    words = ("--limit", "2", "--methods", "cmp-alpha2-flat", "--class-map", mapping, "--no-occlusion", "--json")
    told = json.loads(call("study", "--model", f"{own}:make", *words).stdout)
    assert told["pictures"] == 2
