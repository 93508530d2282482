"""Masks in their true formats, written here: VOC's class PNGs, COCO's polygons and run lengths, one's own PNG files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from annotated_pictures import REAL, picture, write
from relprop.data import masks
from relprop.data.entries import DataError, Thing
from relprop.data.folder import folder
from relprop.data.geometry import Geometry, shortest_side, warp
from relprop.data.orientation import framed
from relprop.data.pictures import PictureError
from relprop.data.voc import CLASSES, voc
from relprop.study.store import Store

WIDTH, HEIGHT = 60, 40


def blob(seed=0, width=WIDTH, height=HEIGHT):
    """A shape that no box is."""
    y, x = np.mgrid[:height, :width]
    centre = np.random.default_rng(seed).uniform(0.3, 0.7, 2) * (height, width)
    return ((y - centre[0]) / height * 3) ** 2 + ((x - centre[1]) / width * 4) ** 2 < 0.5 + 0.3 * np.sin(x / 3)


def palette(numbers):
    """A PNG as VOC has it: places in a palette."""
    image = Image.fromarray(numbers.astype(np.uint8), mode="P")
    image.putpalette([n for k in range(256) for n in (k, 255 - k, k // 2)])
    return image


@pytest.fixture
def devkit(tmp_path):
    """One picture with a dog, a person and the void between them, one without masks."""
    year = tmp_path / "VOCdevkit" / "VOC2007"
    numbers = np.zeros((HEIGHT, WIDTH))
    numbers[blob(0)] = CLASSES.index("dog") + 1
    numbers[5:9, 5:30] = masks.VOID
    numbers[30:38, 40:55] = CLASSES.index("person") + 1
    for id_ in ("000001", "000002"):
        write(year / "JPEGImages" / f"{id_}.jpg", picture(WIDTH, HEIGHT))
        write(year / "Annotations" / f"{id_}.xml", "<annotation/>")
    write(year / "SegmentationClass" / "000001.png", palette(numbers))
    write(year / "ImageSets" / "Segmentation" / "val.txt", "000001\n")
    write(year / "ImageSets" / "Segmentation" / "train.txt", "000002\n")
    return year.parent, numbers


def test_voc_classes_are_the_numbers_of_the_palette_and_void_is_none_of_them(devkit):
    root, numbers = devkit
    data = voc(root, masks=True)
    assert data.ids == voc(root, split="val", masks=True).ids == ("000001",)
    assert [thing.name for thing in data[0].things] == ["dog", "person"]
    for thing in data[0].things:
        assert np.array_equal(thing.mask(), numbers == CLASSES.index(thing.name) + 1)
    assert data[0].things[1].box == (40, 30, 55, 38)
    assert data[0].size == (WIDTH, HEIGHT)
    assert data.identity()["masks"] == "SegmentationClass"
    before = data.annotations_sha256(1)
    (root / "VOC2007" / "SegmentationClass" / "000001.png").write_bytes(b"broken")
    assert data.annotations_sha256(1) != before
    assert "cut short or damaged" in data[0].problem
    assert "no such mask" in voc(root, split="train", masks=True)[0].problem
    (root / "VOC2007" / "SegmentationClass" / "000001.png").unlink()
    (root / "VOC2007" / "SegmentationClass").rmdir()
    with pytest.raises(DataError, match="no folder SegmentationClass"):
        voc(root, masks=True)


@pytest.mark.skipif(not (REAL / "VOCdevkit/VOC2007/SegmentationClass").is_dir(), reason="no real masks here")
def test_real_voc_masks():
    entry = voc(REAL / "VOCdevkit", masks=True)[0]
    assert not entry.problem
    assert all(thing.mask().any() for thing in entry.things)


def compressed(mask):
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def run_lengths(mask):
    """Uncompressed: how many pixels are off, on, off, ..., down the columns."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": [0, *lengths] if flat[0] else lengths}


POLYGON = [[10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0], [40.0, 30.0, 50.0, 30.0, 50.0, 35.0, 40.0, 35.0]]


@pytest.fixture
def coco(tmp_path):
    def make(segmentation, **image):
        write(tmp_path / "pictures" / "a.png", picture(WIDTH, HEIGHT))
        one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 50, 30], "iscrowd": 0}
        content = {
            "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT} | image],
            "categories": [{"id": 1, "name": "dog"}],
            "annotations": [one | ({} if segmentation is None else {"segmentation": segmentation})],
        }
        write(tmp_path / "coco.json", json.dumps(content))
        return folder(tmp_path / "pictures", tmp_path / "coco.json", masks=True)[0]

    return make


def test_coco_polygons_and_run_lengths(coco):
    wanted = np.zeros((HEIGHT, WIDTH), dtype=bool)
    wanted[5:25, 10:30] = wanted[30:35, 40:50] = True
    assert np.array_equal(coco(POLYGON).things[0].mask(), wanted)
    for inside in (blob(), ~blob()):
        for segmentation in (compressed(inside), run_lengths(inside)):
            assert np.array_equal(coco(segmentation).things[0].mask(), inside)


@pytest.mark.parametrize("segmentation", [None, [], [[1.0, 2.0]], {"counts": [3]}, "rle"])
def test_an_object_without_a_segmentation_is_a_problem(coco, segmentation):
    entry = coco(segmentation)
    assert not entry.things
    assert "no segmentation of it" in entry.problem
    assert not coco(POLYGON, width=None).things  # its size is not stated


