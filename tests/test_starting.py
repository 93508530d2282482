"""The command line as a program: what starting it imports, its help, its exit codes, where its output goes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

import relprop as rp

SMALL = "digits-shallow"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def in_a_process(*words, **options):
    environment = os.environ | {"MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env=environment, **options
    )


SLOW_TO_IMPORT = set(
    "torch torchvision numpy PIL matplotlib sklearn pyarrow h5py google.protobuf safetensors captum timm transformers "
    "onnx onnx2torch".split()
)


def loaded_by(script):
    """The modules that are there after a program has run in a process of its own."""
    result = in_a_process("-W", "error", "-c", f"import sys\n{script}\nprint(*sys.modules, file=sys.stderr)")
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


COMMANDS = "explain compare plan check methods models convert patterns study report reproduce concepts".split()
COMMANDS += ["testbed", "tune", "compact", "serve"]


def test_all_commands_are_there(call):
    listed = re.findall(r"^  (\w+)  ", call("--help").output.split("Commands:")[1], re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


def test_help_imports_nothing_slow():
    words = [["--help"], *([command, "--help"] for command in COMMANDS)]
    loaded = loaded_by(f"from relprop.cli import app\nfor words in {words}: app(words, standalone_mode=False)")
    assert "relprop.cli" in loaded
    assert not SLOW_TO_IMPORT & loaded


@pytest.mark.parametrize("words", [["methods"], ["methods", "--json"]])
def test_what_needs_no_network_imports_nothing_slow(words):
    loaded = loaded_by(f"from relprop.cli import app\napp({words}, standalone_mode=False)")
    assert "relprop.catalogue.table" in loaded
    assert not SLOW_TO_IMPORT & loaded


def test_names_of_methods_import_nothing_slow():
    loaded = loaded_by("import relprop\nassert relprop.methods() and dir(relprop)")
    assert not (SLOW_TO_IMPORT | {"typer", "rich"}) & loaded


def test_the_library_imports_nothing_it_may_not_need():
    loaded = loaded_by(
        "import torch, relprop as rp, relprop.cli\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()\n"
        "rp.explain(model, torch.ones(1, 4), 0, ['lrp-z', 'uniform'])\n"
        "rp.plan(model, torch.ones(1, 4), 'lrp-z')"
    )
    assert not {"captum", "timm", "transformers", "matplotlib", "pyarrow", "torchvision"} & loaded


def test_the_embedded_picture_is_explained_without_scikit_learn():
    loaded = loaded_by("from relprop.cli import app\napp(['explain', '--out', 'a.png'], standalone_mode=False)")
    assert {"relprop.data.sample", "matplotlib"} <= loaded
    assert not {"sklearn", "scipy", "captum", "torchvision"} & loaded


def test_the_public_names_are_these():
    names = "attribute explain plan check at methods fit_patterns metrics models on plots quantus rules study tune"
    kinds = "Check Composite Explanation Patterns"
    errors = "RelpropError InputError RuleError UnsupportedOp"
    assert dir(rp) == sorted(rp.__all__) == sorted(f"{names} {kinds} {errors}".split())
    assert all(getattr(rp, name) is not None for name in dir(rp))
    with pytest.raises(AttributeError, match="no attribute 'atribute'"):
        _ = rp.atribute


def test_as_a_module_and_as_a_script():
    for words in (["-m", "relprop"], [Path(sys.executable).with_name("relprop")]):
        assert in_a_process(*words, "--version").stdout == f"relprop {rp.__version__}\n"


@pytest.mark.parametrize("command", [[], ["explain"], ["plan"], ["methods"], ["models"]])
def test_every_help_has_examples(call, command):
    told = call(*command, "--help").output
    assert "Examples:" in told
    assert f"relprop {' '.join(command)}".strip() in told


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "--nonsense"],
        ["explain", "--threads", "0"],
        ["nonsense"],
        ["plan", "a"],
        ["study", "--shard", "9/2"],
        [],
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(call, words):
    result = call(*words, code=2)
    assert "Usage:" in result.output


def test_results_go_to_stdout_and_nothing_else_does_and_modules_are_found_in_the_current_folder():
    Path("mine.py").write_text("def ones(model, x, target):\n    return x * 0 + 1\n")
    code = "from relprop.cli import main; main()"
    Image.new("RGB", (64, 64)).save("black.png")
    words = ("explain", "black.png", "--model", SMALL, "--threads", "1", "--method", "mine:ones", "--json")
    result = in_a_process("-P", "-c", code, *words)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["files"] == ["black-explained.png"]
    assert told["explanations"][0]["relevance_sum"] == 3 * 64 * 64
    assert result.stderr == ""  # progress is for terminals


def test_ctrl_c_ends_with_one_line_and_130(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "from relprop.cli import app, main\n"
        "@app.command()\n"
        "def slow(): pathlib.Path('ready').touch(); time.sleep(60)\n"
        "main()\n"
    )
    process = subprocess.Popen([sys.executable, "slow.py", "slow"], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted"
    assert "Traceback" not in told


def test_what_swallows_sigterm_is_asked_again(monkeypatch):
    beginning = sys.modules["relprop.cli.app"]
    monkeypatch.setattr(beginning, "PATIENCE", 0.1)
    ended = time.monotonic() + 60
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]

    def work():
        with suppress(BaseException):  # as a library may do while it is imported
            os.kill(os.getpid(), signal.SIGTERM)
        while time.monotonic() < ended:
            time.sleep(0.01)

    with pytest.raises(beginning.Terminated), beginning.ending_in_order():
        work()
    assert time.monotonic() < ended
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
