"""Boxes and pictures through rescaling and cropping, and the mean picture."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from relprop.data.embedded import embedded
from relprop.data.entries import DataError, Entry, Listing, Thing
from relprop.data.geometry import Geometry, like, normalise, shortest_side, to_pixels, warp
from relprop.data.mean_image import mean_image
from relprop.data.pictures import PictureError
from relprop.data.preprocess import Preprocess

IMAGENET = Preprocess(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(width, height, mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def extent(mask):
    """The half-open box x0, y0, x1, y1 of a mask that is a rectangle."""
    rows, columns = mask.any(1).nonzero().flatten().tolist(), mask.any(0).nonzero().flatten().tolist()
    assert mask.sum() == len(rows) * len(columns)
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def framed_box(geometry, size, box):
    framed = geometry(noise(*size), [Thing("a", box)])
    return extent(framed.masks["a"]) if framed.masks else None


# Which pixels a box covers


@pytest.mark.parametrize(
    ("box", "covered"),
    [
        ((0, 0, 8, 8), (0, 0, 8, 8)),
        ((2, 3, 4, 7), (2, 3, 4, 7)),
        ((2.5, 3, 4, 7), (2, 3, 4, 7)),  # the centre 2.5 is inside: edges are half-open
        ((2.6, 3, 4, 7), (3, 3, 4, 7)),
        ((2, 3, 4.5, 7), (2, 3, 4, 7)),
        ((2, 3, 4.6, 7), (2, 3, 5, 7)),
        ((2.6, 3, 3.4, 7), (3, 3, 4, 7)),  # no centre inside: the pixel that its middle lies in
        ((2.1, 3, 2.3, 3.01), (2, 3, 3, 4)),
        ((7.9, 7.9, 8, 8), (7, 7, 8, 8)),
        ((-3, -1, 2, 2), (0, 0, 2, 2)),
        ((6, 6, 11, 9), (6, 6, 8, 8)),
        ((2.5 + 1e-9, 3, 4.5 + 1e-9, 7), (2, 3, 4, 7)),  # what floating point adds decides nothing
        ((2.5 - 1e-9, 3, 4.5 - 1e-9, 7), (2, 3, 4, 7)),
    ],
)
def test_the_rule(box, covered):
    assert framed_box(warp(8), (8, 8), box) == covered


@pytest.mark.parametrize("box", [(9, 2, 12, 4), (-3, 2, 0, 4), (2, 8, 4, 9)])
def test_a_box_beside_the_picture_is_gone(box):
    assert framed_box(warp(8), (8, 8), box) is None


@pytest.mark.parametrize("size", [(500, 375), (37, 1000), (3, 5)])
@pytest.mark.parametrize("geometry", [warp(16), Geometry((40, 40), 40)])
def test_one_pixel_gives_a_mask_that_is_not_empty(size, geometry):
    for x, y in ((0, 0), (size[0] - 1, size[1] - 1), (1, 2)):
        assert framed_box(geometry, size, (x, y, x + 1, y + 1)) is not None


def test_where_an_edge_falls_on_a_centre_all_scales_agree():
    # 7/10 is no binary fraction: five pixels of 320 become 3.5 of 224, give or take what float32 rounds.
    assert framed_box(warp(224), (320, 320), (5, 5, 15, 15)) == (3, 3, 10, 10)


# Geometries


def test_warp_scales_each_side_on_its_own():
    framed = warp(100)(noise(500, 200), [Thing("a", (100, 50, 200, 100))])
    assert framed.image.size == (100, 100)
    assert extent(framed.masks["a"]) == (20, 25, 40, 50)


def test_shortest_side_crops_the_longer():
    framed = shortest_side(100)(noise(400, 200), [Thing("a", (150, 40, 350, 80))])
    assert framed.image.size == (100, 100)
    assert extent(framed.masks["a"]) == (25, 20, 100, 40)  # 75..175 less 50, cut at 100


def test_what_is_cropped_away_is_dropped_and_named():
    things = [Thing("left", (0, 0, 90, 200)), Thing("both", (0, 0, 10, 10)), Thing("both", (190, 0, 210, 10))]
    framed = shortest_side(100)(noise(400, 200), things)
    assert framed.dropped == ("left",)
    assert list(framed.masks) == ["both"]
    assert extent(framed.masks["both"]) == (45, 0, 55, 5)


def test_a_crop_at_the_edge_of_a_box_leaves_nothing_of_it():
    assert framed_box(shortest_side(100), (400, 200), (0, 0, 100, 200)) is None
    assert framed_box(shortest_side(100), (400, 200), (0, 0, 100.5, 200)) == (0, 0, 1, 100)


@pytest.mark.parametrize(
    ("geometry", "size", "annotated", "box"),
    [
        (shortest_side(36), (23, 23), (8, 21), (1, 21, 6, 27)),  # begins where the picture ends
        (Geometry(11, 2), (88, 48), (18, 11), (7, 6, 21, 9)),  # begins at row 6, of which the cut has 4 and 5
    ],
)
def test_what_rounding_adds_to_an_edge_keeps_no_box(geometry, size, annotated, box):
    assert geometry(noise(*size), [Thing("a", box)], annotated).dropped == ("a",)


def test_several_boxes_are_a_union():
    things = [Thing("a", (0, 0, 4, 4)), Thing("a", (2, 2, 6, 6)), Thing("b", (3, 3, 8, 8))]
    masks = warp(8)(noise(8, 8), things).masks
    assert (int(masks["a"].sum()), int(masks["b"].sum())) == (16 + 16 - 4, 25)
    assert masks["a"].dtype == torch.bool
    assert masks["a"].shape == (8, 8)


def test_no_things():
    framed = warp(8)(noise(10, 10))
    assert (framed.masks, framed.dropped, framed.rescaled) == ({}, (), False)


def test_boxes_of_another_size_are_scaled_to_the_picture():
    things = [Thing("a", (100, 50, 200, 100))]
    framed = warp(100)(noise(50, 20), things, (500, 200))
    assert framed.rescaled
    assert extent(framed.masks["a"]) == (20, 25, 40, 50)
    assert not warp(100)(noise(500, 200), things, (500, 200)).rescaled


def test_width_and_height_interchanged_are_a_slip_and_no_stretch():
    framed = warp(100)(noise(80, 50), [Thing("a", (8, 10, 40, 20))], (50, 80))
    assert extent(framed.masks["a"]) == (10, 20, 50, 40)
    assert framed.rescaled
    with pytest.raises(PictureError, match="boxes are of a picture of 50x80 pixels, and it has 80x50"):
        warp(100)(noise(80, 50), [Thing("a", (8, 10, 40, 70))], (50, 80))


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGB"])
def test_any_mode_becomes_rgb(mode):
    image = shortest_side(10)(noise(30, 20, mode)).image
    assert (image.mode, image.size) == ("RGB", (10, 10))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(500, 375), (333, 500), (224, 300), (227, 227), (50, 61)])
def test_like_a_models_own_preprocessing_to_the_bit(size, interpolation):
    preprocess = Preprocess(224, 256, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation)
    image = like(preprocess)(noise(*size)).image
    assert np.array_equal(np.asarray(image), np.asarray(preprocess.picture(noise(*size))))
    assert torch.equal(normalise(image, preprocess), preprocess(noise(*size)))


def test_warp_is_torchvisions_smooth_bilinear():
    image = warp(50)(noise(200, 100)).image
    assert np.array_equal(np.asarray(image), np.asarray(v2.Resize((50, 50), antialias=True)(noise(200, 100))))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.sampled_from([warp(12), warp(31), shortest_side(12), shortest_side(31), Geometry(20, 15), Geometry((6, 9), 16)]),
)
def test_pixels_painted_stay_under_their_box(size, corners, geometry):
    """A white box on black: wherever the framed picture is all white the mask is set; under it some white is."""
    width, height = size
    x0, x1 = sorted(int(corner * width) for corner in corners[:2])
    y0, y1 = sorted(int(corner * height) for corner in corners[2:])
    box = (x0, y0, x1 + 1, y1 + 1)
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = 255
    framed = geometry(Image.fromarray(picture), [Thing("a", box)])
    values = np.asarray(framed.image)[..., 0]
    if framed.dropped:
        assert values.mean() < 255
        return
    mask = framed.masks["a"].numpy()
    assert mask.any()
    assert mask[values == 255].all()
    assert values[mask].max() > 0


# Normalisation and the mean picture


def test_normalise_takes_pixels_too():
    image = noise(224, 224)
    assert torch.equal(normalise(to_pixels(image), IMAGENET), normalise(image, IMAGENET))
    assert normalise(image, IMAGENET).dtype == torch.float32


def pictures(*images):
    def read(id_):
        def open_():
            if images[int(id_)] is None:
                raise PictureError("broken")
            return images[int(id_)]

        return Entry(id_, open_, (), None)

    return Listing("test", "", "all", tuple(map(str, range(len(images)))), read, tuple)


def test_mean_image_is_the_mean_of_those_that_can_be_read():
    images = [noise(8, 8, seed=seed) for seed in range(3)]
    mean = mean_image(pictures(images[0], None, images[1], images[2]), warp(8))
    expected = torch.stack([to_pixels(image).double() for image in images]).mean(dim=0)
    assert torch.allclose(mean.pixels.double(), expected, atol=1e-7)
    assert (mean.number, mean.skipped) == (3, 1)


def test_mean_image_is_kept(tmp_path):
    data = pictures(noise(8, 8), None)
    first = mean_image(data, warp(4), tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    again = mean_image(pictures(None, None), warp(4), tmp_path / "cache")  # the same identity: not looked at
    assert torch.equal(first.pixels, again.pixels)
    assert (again.number, again.skipped) == (1, 1)
    mean_image(data, warp(5), tmp_path / "cache")
    mean_image(pictures(noise(8, 8)), warp(4), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(mean_image(data, warp(4), tmp_path / "cache").pixels, first.pixels)


def test_mean_image_of_nothing():
    with pytest.raises(DataError, match="none of its 2 pictures"):
        mean_image(pictures(None, None), warp(4))


def test_mean_image_of_the_embedded_data():
    mean = mean_image(embedded(number=8), warp(64))
    assert mean.pixels.shape == (3, 64, 64)
    assert 0 < mean.pixels.min() < mean.pixels.max() < 1
