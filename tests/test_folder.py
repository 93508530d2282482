"""Folders of one's own, with annotations in XML or in COCO's format, whole and broken."""

import json
import os

import pytest

from annotated_pictures import one, picture, write, xml
from relprop.data.entries import DataError, Thing
from relprop.data.folder import folder
from relprop.data.imagenet import imagenet


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


def test_ids_of_coco_are_numbers_or_texts_and_not_both(coco, tmp_path):
    pictures, content = coco
    wanted = [entry.things for entry in folder(pictures, write(tmp_path / "boxes.json", json.dumps(content)))]
    for each in content["annotations"]:
        each.update(category_id=float(each["category_id"]))
    assert [entry.things for entry in folder(pictures, write(tmp_path / "b.json", json.dumps(content)))] == wanted
    assert len(wanted[0]) == 2
    for each in content["annotations"]:
        each.update(image_id=str(each["image_id"]))
    with pytest.raises(DataError, match=r"names one of its images: image_id '7' is none of 7, 8, 9"):
        folder(pictures, write(tmp_path / "c.json", json.dumps(content)))


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


def test_folder_not_found(coco, tmp_path):
    pictures, _ = coco
    with pytest.raises(DataError, match=r"boxes\.json: no such file"):
        folder(pictures, tmp_path / "boxes.json")
    with pytest.raises(DataError, match="did you mean pictures"):
        folder(tmp_path / "picture")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(DataError, match=r"pipe\.json: not a regular file but a pipe"):
            folder(pictures, tmp_path / "pipe.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        folder(tmp_path / "empty")


def test_the_hash_of_annotations_is_of_what_their_files_hold(coco, tmp_path):
    pictures, content = coco
    file = write(tmp_path / "boxes.json", json.dumps(content))
    before = folder(pictures, file).annotations_sha256(1)
    write(file, json.dumps(content | {"annotations": content["annotations"][:5]}))
    assert folder(pictures, file).annotations_sha256(1) != before
