"""ImageNet in its true formats: small ones written here, the real subset, and every way to be broken."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from annotated_pictures import REAL, one, picture, real, write, xml
from relprop.data.entries import DataError, Thing
from relprop.data.geometry import warp
from relprop.data.imagenet import imagenet, wnids

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"


@pytest.fixture
def ilsvrc(tmp_path):
    """Three validation pictures with boxes: `ilsvrc(flat or not)` gives the folder of pictures."""

    def make(layout="flat"):
        for number, wnid in enumerate((SHARK, TENCH, GOLDFISH), start=1):
            name = f"ILSVRC2012_val_{number:08d}"
            inside = {"flat": f"{name}.JPEG", "folders": f"{wnid}/{name}.JPEG", "suffix": f"{name}_{wnid}.JPEG"}
            write(tmp_path / "val" / inside[layout], picture(50, 40))
            content = xml(one(wnid, (0, 5, 49, 39)), size=(50, 40))
            write(tmp_path / "Annotations" / "val" / f"{name}.xml", content)
        return tmp_path / "val"

    return make


@pytest.fixture
def index(tmp_path):
    names = {"0": [TENCH, "tench"], "1": [GOLDFISH, "goldfish"], "2": [SHARK, "white shark"]}
    return write(tmp_path / "index.json", json.dumps(names))


@pytest.mark.parametrize("layout", ["flat", "folders", "suffix"])
def test_imagenet_layouts(ilsvrc, index, layout):
    data = imagenet(ilsvrc(layout), index=index)
    found = {entry.id: entry.things for entry in data}
    box = (0, 5, 50, 40)  # counted from 0, the last one included
    expected = [(SHARK, 1), (TENCH, 2), (GOLDFISH, 3)]
    assert found == {f"ILSVRC2012_val_{number:08d}": (Thing(wnid, box),) for wnid, number in expected}
    assert data.classes == (TENCH, GOLDFISH, SHARK)
    assert all(entry.problem == "" and entry.open().size == entry.size for entry in data)


def test_imagenet_without_an_index_names_what_is_there(ilsvrc):
    assert imagenet(ilsvrc()).classes == (TENCH, GOLDFISH, SHARK)


def test_official_ids_need_the_official_list(ilsvrc, index, tmp_path):
    images = ilsvrc()
    truth = write(tmp_path / "ILSVRC2012_validation_ground_truth.txt", "2\n3\n1\n")
    with pytest.raises(DataError, match=r"ILSVRC2012_IDs, not a network's classes; give synsets"):
        imagenet(images, index=index, ground_truth=truth)
    good = write(tmp_path / "synsets.txt", f"{GOLDFISH}\n{SHARK}\n{TENCH}\n")
    explicit = write(tmp_path / "map_clsloc.txt", f"{TENCH} 3 tench\n{GOLDFISH} 1 goldfish\n{SHARK} 2 shark\n")
    for synsets in (good, explicit):
        data = imagenet(images, index=index, ground_truth=truth, synsets=synsets)
        assert [len(entry.things) for entry in data] == [1, 1, 1]
    tempting = write(tmp_path / "synset_words.txt", f"{TENCH} tench\n{GOLDFISH} goldfish\n{SHARK} shark\n")
    with pytest.raises(DataError, match="sorted by wnid"):
        imagenet(images, index=index, ground_truth=truth, synsets=tempting)
    with pytest.raises(DataError, match="no ILSVRC2012_ID 3"):
        imagenet(images, ground_truth=truth, synsets=write(tmp_path / "short.txt", f"{SHARK}\n{TENCH}\n"))
    with pytest.raises(DataError, match="not a list of synsets"):
        imagenet(images, ground_truth=truth, synsets=index)


@pytest.mark.parametrize(
    "content",
    [
        f"{SHARK}\n{TENCH}\n{GOLDFISH}\n",
        f"filename,class_index,wnid\nILSVRC2012_val_00000001.JPEG,2,{SHARK}\nILSVRC2012_val_00000002.JPEG,0,{TENCH}\n",
        f"ImageId,PredictionString\nILSVRC2012_val_00000001,{SHARK} 1 2 3 4\nILSVRC2012_val_00000002,{TENCH} 1 2 3 4\n",
        f'"ILSVRC2012_val_00000001.JPEG" {SHARK}\n',
    ],
)
def test_ground_truth_by_wnid(ilsvrc, index, tmp_path, content):
    truth = write(tmp_path / "truth.txt", content)
    assert all(entry.things for entry in imagenet(ilsvrc(), index=index, ground_truth=truth))
    wrong = write(tmp_path / "wrong.txt", content.replace(SHARK, GOLDFISH))
    entry = imagenet(ilsvrc(), index=index, ground_truth=wrong)[0]
    assert entry.things == ()
    assert f"boxes of {SHARK} in a picture of {GOLDFISH}" in entry.problem


def test_imagenet_not_found(ilsvrc, index, tmp_path):
    images = ilsvrc()
    cases = [
        ({"annotations": tmp_path / "Annotation"}, "did you mean Annotations"),
        ({"annotations": images}, "no XML files"),
        ({"index": tmp_path / "index.jsn"}, "did you mean index.json"),
        ({"index": write(tmp_path / "list.json", "[1]")}, "no index of classes"),
        ({"index": write(tmp_path / "hole.json", json.dumps({"1": [TENCH]}))}, "no index of classes"),
        ({"ground_truth": write(tmp_path / "a.txt", f"{SHARK}\n")}, "1 labels, but there is a picture 3"),
        ({"ground_truth": write(tmp_path / "b.txt", "cat dog\n")}, "no labels"),
        ({"ground_truth": write(tmp_path / "c.txt", "")}, "no labels"),
        ({"index": index, "ground_truth": write(tmp_path / "d.txt", "n99999999\n" * 3)}, "n99999999: not in the index"),
    ]
    for options, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            imagenet(images, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no folder Annotations beside it"):
        imagenet(tmp_path / "Annotations" / "val")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        imagenet(tmp_path / "none")


def test_imagenet_without_a_box_or_of_a_class_unknown(ilsvrc, index, tmp_path):
    images = ilsvrc()
    (tmp_path / "Annotations" / "val" / "ILSVRC2012_val_00000001.xml").unlink()
    write(tmp_path / "Annotations" / "val" / "ILSVRC2012_val_00000002.xml", xml(one("n01440765")))
    entries = list(imagenet(images, index=index))
    assert [len(entry.things) for entry in entries] == [0, 0, 1]
    assert "no annotation" in entries[0].problem
    assert f"unknown class 'n01440765'; did you mean {TENCH}" in entries[1].problem


@real
def test_real_imagenet():
    root = REAL / "imagenet_val_227"
    data = imagenet(root / "images", index=REAL / "imagenet_class_index.json", ground_truth=root / "boxes.csv")
    with (root / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = Counter(
        (Path(row["filename"]).stem, row["wnid"], *(int(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")))
        for row in rows
    )
    found = Counter(
        (entry.id, thing.name, thing.box[0], thing.box[1], thing.box[2] - 1, thing.box[3] - 1)
        for entry in data
        for thing in entry.things
    )
    assert len(data) == 250
    assert found == expected
    assert not any(entry.problem for entry in data)
    assert len(data.classes) == 1000
    assert data.classes[int(rows[0]["class_index"])] == rows[0]["wnid"]


@real
def test_real_imagenet_boxes_on_the_squashed_pictures():
    root = REAL / "imagenet_val_227"
    with (root / "boxes.csv").open() as file:
        rows = {Path(row["filename"]).stem: row for row in csv.DictReader(file)}  # the last of each picture
    for entry in list(imagenet(root / "images"))[:40]:
        framed = warp(227)(entry.open(), entry.things[-1:], entry.size)
        (mask,) = framed.masks.values()
        ys, xs = mask.nonzero().T
        sides = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
        assert framed.rescaled
        assert sides == pytest.approx(
            [float(rows[entry.id][f"{k}227"]) for k in ("xmin", "ymin", "xmax", "ymax")], abs=1.2
        )


@real
def test_real_index():
    assert wnids(REAL / "imagenet_class_index.json")[:2] == (TENCH, GOLDFISH)
