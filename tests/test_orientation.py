"""Which way round: pictures upright everywhere, boxes turned with them, and what cannot be known marked."""

import numpy as np
import pytest
from PIL import Image, ImageOps

import relprop as rp
from annotated_pictures import one, write, xml
from relprop.commands.compare import grid, with_several_classes
from relprop.data.entries import Thing
from relprop.data.folder import folder
from relprop.data.geometry import like, warp
from relprop.data.mean_image import mean_image
from relprop.data.orientation import framed, upright
from relprop.data.pictures import OrientationError, open_picture, orientation_of
from relprop.study.runner import run
from relprop.study.schema import MEASURES
from relprop.study.task import Task
from test_study import rows_of

ALL = range(1, 9)
ON_ITS_SIDE = (5, 6, 7, 8)
BOX = (6, 10, 21, 40)
"""Of the red object on the upright picture, in pixels from 0."""


def scene(size=(40, 60)):
    """An upright picture with a red object in BOX."""
    pixels = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (255, 0, 0)
    return Image.fromarray(pixels)


def stored(image, orientation):
    """The picture as a camera stores it: the pixels that Pillow turns into the upright ones."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for way in [None, *Image.Transpose]:
        turned = image.copy() if way is None else image.transpose(way)
        turned.info["exif"] = exif.tobytes()
        if np.array_equal(np.asarray(ImageOps.exif_transpose(turned)), np.asarray(image)):
            return turned
    raise AssertionError(orientation)


def save(path, image):
    """Write a picture with what the camera noted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=image.info["exif"])


def red(image):
    """Where a picture is red, (H, W), and the box around that."""
    found = (np.asarray(image).astype(int) @ [1, -1, 0]) > 80
    (y0, *_, y1), (x0, *_, x1) = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
    return found, (int(x0), int(y0), int(x1) + 1, int(y1) + 1)


def data(place, orientation, *, size=(40, 60), on_stored=True, stated=True):
    """A folder of one picture, annotated on the pixels as stored or on the upright ones, its size stated or not."""
    image = stored(scene(size), orientation)
    save(place / "a.png", image)
    drawn_on = image if on_stored else scene(size)
    x0, y0, x1, y1 = red(drawn_on)[1]
    write(place / "a.xml", xml(one("six", (x0 + 1, y0 + 1, x1, y1)), size=drawn_on.size if stated else (0, 0)))
    return folder(place)


@pytest.mark.parametrize("orientation", ALL)
def test_pictures_are_read_upright_and_tell_how_they_were_turned(tmp_path, orientation):
    save(tmp_path / "a.png", stored(scene(), orientation))
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.png")), np.asarray(scene()))
    assert orientation_of(tmp_path / "a.png") == orientation


@pytest.mark.parametrize("noted", [0, 9, 77])
def test_what_is_no_orientation_turns_nothing(tmp_path, noted):
    exif = Image.Exif()
    exif[0x0112] = noted
    scene().save(tmp_path / "a.jpg", exif=exif)
    assert orientation_of(tmp_path / "a.jpg") == 1


@pytest.mark.parametrize("on_stored", [True, False])
@pytest.mark.parametrize("orientation", ON_ITS_SIDE)
def test_boxes_lie_on_the_object_whichever_way_round_they_were_drawn(tmp_path, orientation, on_stored):
    (entry,) = data(tmp_path, orientation, on_stored=on_stored)
    for geometry in (warp(60), like(rp.models.load("digits-shallow").preprocess)):
        seen = framed(entry, geometry)
        assert not seen.rescaled
        assert seen.size == (40, 60)
        object_ = red(seen.image)[0]
        mask = seen.masks["six"].numpy()
        assert (mask & object_).sum() > 0.9 * (mask | object_).sum() > 0


@pytest.mark.parametrize("factor", [2, 10])
def test_annotations_of_a_larger_picture_are_told_by_its_shape(tmp_path, factor):
    (entry,) = data(tmp_path, 6)
    large = tuple(Thing(t.name, tuple(factor * side for side in t.box)) for t in entry.things)
    things, size = upright(large, (60 * factor, 40 * factor), (40, 60), 6)
    assert size == (40 * factor, 60 * factor)
    assert things[0].box == tuple(factor * side for side in BOX)


@pytest.mark.parametrize("on_stored", [True, False])
def test_without_a_size_boxes_that_fit_one_way_alone_tell_it(on_stored):
    box = (2.0, 3.0, 55.0, 9.0) if on_stored else (2.0, 3.0, 9.0, 55.0)
    things, size = upright([Thing("six", box)], None, (40, 60), 6)
    assert things[0].box == ((31.0, 2.0, 37.0, 55.0) if on_stored else box)
    assert size == ((40, 60) if on_stored else None)


UNKNOWN = {
    "upside down": {"orientation": 3},
    "mirrored": {"orientation": 2},
    "square": {"orientation": 6, "size": (60, 60)},
    "no size": {"orientation": 8, "stated": False, "on_stored": False},
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_nothing_tells_is_marked_and_not_measured(tmp_path, kind):
    found = data(tmp_path / "pictures", **UNKNOWN[kind])
    with pytest.raises(OrientationError, match=r"nothing says which way round its boxes were drawn; save it the way"):
        framed(found[0], warp(60))
    model = rp.models.load("digits-shallow")
    study = Task("t", found, model, "it", like(model.preprocess), {"six": (6,)}, ("lrp-z",))
    run(study, tmp_path / "study")
    (row,) = rows_of(tmp_path / "study")
    assert row["status"] == "unknown_orientation"
    assert all(row[measure.name] is None for measure in MEASURES)
    assert "EXIF orientation" in rows_of(tmp_path / "study", "predictions")[0]["problem"]


def test_without_boxes_there_is_nothing_to_be_placed(tmp_path):
    save(tmp_path / "a.png", stored(scene(), 3))
    (entry,) = folder(tmp_path)
    assert np.array_equal(np.asarray(framed(entry, warp(60)).image), np.asarray(warp(60)(scene()).image))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_study_and_explain_see_the_same_picture(tmp_path, orientation):
    found, model = data(tmp_path / "pictures", orientation), rp.models.load("digits-shallow")
    study = Task("t", found, model, "it", like(model.preprocess), {"six": (6,)}, ("lrp-z",))
    run(study, tmp_path / "study")
    x = model.preprocess(open_picture(tmp_path / "pictures" / "a.png"))[None]
    (row,) = rows_of(tmp_path / "study")
    assert row["logit"] == pytest.approx(float(model(x)[0, 6].detach()), rel=1e-5)
    (about,) = rows_of(tmp_path / "study", "predictions")
    assert (about["width"], about["height"]) == (40, 60)
    mean = mean_image(found, study.geometry).pixels
    assert np.array_equal((mean.permute(1, 2, 0) * 255).round().numpy(), np.asarray(model.preprocess.picture(scene())))


def test_pictures_that_cannot_be_framed_are_not_chosen_to_be_drawn(tmp_path):
    for name, orientation in (("a", 3), ("b", 1)):
        save(tmp_path / f"{name}.png", stored(scene(), orientation))
        things = (one("six", (7, 11, 21, 40)), one("two", (1, 1, 9, 9)))
        write(tmp_path / f"{name}.xml", xml(*things, size=(40, 60)))
    model = rp.models.load("digits-shallow")
    targets = {"six": (6,), "two": (2,)}
    study = Task("t", folder(tmp_path), model, "it", like(model.preprocess), targets, ("lrp-z",))
    assert with_several_classes(study) == [1]
    assert grid(study, 1, ["lrp-z"]).axes
