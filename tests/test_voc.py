"""VOC in its true format: small ones written here, the real subset, and every way to be broken."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotated_pictures import REAL, one, picture, real, write, xml
from relprop.data.annotations import read_annotation
from relprop.data.entries import DataError, Thing
from relprop.data.geometry import warp
from relprop.data.pictures import PictureError
from relprop.data.voc import CLASSES, voc


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


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (30, 20), None])
def test_pictures_are_upright_whichever_way_round_they_were_annotated(devkit, size):
    root = devkit(annotation=xml(one(), size=size or (0, 0)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture(60, 40).save(root / "VOC2007" / "JPEGImages" / "000001.jpg", exif=exif)
    assert voc(root)[0].open().size == (40, 60)


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


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_at_all_make_reading_fail(tmp_path_factory, noise, place):
    content = xml(one(), one("cat")).encode()
    file = tmp_path_factory.mktemp("fuzz") / "a.xml"
    file.write_bytes(content[:place] + noise + content[place + len(noise) :])
    found = read_annotation(file, first=1)
    assert found.problem or found.things
    assert "\n" not in found.problem


def test_the_hash_of_annotations_is_of_what_their_files_hold(devkit):
    root = devkit(annotation=xml(one()))
    before = voc(root).annotations_sha256(1)
    assert before == voc(root).annotations_sha256(1)
    write(root / "VOC2007" / "Annotations" / "000001.xml", xml(one("cat")))
    assert voc(root).annotations_sha256(1) != before
