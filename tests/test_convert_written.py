"""What `relprop convert` writes: what it may replace, and what it leaves behind when it cannot go on."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest
import safetensors.torch
from safetensors.torch import save_file

import forked
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


def in_a_process(prepare):
    """Run `relprop convert` in a process of its own, once that is prepared."""
    return forked.started("convert", "a.pth", "--model", SMALL, *GIVEN, prepare=prepare)


@pytest.mark.usefixtures("_source")
def test_a_full_disk_is_one_line_and_leaves_nothing(converts):
    converts(*GIVEN)
    before, content = sorted(Path().iterdir()), Path("a.safetensors").read_bytes()

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (99_999, 99_999))

    with in_a_process(full) as process:
        out, told = process.communicate(patience=120)
    assert out == ""
    assert told.startswith("error: ")
    assert "a.safetensors: not written (" in told
    assert told.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    assert Path("a.safetensors").read_bytes() == content


@pytest.mark.usefixtures("_source")
def test_ctrl_c_leaves_nothing_half_written():
    def slow():
        def save_file_slowly(*words, **said):
            save_file(*words, **said)
            print("now", flush=True)
            time.sleep(60)

        safetensors.torch.save_file = save_file_slowly  # in that process alone

    with in_a_process(slow) as process:
        while process.said() != "now\n":
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert [path.name for path in Path().iterdir() if path.suffix == ".part"]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(patience=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted"
    assert [path.name for path in Path().iterdir()] == ["a.pth"]
