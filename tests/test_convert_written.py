"""What `relprop convert` writes: what it may replace, and what it leaves behind when it cannot go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from conversion import GIVEN, SMALL

pytestmark = pytest.mark.usefixtures("folder_of_its_own")


@pytest.mark.usefixtures("_source")
def test_what_may_be_replaced(converts, fails, state):
    converts(*GIVEN)
    first = Path("a.safetensors").read_bytes()
    converts(*GIVEN)
    assert Path("a.safetensors").read_bytes() == first  # the same bytes, in place of those of relprop itself
    save_file(state, "other.safetensors")
    Path("letter").write_text("dear")
    for other in ("other.safetensors", "letter"):
        before = Path(other).read_bytes()
        assert "is there, and relprop has not written it" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", other)
        assert Path(other).read_bytes() == before
        converts(*GIVEN, "--out", other, "--force")
        assert Path(other).read_bytes() == first
    assert "a folder or a device" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", ".")


@pytest.mark.usefixtures("_source")
def test_the_source_is_never_overwritten(converts, fails):
    before = Path("a.pth").read_bytes()
    os.link("a.pth", "hard.pth")
    Path("soft.pth").symlink_to("a.pth")
    for out in ("a.pth", "./a.pth", "hard.pth", "soft.pth"):
        assert "that is the source" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", out, "--force")
    converts(*GIVEN)
    assert "that is the source" in fails("a.safetensors", "--model", SMALL)
    assert Path("a.pth").read_bytes() == before


def in_a_process(before, *words):
    """Run `relprop convert` in a process of its own, after some lines of Python."""
    program = f"import os, resource, signal\n{before}\nfrom relprop.cli import main\nmain()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", program, "convert", "a.pth", "--model", SMALL, *GIVEN, *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.usefixtures("_source")
def test_a_full_disk_is_one_line_and_leaves_nothing(converts):
    converts(*GIVEN)
    before, content = sorted(Path().iterdir()), Path("a.safetensors").read_bytes()
    full = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (99_999, 99_999))"
    out, told = in_a_process(full).communicate(timeout=120)
    assert out == ""
    assert told.startswith("error: ")
    assert "a.safetensors: not written (" in told
    assert told.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    assert Path("a.safetensors").read_bytes() == content


@pytest.mark.usefixtures("_source")
def test_ctrl_c_leaves_nothing_half_written():
    slow = (
        "import time, safetensors.torch as s; write = s.save_file\n"
        "def save_file(*words, **said): write(*words, **said); print('now', flush=True); time.sleep(60)\n"
        "s.save_file = save_file"
    )
    process = in_a_process(slow)
    assert process.stdout.readline() == "now\n"
    assert [path.name for path in Path().iterdir() if path.suffix == ".part"]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted"
    assert [path.name for path in Path().iterdir()] == ["a.pth"]
