"""What can befall a study while it runs: nothing that is measured is lost, and one line says what happened."""

import errno
import os
import resource
import signal
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

import forked
from annotated_pictures import one, write, xml
from relprop.study.store import Store, StudyError
from synthetic import CONFIG, tables, write_study
from test_study import contents, rows_of

PICTURES = 44
WORDS = ["study", "--model", "digits-shallow", "--method", "lrp-z", "--limit", str(PICTURES), "--chunk", "20"]
WORDS += ["--threads", "1"]


def started(out, *more, **options):
    return forked.started(*WORDS, "--out", out, *more, **options)


def to_its_end(out, *more):
    """Measure all of it, and check what is said."""
    with started(out, *more) as process:
        told, error = process.communicate()
    assert f": {PICTURES} pictures in {out}" in told, error
    assert (process.returncode, error) == (0, "")


def with_a_part(process, out):
    """Wait until a part is written."""
    while not Store(out).done():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    out = tmp_path_factory.mktemp("calm") / "study"
    to_its_end(out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupted_or_terminated_it_says_so_in_a_line_and_goes_on_the_next_time(tmp_path, calm, number, code, word):
    out = tmp_path / "study"
    with started(out) as process:
        with_a_part(process, out)
        process.send_signal(number)
        told, error = process.communicate(patience=60)
    assert process.returncode == code
    assert (told, error.splitlines()) == ("", [word])
    done = Store(out).done()
    assert 0 < len(done) < 3
    assert {path.name for path in Store(out).parts.iterdir()} == {f"part-{part:06d}" for part in done}
    kept = contents(out)
    to_its_end(out)
    assert contents(out) == contents(calm)
    assert kept.items() <= contents(out).items()


@pytest.mark.slow
def test_two_processes_on_one_study_leave_every_row_once(tmp_path, calm):
    out = tmp_path / "study"
    with started(out) as other:
        to_its_end(out)
        assert other.wait() == 0
    assert contents(out) == contents(calm)


def no_room():
    """Let no file of this process grow beyond what the last and smallest part needs."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_line_and_it_goes_on_when_there_is_room(tmp_path):
    out, last = tmp_path / "study", ("--no-occlusion", "--shard", "3/3")
    with started(out, *last, prepare=no_room) as process:
        assert process.wait() == 0, process.communicate()
    kept = contents(out)
    assert len(kept) == 4
    with started(out, "--no-occlusion", prepare=no_room) as process:
        told, error = process.communicate()
    assert (process.returncode, told) == (1, "")
    assert error == (
        f"error: {out}/parts/part-000000: not written (File too large); the 1 parts that are written are safe: make "
        "room and run the same command again to continue\n"
    )
    assert contents(out) == kept
    to_its_end(out, "--no-occlusion")
    assert kept.items() < contents(out).items()
    to_its_end(tmp_path / "calm", "--no-occlusion")
    assert contents(out) == contents(tmp_path / "calm")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are the system's own")
def test_a_folder_that_may_not_be_written_to_is_one_line_and_what_is_there_stays():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        store = write_study(Path(place) / "study", 2)
        before = contents(store.folder)
        store.parts.chmod(0o555)
        was = os.geteuid()
        os.seteuid(65534 if was == 0 else was)  # root may write anywhere
        try:
            with pytest.raises(StudyError) as caught:
                store.write(1, tables(2, start=2))
            with pytest.raises(StudyError, match="get the right to write there or choose another place"):
                Store(store.parts / "new").begin(CONFIG)
        finally:
            os.seteuid(was)
            store.parts.chmod(0o755)
        assert str(caught.value).endswith(
            "(Permission denied); the 1 parts that are written are safe: get the right to write there and run the "
            "same command again to continue"
        )
        assert contents(store.folder) == before


def test_a_read_only_disk_is_not_told_to_make_room(tmp_path, monkeypatch, call):
    store = write_study(tmp_path, 2)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StudyError, match="make that disk writable and run the same command again") as caught:
        store.write(1, tables(2, start=2))
    assert "room" not in str(caught.value)
    told = call(*WORDS, "--out", tmp_path / "new", code=1)
    assert told.stdout == ""
    assert told.stderr == (
        f"error: {tmp_path}/new/run.json: not written (Read-only file system); make that disk writable or choose "
        "another place\n"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that are files on this system")
def test_pipes_among_pictures_and_annotations_are_rows_that_say_so(tmp_path, call):
    place = tmp_path / "pictures"
    for k in range(3):
        write(place / f"{k}.jpg", Image.new("RGB", (64, 64), (90, 40, 200)))
        write(place / f"{k}.xml", xml(one("6", (2, 2, 20, 20)), size=(64, 64)))
    for file in ("1.jpg", "2.xml"):
        (place / file).unlink()
        os.mkfifo(place / file)
    mapping = write(tmp_path / "map.json", '{"6": [6]}')
    words = (*WORDS, "--data", "folder", "--root", place, "--class-map", mapping, "--out", tmp_path / "study")
    for _ in range(2):
        assert ": 1 of 3 pictures in" in call(*words).stdout
    assert [row["status"] for row in rows_of(tmp_path / "study")] == ["ok", "unreadable_image", "missing_annotation"]
    problems = [row["problem"] for row in rows_of(tmp_path / "study", "predictions")]
    assert "1.jpg: not a regular file but a pipe" in problems[1]
    assert problems[2] == "2.xml: not a regular file but a pipe"
