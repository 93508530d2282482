"""Picture files of every kind, whole and broken, and what a network gets to see of them."""

import io
import os
import socket
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models as torchvision_models

from relprop.data.pictures import PictureError, open_picture
from relprop.data.preprocess import Preprocess

IMAGENET = Preprocess(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def gradient(height=40, width=60):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - x * 255 // width], axis=-1).astype(np.uint8)


@pytest.fixture
def saved(tmp_path):
    def save(image, name, **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_colour_is_read_as_it_is(saved):
    picture = open_picture(saved(Image.fromarray(gradient()), "a.png"))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), gradient())


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("CMYK", "a.jpg"), ("P", "a.gif"), ("1", "a.png")])
def test_other_modes_become_rgb(saved, mode, name):
    picture = open_picture(saved(Image.fromarray(gradient()).convert(mode), name))
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    assert np.asarray(picture).std() > 30


def test_sixteen_bits_keep_their_range(saved):
    grey = np.linspace(0, 65535, 60, dtype=np.uint16)[None].repeat(40, axis=0)
    picture = np.asarray(open_picture(saved(Image.fromarray(grey), "a.png")))
    assert np.array_equal(picture[..., 0], grey >> 8)


def test_pixels_without_a_range_are_refused(saved):
    file = saved(Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)), "a.tif")
    with pytest.raises(PictureError, match="32-bit"):
        open_picture(file)


def test_transparency_is_laid_on_white(saved):
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    picture = np.asarray(open_picture(saved(Image.fromarray(pixels), "a.png")))
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[1, 1].tolist() == [255, 255, 255]


def test_orientation_of_the_camera_is_applied(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert open_picture(saved(Image.fromarray(gradient()), "a.jpg", exif=exif)).size == (40, 60)


def test_missing_file_names_the_near_one(saved):
    file = saved(Image.fromarray(gradient()), "cat.png")
    with pytest.raises(PictureError, match=r"cta\.png: no such file; did you mean cat\.png\?"):
        open_picture(file.with_name("cta.png"))
    with pytest.raises(PictureError, match=r"no such file; check the path"):
        open_picture(file.parent / "nowhere" / "x.png")


def test_folder(tmp_path):
    with pytest.raises(PictureError, match="a folder, not a picture"):
        open_picture(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(PictureError, match="empty"):
        open_picture(tmp_path / "a.png")


def test_not_a_picture(tmp_path):
    (tmp_path / "a.png").write_text("not a picture at all")
    with pytest.raises(PictureError, match="not a picture that Pillow can read"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.webp", "a.tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_file(saved, name, share):
    rng = np.random.default_rng(0)
    file = saved(Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)), name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PictureError, match=name) as caught:
        open_picture(file)
    assert "\n" not in str(caught.value)


def test_damaged_png_header(saved):
    file = saved(Image.fromarray(gradient()), "a.png")
    content = bytearray(file.read_bytes())
    content[12:16] = b"XXXX"
    file.write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.png"):
        open_picture(file)


def test_decompression_bomb(tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="million pixels"):
        open_picture(tmp_path / "a.png")


def test_large_but_honest_photograph_is_read_without_a_warning(saved, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # Pillow warns above this and refuses above its double
    file = saved(Image.fromarray(gradient()), "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_picture(file).size == (60, 40)


@pytest.mark.parametrize("size", [(311, 500), (500, 311), (224, 224), (100, 99), (257, 1001)])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "swin_v2_t", "efficientnet_b1", "inception_v3"])
def test_preprocessing_is_torchvisions_own_to_the_bit(name, size):
    preset = torchvision_models.get_model_weights(name).DEFAULT.transforms()
    ours = Preprocess(
        preset.crop_size[0],
        preset.resize_size[0],
        tuple(preset.mean),
        tuple(preset.std),
        preset.interpolation.value,
    )
    image = Image.fromarray(gradient(*size))
    assert torch.equal(ours(image), preset(image))


def test_a_cut_larger_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Preprocess(256, 224, (0.5,), (0.5,))


def test_the_picture_seen_is_the_input_before_normalisation():
    image = Image.fromarray(gradient(311, 500))
    seen = torch.from_numpy(np.array(IMAGENET.picture(image))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std))
    assert torch.allclose(IMAGENET(image), (seen - mean) / std, atol=1e-6)


def test_bounds_are_black_and_white():
    low, high = IMAGENET.bounds
    assert torch.allclose(IMAGENET(Image.new("RGB", (300, 300), "black"))[:, 0, 0], torch.tensor(low))
    assert torch.allclose(IMAGENET(Image.new("RGB", (300, 300), "white"))[:, 0, 0], torch.tensor(high))


def test_small_and_narrow_pictures_are_enlarged():
    assert IMAGENET(Image.new("RGB", (3, 50))).shape == (3, 224, 224)


def test_grey_pictures_need_no_conversion_first():
    buffer = io.BytesIO()
    Image.new("L", (300, 300), 128).save(buffer, "png")
    assert IMAGENET(Image.open(buffer)).shape == (3, 224, 224)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that are files on this system")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    for name in ("a", "b"):
        with pytest.raises(PictureError, match=rf"{name}\.jpg: not a regular file but a pipe; name a picture's file"):
            open_picture(tmp_path / f"{name}.jpg")
    with pytest.raises(PictureError, match="not a regular file but a device"):
        open_picture("/dev/null")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "c.jpg"))
        with pytest.raises(PictureError, match="not a regular file but a socket"):
            open_picture(tmp_path / "c.jpg")


def test_a_link_that_leads_nowhere_is_told_where_it_leads(tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    with pytest.raises(PictureError, match=r"a\.png: no such file; it is a link to b\.png, which is not there: mend"):
        open_picture(tmp_path / "a.png")


def test_a_picture_that_is_nearly_a_line_is_refused_before_it_is_enlarged():
    preprocess = Preprocess(224, 224, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(PictureError, match="2 x 40000 pixels is too thin to have its shorter side brought to 224"):
        preprocess(Image.new("RGB", (2, 40000)))
    assert preprocess(Image.new("RGB", (60, 4000))).shape == (3, 224, 224)
