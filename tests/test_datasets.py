"""Data sets in their true formats: small ones written here, the real subset, and every way to be broken."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from relprop.data.annotations import read_annotation
from relprop.data.clutter import Clutter
from relprop.data.embedded import embedded
from relprop.data.entries import DataError, Thing
from relprop.data.folder import folder
from relprop.data.geometry import warp
from relprop.data.imagenet import imagenet, wnids
from relprop.data.pictures import PictureError
from relprop.data.voc import CLASSES, voc

REAL = Path(__file__).parents[2] / "shared" / "real"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real subset is not on this machine")

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"


def one(name="dog", box=(48, 240, 195, 371), difficult=0, more=""):
    sides = "".join(f"<{side}>{n}</{side}>" for side, n in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox>{more}</object>"


def xml(*objects, size=(500, 375)):
    width, height = size
    head = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder>{head}<segmented>0</segmented>{''.join(objects)}</annotation>"


def write(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    else:
        content.save(path)
    return path


def picture(width=500, height=375, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def devkit(tmp_path):
    """A devkit of VOC 2007: `devkit(id, annotation, picture)` adds a picture."""
    root = tmp_path / "VOCdevkit"
    (root / "VOC2007" / "Annotations").mkdir(parents=True)

    def add(id_="000001", annotation=None, image=None, lists=("test",)):
        if annotation is not None:
            write(root / "VOC2007" / "Annotations" / f"{id_}.xml", annotation)
        write(root / "VOC2007" / "JPEGImages" / f"{id_}.jpg", image or picture())
        for name in lists:
            path = root / "VOC2007" / "ImageSets" / "Main" / f"{name}.txt"
            write(path, (path.read_text() if path.exists() else "") + f"{id_}\n")
        return root

    return add


# VOC


def test_voc_boxes_become_half_open_from_zero(devkit):
    root = devkit(annotation=xml(one(), one("person", (1, 1, 500, 375), difficult=1)))
    entry = voc(root)[0]
    assert entry.things == (Thing("dog", (47, 239, 195, 371)), Thing("person", (0, 0, 500, 375), difficult=True))
    assert (entry.id, entry.size, entry.problem) == ("000001", (500, 375), "")
    assert entry.open().size == (500, 375)


def test_a_voc_box_of_one_pixel_has_a_mask(devkit):
    entry = voc(devkit(annotation=xml(one(box=(500, 375, 500, 375)))))[0]
    assert entry.things[0].box == (499, 374, 500, 375)
    masks = warp(32)(entry.open(), entry.things, entry.size).masks
    assert masks["dog"].nonzero().tolist() == [[31, 31]]


def test_voc_fractions_and_parts_of_people(devkit):
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    entry = voc(devkit(annotation=xml(one("person", (45.7, 10, 100.5, 20), more=part))))[0]
    assert entry.things == (Thing("person", (44.7, 9, 100.5, 20)),)


def test_voc_splits(devkit):
    for id_, lists in (("000003", ("test", "mine")), ("000001", ("test",)), ("000002", ())):
        root = devkit(id_, xml(one()), lists=lists)
    write(root / "VOC2007" / "ImageSets" / "Main" / "dog_test.txt", "000001 -1\n000003  1\n000003  1\n\n")
    ids = {split: [entry.id for entry in voc(root, split=split)] for split in ("all", "test", "mine", "dog_test")}
    assert ids == {
        "all": ["000001", "000002", "000003"],
        "test": ["000003", "000001"],
        "mine": ["000003"],
        "dog_test": ["000003"],
    }
    assert len(voc(root / "VOC2007")) == 3


def test_voc_identity(devkit):
    first = voc(devkit("000001", xml(one())))
    second = voc(devkit("000002", xml(one())))
    assert first.identity() == voc(first.root).identity() | {"number": 1, "ids": first.identity()["ids"]}
    assert second.identity()["number"] == 2
    assert first.identity()["ids"] != second.identity()["ids"]
    assert json.loads(json.dumps(first.identity())) == first.identity()
    assert (first.name, first.classes) == ("voc2007", CLASSES)


def test_voc_not_found(devkit, tmp_path):
    root = devkit(annotation=xml(one()))
    with pytest.raises(DataError, match=r"no such folder; did you mean VOCdevkit\?"):
        voc(tmp_path / "VOCdevkti")
    with pytest.raises(DataError, match=r"no split 'tset'; did you mean test\?"):
        voc(root, split="tset")
    with pytest.raises(DataError, match="holds the year 2007, not 2012"):
        voc(root / "VOC2007", "2012")
    with pytest.raises(DataError, match="neither VOC2012/Annotations nor Annotations"):
        voc(root, "2012")
    with pytest.raises(DataError, match="a file, not a folder"):
        voc(root / "VOC2007" / "Annotations" / "000001.xml")
    (root / "VOC2007" / "Annotations" / "000001.xml").unlink()
    with pytest.raises(DataError, match="no pictures in 'all'"):
        voc(root)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BROKEN = {
    "cut short": (xml(one())[:-30], "broken XML"),
    "empty": ("", "broken XML"),
    "not XML": ("not XML at all", "broken XML"),
    "billion laughs": (f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation>&l11;</annotation>', "document type"),
    "outside entity": ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hosts">]><annotation>&e;</annotation>', "type"),
    "too large": (xml(one(), "<note>" + "ha" * 2**20 + "</note>"), "larger than"),
    "unknown encoding": ('<?xml version="1.0" encoding="none-such"?><annotation/>', ""),
    "no objects": (xml(), "no objects"),
    "deep": ("<a>" * 10**5, "broken XML"),
    "missing": (None, "no such annotation"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_annotations_are_problems(devkit, kind):
    content, problem = BROKEN[kind]
    entry = voc(devkit(annotation=content), split="test")[0]
    assert entry.things == ()
    assert problem in entry.problem
    assert entry.problem.startswith("000001.xml: ")
    assert "\n" not in entry.problem
    assert entry.open().size == (500, 375)


NO_BOX = "<object><name>dog</name></object>"


@pytest.mark.parametrize(
    ("object_", "problem"),
    [
        (NO_BOX, "object 2: no box"),
        (one("dgo"), "object 2: unknown class 'dgo'; did you mean dog?"),
        (one(""), "object 2: no name"),
        (one(box=("a", 1, 2, 3)), "object 2: a box that is no four numbers"),
        (one(box=("", 1, 2, 3)), "object 2: a box that is no four numbers"),
        (one(box=("\n 5\n", 1, 4, 3)), "object 2: a box without area: 5, 1, 4, 3"),
        (one(box=("nan", 1, 4, 3)), "object 2: a box without area"),
        (one(box=("-inf", 1, 4, 3)), "object 2: a box without area"),
    ],
)
def test_broken_objects_are_problems_and_the_others_stay(devkit, object_, problem):
    entry = voc(devkit(annotation=xml(one("cat"), object_)))[0]
    assert problem in entry.problem
    assert "\n" not in entry.problem
    assert [thing.name for thing in entry.things] == ["cat"]


def test_a_class_with_a_broken_box_is_left_out_whole(devkit):
    entry = voc(devkit(annotation=xml(one("dog"), one("cat"), NO_BOX)))[0]
    assert [thing.name for thing in entry.things] == ["cat"]


@pytest.mark.parametrize("size", [(0, 0), ("", 3), (-5, 5), ("inf", 5)])
def test_a_senseless_size_is_none(devkit, size):
    entry = voc(devkit(annotation=xml(one(), size=size)))[0]
    assert (entry.size, entry.problem) == (None, "")


def test_a_picture_of_another_size_is_noticed(devkit):
    entry = voc(devkit(annotation=xml(one(box=(251, 1, 500, 375))), image=picture(100, 75)))[0]
    framed = warp(10)(entry.open(), entry.things, entry.size)
    assert framed.rescaled
    assert framed.masks["dog"][:, 5:].all()
    assert not framed.masks["dog"][:, :5].any()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_pictures_of_other_modes(devkit, mode):
    image = voc(devkit(annotation=xml(one()), image=picture(mode=mode)))[0].open()
    assert (image.mode, image.size) == ("RGB", (500, 375))


@pytest.mark.parametrize("share", [0, 0.5, None])
def test_broken_pictures_are_told_when_opened(devkit, share):
    root = devkit(annotation=xml(one()))
    file = root / "VOC2007" / "JPEGImages" / "000001.jpg"
    content = file.read_bytes()
    file.unlink()
    if share is not None:
        file.write_bytes(content[: int(len(content) * share)])
    entry = voc(root)[0]
    assert entry.things
    with pytest.raises(PictureError, match=r"000001\.jpg"):
        entry.open()


@pytest.mark.parametrize(("size", "upright"), [((60, 40), False), ((40, 60), True), ((30, 20), False), (None, False)])
def test_pictures_stay_the_way_round_that_they_were_annotated(devkit, size, upright):
    root = devkit(annotation=xml(one(), size=size or (0, 0)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture(60, 40).save(root / "VOC2007" / "JPEGImages" / "000001.jpg", exif=exif)
    assert voc(root)[0].open().size == ((40, 60) if upright else (60, 40))


@real
@pytest.mark.parametrize(("year", "number"), [("2007", 16), ("2012", 9)])
@pytest.mark.parametrize("split", ["all", "subset"])
def test_real_voc(year, number, split):
    data = voc(REAL / "VOCdevkit", year, split)
    assert len(data) == number
    for entry in data:
        image = entry.open()
        assert (entry.problem, entry.size) == ("", image.size)
        assert {thing.name for thing in entry.things} <= set(CLASSES)
        assert all(0 <= x0 < x1 <= image.width for x0, _, x1, _ in (thing.box for thing in entry.things))
        framed = warp(227)(image, entry.things, entry.size)
        assert set(framed.masks) == {thing.name for thing in entry.things}


@real
def test_real_voc_in_detail():
    entries = {entry.id: entry for entry in voc(REAL / "VOCdevkit")}
    assert entries["000001"].things == (Thing("dog", (47, 239, 195, 371)), Thing("person", (7, 11, 352, 498)))
    assert {thing.name for thing in entries["001763"].things} >= {"cat", "dog"}
    assert {thing.name for thing in entries["004545"].things} == {"horse", "dog", "car", "person"}


# ImageNet


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


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_at_all_make_reading_fail(tmp_path_factory, noise, place):
    content = xml(one(), one("cat")).encode()
    file = tmp_path_factory.mktemp("fuzz") / "a.xml"
    file.write_bytes(content[:place] + noise + content[place + len(noise) :])
    found = read_annotation(file, first=1)
    assert found.problem or found.things
    assert "\n" not in found.problem


# Folders of one's own


@pytest.mark.parametrize("beside", [True, False])
def test_folder_with_xml(tmp_path, beside):
    for name in ("b.png", "a.jpg", "in/a.jpg", ".hidden.png", "in/._a.jpg"):
        write(tmp_path / "pictures" / name, picture(50, 40))
    write(tmp_path / "pictures" / "notes.txt", "not a picture")
    place = tmp_path / ("pictures" if beside else "boxes")
    write(place / "a.xml", xml(one("zebra", (1, 1, 10, 10)), size=(50, 40)))
    write(place / "in" / "a.xml", xml(one("ape", (2, 1, 10, 10)), size=(50, 40)))
    data = folder(tmp_path / "pictures", None if beside else place)
    assert [entry.id for entry in data] == ["a.jpg", "b.png", "in/a.jpg"]
    assert [[thing.name for thing in entry.things] for entry in data] == [["zebra"], [], ["ape"]]
    assert [bool(entry.problem) for entry in data] == [False, True, False]
    assert data.classes == ("ape", "zebra")
    assert data[2].things[0].box == (1, 0, 10, 10)


@pytest.fixture
def coco(tmp_path):
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        write(tmp_path / "pictures" / name, picture(50, 40))
    content = {
        "images": [
            {"id": 7, "file_name": "1.jpg", "width": 50, "height": 40},
            {"id": 8, "file_name": "val2017\\2.jpg", "width": 50, "height": 40},
            {"id": 9, "file_name": "elsewhere.jpg", "width": 50, "height": 40},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1.5, 2, 10, 20.25]},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 40], "iscrowd": 1},
            {"id": 3, "image_id": 8, "category_id": 18, "bbox": [1, 2, 0, 20]},
            {"id": 4, "image_id": 8, "category_id": 18, "bbox": [1, 2, 3, 4]},
            {"id": 5, "image_id": 8, "category_id": 2, "bbox": [1, 2, 3, 4]},
            {"id": 6, "image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4]},
        ],
    }
    return tmp_path / "pictures", content


def test_folder_with_coco(coco, tmp_path):
    pictures, content = coco
    data = folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))
    first, second, third = data
    assert first.things == (Thing("dog", (1.5, 2, 11.5, 22.25)), Thing("person", (0, 0, 50, 40), difficult=True))
    assert (first.size, first.problem) == ((50, 40), "")
    assert second.things == (Thing("person", (1, 2, 4, 6)),)  # one of the dogs is broken
    assert "object 3: box [1, 2, 0, 20]" in second.problem
    assert "object 5" in second.problem
    assert (third.things, third.problem) == ((), "3.jpg: no annotation")
    assert data.classes == ("dog", "person")
    assert data.identity()["annotated_but_absent"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("images"),
        lambda content: content["images"][0].pop("file_name"),
        lambda content: content["images"][0].update(width="x"),
        lambda content: content["annotations"][0].pop("image_id"),
        lambda content: content.update(categories=3),
    ],
)
def test_folder_with_json_that_is_not_cocos(coco, tmp_path, change):
    pictures, content = coco
    change(content)
    with pytest.raises(DataError, match="not COCO's format"):
        folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))
    for text in ("", "[]", "[" * 10**5):
        with pytest.raises(DataError, match="not COCO's format"):
            folder(pictures, write(tmp_path / "boxes.json", text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["categories"][0].update(id=1), "category 1 is both 'dog' and 'person'"),
        (lambda content: content["images"][1].update(id=7), "image 7 is both '1.jpg' and 'val2017/2.jpg'"),
        (lambda content: content["images"][2].update(file_name="1.jpg", width=40), "image '1.jpg' is both"),
        (lambda content: [each.update(image_id=100) for each in content["annotations"]], "none of its 6 annotations"),
    ],
)
def test_annotations_of_coco_that_are_of_two_things_or_of_none_are_refused(coco, tmp_path, change, said):
    pictures, content = coco
    change(content)
    with pytest.raises(DataError, match=said):
        folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))


def test_ids_of_coco_are_the_same_as_numbers_and_as_texts(coco, tmp_path):
    pictures, content = coco
    wanted = [entry.things for entry in folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))]
    for each in content["annotations"]:
        each.update(image_id=str(each["image_id"]), category_id=float(each["category_id"]))
    assert [entry.things for entry in folder(pictures, write(tmp_path / "b.json", json.dumps(content)))] == wanted
    assert len(wanted[0]) == 2


def test_a_picture_that_coco_has_twice_has_the_objects_of_both(coco, tmp_path):
    pictures, content = coco
    content["images"].append(content["images"][0] | {"id": 70})
    content["annotations"].append({"id": 7, "image_id": 70, "category_id": 18, "bbox": [1, 1, 5, 5]})
    first = folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))[0]
    assert [thing.box for thing in first.things if thing.name == "dog"] == [(1.5, 2, 11.5, 22.25), (1, 1, 6, 6)]


def test_annotations_are_found_whatever_the_case_of_their_suffix(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "pictures" / f"{name}.jpg", picture(50, 40))
    write(tmp_path / "pictures" / "a.XML", xml(one("zebra", (1, 1, 10, 10)), size=(50, 40)))
    data = folder(tmp_path / "pictures")
    assert [[thing.name for thing in entry.things] for entry in data] == [["zebra"], []]
    assert data[1].problem == "b.xml: no such annotation"
    assert data.classes == ("zebra",)
    assert imagenet(tmp_path / "pictures", tmp_path / "pictures")[0].things[0].name == "zebra"


def test_the_hash_of_annotations_is_of_what_their_files_hold(coco, tmp_path, devkit):
    pictures, content = coco
    file = write(tmp_path / "boxes.json", json.dumps(content))
    before = folder(pictures, file).annotations_sha256(1)
    write(file, json.dumps(content | {"annotations": content["annotations"][:5]}))
    assert folder(pictures, file).annotations_sha256(1) != before
    root = devkit(annotation=xml(one()))
    before = voc(root).annotations_sha256(1)
    assert before == voc(root).annotations_sha256(1)
    write(root / "VOC2007" / "Annotations" / "000001.xml", xml(one("cat")))
    assert voc(root).annotations_sha256(1) != before
    assert embedded(number=3).annotations_sha256(3) == ""


def test_folder_not_found(coco, tmp_path):
    pictures, _ = coco
    with pytest.raises(DataError, match=r"boxes\.json: no such file"):
        folder(pictures, tmp_path / "boxes.json")
    with pytest.raises(DataError, match="did you mean pictures"):
        folder(tmp_path / "picture")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        folder(tmp_path / "empty")


# The embedded data


def test_embedded_is_the_clutter():
    data = embedded(number=3, seed=5)
    sample = Clutter("test", "multi", 5).sample(2)
    entry = data[2]
    assert [entry.id for entry in data] == ["multi-000000", "multi-000001", "multi-000002"]
    assert np.array_equal(np.asarray(entry.open()), sample.image)
    assert [thing.box for thing in entry.things] == [tuple(box) for box in sample.boxes.tolist()]
    assert [data.classes.index(thing.name) for thing in entry.things] == list(sample.labels)
    assert data.identity() == embedded(number=3, seed=5).identity()
    assert data.identity() != embedded(number=3, seed=6).identity()


def test_embedded_needs_something_to_show():
    with pytest.raises(DataError, match="did you mean multi"):
        embedded("mutli")
    with pytest.raises(DataError, match="did you mean test"):
        embedded(split="tets")
    with pytest.raises(DataError, match="at least one"):
        embedded(number=0)
    with pytest.raises(DataError, match="seed from 0"):
        embedded(seed=-1)
