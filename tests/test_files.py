"""Files: whole or not at all, whatever happens while they are written."""

import errno
import hashlib
import multiprocessing
import os
import stat

import pytest

from relprop.support.files import WriteError, file_sha256, replacing, write_folder, write_new, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "new" / "a.bin"
    for content in (b"old", b"newer"):
        write_whole(file, content)
        assert file.read_bytes() == content
    assert names(file.parent) == ["a.bin"]
    assert file_sha256(file) == hashlib.sha256(b"newer").hexdigest()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    write_whole(tmp_path / "b", b"new")
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


def test_what_fails_half_way_leaves_the_old_file(tmp_path):
    file = tmp_path / "a"
    write_whole(file, b"old")
    with pytest.raises(KeyError), replacing(file) as part:  # noqa: PT012 - what fails is the second line
        part.write_bytes(b"half")
        raise KeyError
    assert names(tmp_path) == ["a"]
    assert file.read_bytes() == b"old"


def test_a_new_file_takes_nobodys_place(tmp_path):
    assert write_new(tmp_path / "a", b"first")
    assert not write_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


def begin(folder, number, results):
    results.put((number, write_new(folder / "a", str(number).encode())))


def test_of_those_that_begin_at_once_one_does(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=begin, args=(tmp_path, number, results)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    (winner,) = (number for number, written in (results.get() for _ in processes) if written)
    assert (tmp_path / "a").read_bytes() == str(winner).encode()
    assert names(tmp_path) == ["a"]


def test_a_folder_is_whole_and_the_first_stays(tmp_path):
    for content in (b"first", b"second"):
        write_folder(tmp_path / "in" / "part", {"a": content, "b": b""})
    assert (tmp_path / "in" / "part" / "a").read_bytes() == b"first"
    assert names(tmp_path / "in") == ["part"]


@pytest.mark.parametrize("write", [write_whole, write_new, lambda path, data: write_folder(path, {"a": data})])
def test_what_the_system_refuses_is_one_line_with_its_reason(tmp_path, write):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match="not written") as caught:
        write(tmp_path / "file" / "a", b"data")
    assert str(tmp_path / "file" / "a") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.reason in str(caught.value)
    assert caught.value.reason
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are the system's own")
def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "a", b"")
    write_new(tmp_path / "b", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a", "b")}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room or choose another place"),
        (errno.EDQUOT, "make room or choose another place"),
        (errno.EROFS, "make that disk writable or choose another place"),
        (errno.EACCES, "get the right to write there or choose another place"),
        (errno.EIO, "choose another place"),
    ],
)
@pytest.mark.parametrize("write", [write_whole, write_new, lambda path, data: write_folder(path, {"a": data})])
def test_the_remedy_is_of_what_is_wrong(tmp_path, monkeypatch, number, remedy, write):
    def refuse(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WriteError) as caught:
        write(tmp_path / "a", b"data")
    assert str(caught.value) == f"{tmp_path / 'a'}: not written ({os.strerror(number)}); {remedy}"
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that are files on this system")
def test_a_pipe_has_no_hash(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="not a regular file but a pipe"):
        file_sha256(tmp_path / "a")
