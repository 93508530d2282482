"""Reading ahead in other processes, and files at addresses."""

import os
import signal
from functools import partial

import pytest
import torch

from packed_pictures import drawn, json_of, write_tar
from relprop.data.addresses import Files, is_address
from relprop.data.entries import DataError
from relprop.data.pictures import PictureError
from relprop.data.prefetch import Readers, chosen, read_ahead


def item(number):
    return number, torch.full((2, 3), float(number)), torch.tensor([number > 2])


def refusing(number):
    if number == 3:
        raise PictureError(f"{number}: refused")
    return number


def dying(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def same(found, parts):
    assert [[number for number, *_ in part] for part in found] == [list(part) for part in parts]
    for number, values, flag in (one for part in found for one in part):
        assert torch.equal(values, item(number)[1])
        assert torch.equal(flag, item(number)[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_come_in_order_whole_or_of_any_size(workers):
    parts = [range(3), range(3, 4), range(0), range(4, 130)]
    same(list(read_ahead(item, parts, workers)), parts)


def test_processes_that_are_there_read_other_parts_too():
    readers = Readers(item, 2)
    for parts in ([range(5)], [range(7, 9), range(3)]):
        same(list(readers.parts(parts, piece=2)), parts)
    readers.close()


def test_an_error_in_another_process_is_the_same_line():
    with pytest.raises(PictureError, match=r"^3: refused$"):
        list(read_ahead(refusing, [range(5)], 1))
    with pytest.raises(DataError, match=r"a process that reads pictures ended .*use fewer, and run the same") as caught:
        list(read_ahead(dying, [range(5)], 1))
    assert "\n" not in str(caught.value)


def test_without_a_choice_small_studies_do_not_pay():
    of = partial(chosen, None)
    assert of(remote=True, device="cuda", number=100) == 0
    assert of(remote=False, device="cpu", number=10**6) == 0
    assert of(remote=True, device="cpu", number=10**6) == 2
    assert of(remote=False, device="cuda:1", number=10**6) == min(4, os.cpu_count() // 2)
    assert chosen(7, remote=False, device="cpu", number=1) == 7


# Addresses


def test_files_are_named_by_folders_patterns_and_ranges(tmp_path):
    for name in ("a-08", "a-09", "a-10", "b-1", ".hidden"):
        write_tar(tmp_path / f"{name}.tar", {"x.json": json_of("a.png")})

    def names(address):
        files = Files(str(address), {".tar"}, "shards")
        return [files.name(path) for path in files.paths]

    assert names(tmp_path) == ["a-08.tar", "a-09.tar", "a-10.tar", "b-1.tar"]
    assert names(tmp_path / "a-{08..10}.tar") == names(tmp_path / "a-*.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert names(tmp_path / "b-1.tar") == ["b-1.tar"]
    with pytest.raises(DataError, match=r"no such file or folder; did you mean b-1\.tar"):
        names(tmp_path / "b-2.tar")
    with pytest.raises(DataError, match=r"\{3\.\.1\} is no range"):
        names(tmp_path / "a-{3..1}.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no shards in it"):
        names(tmp_path / "empty")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memry://x", "Protocol not known: memry; did you mean memory"),
        ("memory://nowhere", "no such file or folder"),
        ("zip://x::/nowhere/x.zip", "no such file"),
        ("dropbox://x/y.tar", "its file system is not installed"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_line(address, said):
    with pytest.raises(DataError, match=said) as caught:
        Files(address, {".tar"}, "shards")
    assert "\n" not in str(caught.value)
    assert is_address(address)


def test_the_command_says_what_is_missing(call, tmp_path):
    write_tar(tmp_path / "x.tar", {"a.png": drawn(0), "a.json": json_of("a.png")})

    def told(*words):
        (line,) = call("study", *words, "--out", tmp_path / "out", code=1).stderr.splitlines()
        return line

    assert "Add --data webdataset" in told("--root", tmp_path / "x.tar")
    assert "where is the data" in told("--data", "parquet")
    assert "no data 'webdatset'; did you mean webdataset?" in told("--data", "webdatset")
    assert "--root 'FOLDER/val-*'" in told("--data", "webdataset", "--root", tmp_path, "--split", "val")
    assert "leave --annotations out" in told("--data", "webdataset", "--root", tmp_path, "--annotations", tmp_path)
    assert "voc is read from this machine" in told("--data", "voc", "--root", "memory://voc")
    assert "--columns goes with" in told("--data", "folder", "--root", tmp_path, "--columns", "image=x")