@pytest.mark.parametrize("runs", [{"size": [HEIGHT, WIDTH], "counts": ["x"]}, run_lengths(blob(0, 10, 10))])
def test_a_segmentation_that_cannot_be_drawn_is_its_picture_s_problem(coco, runs):
    entry = coco(runs)
    with pytest.raises(PictureError, match="segmentation"):
        framed(entry, warp(20))


def test_without_pycocotools_the_extra_is_named(coco, monkeypatch):
    monkeypatch.setattr(masks, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"relprop\[coco\]"):
        coco(POLYGON)


@pytest.fixture
def own(tmp_path):
    """Two pictures of digits' classes; the second lies in a folder and has one class alone."""
    for id_, classes in (("a.jpg", ("one", "two")), ("in/b.png", ("two",))):
        write(tmp_path / "pictures" / id_, picture(WIDTH, HEIGHT))
        for name in classes:
            mask = Image.fromarray((blob(len(id_ + name)) * 255).astype(np.uint8))
            write(tmp_path / "masks" / name / id_.replace(".jpg", ".png"), mask)
    write(tmp_path / "pictures" / "c.jpg", picture(WIDTH, HEIGHT))
    return tmp_path


def test_png_files_of_ones_own(own):
    data = folder(own / "pictures", own / "masks", masks=True)
    assert data.classes == ("one", "two")
    assert [[thing.name for thing in entry.things] for entry in data] == [["one", "two"], [], ["two"]]
    assert np.array_equal(data[2].things[0].mask(), blob(len("in/b.pngtwo")))
    assert "no mask of any class" in data[1].problem
    before = data.annotations_sha256(3)
    write(own / "masks" / "one" / "in" / "b.png", Image.fromarray(blob()))  # one bit a pixel
    assert data.annotations_sha256(3) != before
    assert [thing.name for thing in data[2].things] == ["one", "two"]
    write(own / "masks" / "one" / "in" / "b.png", picture(WIDTH, HEIGHT))
    assert "mode RGB" in data[2].problem
    write(own / "masks" / "one" / "in" / "b.png", Image.fromarray(blob(0, 30, 20)))
    assert "different sizes" in data[2].problem
    with pytest.raises(DataError, match="where are the masks"):
        folder(own / "pictures", masks=True)
    with pytest.raises(DataError, match="one for each class"):
        folder(own / "pictures", own / "masks" / "two" / "in", masks=True)


@pytest.mark.parametrize("geometry", [warp(32), shortest_side(32), Geometry(48, 32), Geometry(20, 32)])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
def test_every_pixel_has_the_nearest_one_s_and_what_is_cut_off_is_gone(geometry, size):
    width, height = size
    mask = blob(1, width, height)
    image = Image.fromarray(np.repeat(mask[..., None] * np.uint8(255), 3, 2))
    thing = Thing("dog", (0, 0, width, height), mask=lambda: mask)
    found = geometry(image, [thing, Thing("cat", (0, 0, 1, 1), mask=lambda: np.zeros_like(mask))])
    nearest = replace(geometry, interpolation="nearest")(image).image
    assert np.array_equal(found.masks["dog"].numpy(), np.array(nearest)[..., 0] > 0)
    assert found.dropped == ("cat",)
    stretched = Thing("dog", (0, 0, 1, 1), mask=lambda: mask.repeat(2, 0).repeat(2, 1))  # drawn on a larger copy
    assert torch.equal(geometry(image, [stretched]).masks["dog"], found.masks["dog"])


def test_masks_of_a_class_are_put_together():
    two = [Thing("dog", (0, 0, 1, 1), mask=lambda seed=seed: blob(seed)) for seed in (1, 2)]
    found = warp(40)(picture(WIDTH, HEIGHT), two).masks["dog"]
    each = [warp(40)(picture(WIDTH, HEIGHT), [one]).masks["dog"] for one in two]
    assert torch.equal(found, each[0] | each[1])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_is_turned_with_its_picture(tmp_path, orientation):
    mask = blob(3)
    image = Image.fromarray(np.repeat(mask[..., None] * np.uint8(255), 3, 2))
    noted = Image.Exif()
    noted[0x0112] = orientation
    (tmp_path / "pictures").mkdir()
    image.save(tmp_path / "pictures" / "a.png", exif=noted)
    write(tmp_path / "masks" / "dog" / "a.png", Image.fromarray(mask))
    entry = folder(tmp_path / "pictures", tmp_path / "masks", masks=True)[0]
    assert entry.open().size == (HEIGHT, WIDTH)
    found = framed(entry, Geometry((WIDTH, WIDTH), WIDTH, "nearest"))
    assert np.array_equal(found.masks["dog"].numpy(), np.array(found.image)[..., 0] > 0)


def test_a_study_measures_against_masks(own, call):
    words = ("--data", "folder", "--root", own / "pictures", "--annotations", own / "masks", "--masks")
    network = ("--model", "digits-shallow", "--class-map", write(own / "map.json", '{"one": [1], "two": [2]}'))
    call("study", *words, *network, "--methods", "uniform", "--measures", "sparseness", "--out", own / "study")
    assert Store(own / "study").read("sparseness").num_rows == 3
    rows = [row for row in Store(own / "study").read("rows").to_pylist() if row["method"] == "uniform"]
    assert [row["status"] for row in rows] == ["ok", "ok", "missing_annotation", "ok"]
    for row in (row for row in rows if row["status"] == "ok"):
        wanted = blob(len(row["image_id"] + row["class_name"])).mean()
        assert row["mu"] == pytest.approx(row["s_in"] / row["s_tot"])
        assert row["s_in"] / row["s_tot"] == pytest.approx(wanted, abs=0.01)
    assert "leave --masks out" in call("study", "--masks", code=1).output
