"""Where data lies: in folders, shards, tables and elsewhere the same pictures give the same rows, to the byte."""

import gc
import json
import pickle

import pytest
import webdataset as wds

import relprop as rp
from packed_pictures import (
    BOXES,
    BROKEN,
    FILES,
    drawn,
    json_of,
    network,
    write_folder,
    write_memory,
    write_parquet,
    write_shards,
    write_tar,
    xml_of,
)
from relprop.data.elsewhere import folder_elsewhere
from relprop.data.entries import DataError
from relprop.data.folder import folder
from relprop.data.parquet import parquet
from relprop.data.webdataset import webdataset
from relprop.study.store import StudyError
from test_study import contents, rows_of

METHODS = ("lrp-z", "uniform")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def measured(data, out, **options):
    rp.study.run(network(), data, out, METHODS, **{"chunk": 2, "occlusion": False} | options)
    return out


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    place = tmp_path_factory.mktemp("reference")
    return measured(folder(write_folder(place / "pictures")), place / "study", occlusion=True)


def in_memory(_):
    return folder_elsewhere(write_memory("/sources"))


def in_memory_with_coco(_):
    return folder_elsewhere(write_memory("/sources"), "memory:///sources-boxes.json")


SOURCES = {
    "shards with JSON": lambda place: webdataset(str(write_shards(place / "s", json_of, "json"))),
    "shards with XML": lambda place: webdataset(str(write_shards(place / "s", xml_of, "xml") / "val-{000..001}.tar")),
    "Parquet": lambda place: parquet(str(write_parquet(place / "val.parquet", row_group_size=3))),
    "memory": in_memory,
    "memory, COCO": in_memory_with_coco,
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_pictures_give_the_same_rows(source, reference, tmp_path):
    data = SOURCES[source](tmp_path)
    assert [entry.id for entry in data] == list(BOXES)
    out = measured(data, tmp_path / "out", occlusion=True, workers=1 if source == "Parquet" else 0)
    assert contents(out) == contents(reference)
    ours, theirs = (json.loads((place / "run.json").read_text()) for place in (out, reference))
    assert {key for key in theirs if ours[key] != theirs[key]} <= {"name", "data", "annotations_sha256"}
    assert ours["data"]["ids"] == theirs["data"]["ids"]
    status = {row["image_id"]: row["status"] for row in rows_of(out)}
    assert {name for name, said in status.items() if said == "unreadable_image"} == {BROKEN}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_read_ahead_is_the_same_to_the_byte(reference, tmp_path, workers):
    data = webdataset(str(write_shards(tmp_path / "s", xml_of, "xml")))
    assert contents(measured(data, tmp_path / "out", occlusion=True, workers=workers)) == contents(reference)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves the last shard open
def test_webdatasets_own_reader_sees_the_same_samples(tmp_path):
    with wds.ShardWriter(str(tmp_path / "s-%03d.tar"), maxcount=2, verbose=0) as writer:
        for key, name in enumerate(BOXES):
            writer.write({"__key__": f"{key:04}", "png": FILES[name], "json": json_of(name), "cls": key})
    ours = webdataset(str(tmp_path / "s-*.tar"))
    theirs = list(wds.WebDataset(sorted(map(str, tmp_path.glob("s-*.tar"))), shardshuffle=False))
    assert [entry.id for entry in ours] == [f"{sample['__key__']}.png" for sample in theirs]
    assert [ours.source.picture(k) for k in range(len(ours))] == [sample["png"] for sample in theirs]
    assert [len(entry.things) for entry in ours] == [len(json.loads(sample["json"])["boxes"]) for sample in theirs]
    del theirs
    gc.collect()


def test_a_picture_that_is_edited_within_a_shard_is_noticed(tmp_path):
    place = write_shards(tmp_path / "s", json_of, "json")
    measured(webdataset(str(place)), tmp_path / "out")
    shard = place / "val-000.tar"
    shard.write_bytes(shard.read_bytes().replace(FILES["b.png"][-40:], FILES["b.png"][-40:][::-1]))
    with pytest.raises(StudyError, match=r"part-000000: b\.png is not the file that was measured"):
        measured(webdataset(str(place)), tmp_path / "out")


@pytest.mark.parametrize("source", ["shards with JSON", "Parquet"])
def test_annotations_that_are_edited_are_noticed_while_it_runs_and_when_it_goes_on(tmp_path, source, monkeypatch):
    data = SOURCES[source](tmp_path)

    def edit(_):
        monkeypatch.setitem(BOXES, "in/d.png", [("two", (5, 5, 10, 23))])
        SOURCES[source](tmp_path)

    with pytest.raises((StudyError, DataError), match=r"changed since it was opened|annotations were edited"):
        measured(data, tmp_path / "out", progress=edit)
    with pytest.raises(StudyError, match="annotations_sha256 is"):
        measured(SOURCES[source](tmp_path), tmp_path / "out")


def test_where_members_lie_is_found_out_once(tmp_path):
    place = write_shards(tmp_path / "s", json_of, "json")
    first = webdataset(str(place))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")}
    assert len(kept) == 2
    again = webdataset(str(place))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")} == kept
    assert again.annotations_sha256(5) == first.annotations_sha256(5)
    for path in kept:  # what was kept and is damaged is found out again
        path.write_bytes(path.read_bytes()[:50])
    assert [entry.things for entry in webdataset(str(place))] == [entry.things for entry in first]


def test_a_data_set_that_was_pickled_reads_the_same(tmp_path):
    for source in ("shards with JSON", "Parquet", "memory"):
        data = SOURCES[source](tmp_path)
        data[1].open()
        again = pickle.loads(pickle.dumps(data))
        assert [again.picture_sha256(k) for k in (3, 1)] == [data.picture_sha256(k) for k in (3, 1)]
        assert again.identity() == data.identity()


GOOD = {"a.png": drawn(0), "a.json": json_of("a.png")}
DAMAGES = {
    "cut short in a header": (lambda data: data[: 512 * 5 + 100], "cut short"),
    "cut short between members": (lambda data: data.rstrip(b"\0") + bytes(300), "cut short"),
    "a damaged header": (lambda data: data.replace(b"a.json", b"\xff.json", 1), "cut short or damaged after a.png"),
    "compressed": (lambda _: b"\x1f\x8b" + bytes(600), "compressed with gzip"),
    "no tar": (lambda _: b"x" * 2000, "no tar"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_one_line(tmp_path, damage):
    change, said = DAMAGES[damage]
    path = write_tar(tmp_path / "x.tar", GOOD)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=said) as caught:
        webdataset(str(path))
    assert str(caught.value).startswith("x.tar: ")
    assert "\n" not in str(caught.value)


def test_samples_that_nothing_can_tell_apart_are_refused(tmp_path):
    two = write_tar(tmp_path / "two.tar", GOOD | {"a.left.jpg": drawn(1)})
    with pytest.raises(DataError, match=r"has two pictures, png and left\.jpg; say which with --columns image=png"):
        webdataset(str(two))
    assert [entry.id for entry in webdataset(str(two), columns={"image": "left.jpg"})] == ["a.left.jpg"]
    for name in ("x", "y"):
        write_tar(tmp_path / "s" / f"{name}.tar", GOOD)
    assert [entry.id for entry in webdataset(str(tmp_path / "s"))] == ["x/a.png", "y/a.png"]


def test_broken_members_are_problems_of_their_pictures(tmp_path):
    members = {
        "a.png": b"", "a.json": b"[1, 2]",
        "b.png": drawn(1), "b.json": b'{"boxes": [[1, 1, 1, 9], [0, 0, 5, 5]], "labels": ["six", "two"]}',
        "c.json": json_of("c.png"),
        "d.png": drawn(2), "d.cls": b"7",
        "e.png": drawn(3), "e.json": b'{"objects": [{"bbox": [0, 0, 4, 4], "label": 1}], "label": 0}',
        "f.png": drawn(4),
        "README.md": b"not a sample",
    }  # fmt: skip
    data = webdataset(str(write_tar(tmp_path / "x.tar", members)), classes=["six", "two"])
    found = {entry.id: entry for entry in data}
    assert list(found) == ["a.png", "b.png", "c", "d.png", "e.png", "f.png"]
    said = {name: entry.problem for name, entry in found.items()}
    assert said["a.png"] == "a.json: a list, not an object with boxes and labels"
    assert said["b.png"] == "b.json: object 1: a box without area: 1, 1, 1, 9"
    assert [thing.name for thing in found["b.png"].things] == ["two"]
    assert [thing.name for thing in found["e.png"].things] == ["two"]
    assert said["d.png"] == "d.cls: no objects in it"  # as others have boxes
    assert said["f.png"] == "f: no member .json, .cls, .xml beside it"
    assert [data.picture_sha256(k) is None for k in range(3)] == [False, False, True]
