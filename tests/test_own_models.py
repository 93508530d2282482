"""Networks that are not ours to list: timm's, Hugging Face's, ONNX files, functions of one's own."""

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import relprop as rp
from conftest import randomised
from relprop.commands.requests import StudyRequest
from relprop.commands.study import task_of
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load, names, registry
from relprop.models.families import library_names, timm_zoo
from relprop.models.families.not_stated import NotStated
from relprop.models.families.same_preprocessing import differ
from relprop.record.recorder import logits_of


def failure(name, weights=None):
    with pytest.raises(ModelError) as caught:
        load(str(name), weights)
    return str(caught.value)


def conserves(model, x, method="cmp-alpha2-flat"):
    found = rp.explain(model, x, targets=[1], methods=[method])
    return found.ledger[method].error < 1e-5 and found.relevance[method].abs().max() > 0


def picture(width=301, height=211):
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height))


# what a network may return


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)
        self.wrap = wrap

    def forward(self, x):
        features = self.conv(x).relu()
        return self.wrap(self.fc(features.mean((2, 3))), features)


WRAPS = {
    "tensor": lambda y, f: y,
    "object": lambda y, f: SimpleNamespace(logits=y, loss=None),
    "mapping": lambda y, f: {"features": f, "logits": y},
    "logits first": lambda y, f: (y, f),
    "logits last": lambda y, f: [f, None, y],
    "loss first": lambda y, f: (y.sum(), y),
    "indices first": lambda y, f: (y.argmax(1), torch.zeros(2, 2, dtype=torch.long), y),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_logits_are_found_in_what_a_network_returns(kind):
    model, x = Returns(WRAPS[kind]).eval(), torch.rand(2, 3, 6, 6)
    plain = Returns(WRAPS["tensor"]).eval()
    plain.load_state_dict(model.state_dict())
    for method in ("cmp-alpha2-flat", "gradient"):
        assert torch.equal(rp.attribute(model, x, 1, method), rp.attribute(plain, x, 1, method))


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ((torch.zeros(2, 3, 4), None, "x"), r"tuple of Tensor \(2, 3, 4\), NoneType, str"),
        ({"scores": torch.zeros(2, 5)}, r"dict of scores: Tensor \(2, 5\)"),
        ((), "returned tuple"),
        (torch.zeros(2, 5).numpy(), "returned ndarray"),
        (SimpleNamespace(logits="none"), "returned SimpleNamespace"),
        ([(torch.zeros(2, 5),)], "list of tuple"),
    ],
)
def test_what_holds_no_logits_is_described(returned, told):
    with pytest.raises(rp.InputError, match=told) as caught:
        logits_of(returned)
    assert "\n" not in str(caught.value)


# what a network does not tell


def test_what_is_unknown_says_how_to_tell_it_whatever_is_asked():
    unknown = NotStated("say so")
    for use in (
        lambda: unknown(picture()),
        lambda: unknown.crop,
        lambda: len(unknown),
        lambda: unknown[0],
        lambda: unknown.picture(picture()),
    ):
        with pytest.raises(ModelError, match=r"^say so$"):
            use()
    with pytest.raises(ModelError, match=r"^say so$"):
        list(unknown)
    assert getattr(unknown, "bounds", None) is None
    assert copy.deepcopy(unknown).how == pickle.loads(pickle.dumps(unknown)).how == "say so"


def test_ways_to_preprocess_differ_by_what_they_differ_by():
    ours = Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3)
    assert differ(ours, ours) == 0
    for other in (
        Preprocess(32, 41, (0.5,) * 3, (0.25,) * 3),
        Preprocess(32, (40, 40), (0.5,) * 3, (0.25,) * 3),
        Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3, "bicubic"),
        Preprocess(32, 40, (0.5,) * 3, (0.25,) * 3, channels="BGR"),
        Preprocess(32, 40, (0.5, 0.5, 0.4), (0.25,) * 3),
        Preprocess(33, 40, (0.5,) * 3, (0.25,) * 3),
    ):
        assert differ(ours, other) > 10
    assert differ(ours, Preprocess(32, 40, (0.5 + 1 / 255,) * 3, (0.25,) * 3)) == pytest.approx(1, abs=1e-3)
    moved = lambda image: torch.roll(ours(image), (1, 1), (1, 2))  # noqa: E731 - a name for what the test does
    assert differ(ours, moved) > 10
    assert differ(ours, moved, shift=1) == 0


# lists


def test_names_of_timm_are_found_without_importing_it():
    timm = pytest.importorskip("timm")
    assert [name.removeprefix("timm:") for name in library_names.timm()] == sorted(timm.list_models())


@pytest.mark.slow
def test_listing_imports_neither_torch_nor_timm_nor_transformers_nor_onnx():
    script = (
        "import sys\nfrom relprop.cli import app\napp(['models', '--json'], standalone_mode=False)\n"
        "slow = {'torch', 'torchvision', 'timm', 'transformers', 'onnx', 'onnx2torch'}\n"
        "print(*(set(sys.modules) & slow), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == "\n"
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows)[: len(names())] == names()
    forms = ["timm:NAME", "hf:FOLDER, hf:OWNER/NAME", "FILE.onnx", "package.module:factory"]
    assert list(rows)[len(names()) :] == forms
    assert rows["caffenet"]["source"] == "Caffe"


def test_names_that_begin_so(call):
    rows = json.loads(call("models", "timm:resnet10", "--json").stdout)
    assert "timm:resnet10t" in {row["name"] for row in rows}
    assert all(row["name"].startswith("timm:resnet10") and row["source"] == "timm" for row in rows)
    assert [row["name"] for row in json.loads(call("models", "resnet1", "--json").stdout)] == [
        "resnet101",
        "resnet152",
        "resnet18",
    ]
    assert call("models", "hf:").stdout.startswith("hf:FOLDER")
    assert "did you mean timm:resnet10t" in call("models", "timm:rasnet10t", code=1).stderr


def test_a_library_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    absent = {"timm", "transformers", "onnx2torch"}
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "relprop.models.families.optional_libraries.find_spec", lambda name: None if name in absent else find(name)
    )
    library_names.timm.cache_clear()
    (tmp_path / "net.onnx").write_bytes(b"")
    try:
        assert failure("timm:resnet18") == 'timm:resnet18: timm is not installed; pip install "relprop[timm]"'
        assert 'transformers is not installed; pip install "relprop[huggingface]"' in failure(f"hf:{tmp_path}")
        assert 'onnx2torch is not installed; pip install "relprop[onnx]"' in failure(tmp_path / "net.onnx")
        rows = {name: family.needs(name) for name, family in registry.listing()}
        assert rows["timm:NAME"] == 'pip install "relprop[timm]"'
        assert rows["FILE.onnx"] == 'pip install "relprop[onnx]"'
    finally:
        library_names.timm.cache_clear()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm:resnet5O", "did you mean timm:resnet50"),
        ("resnet10t", r"did you mean timm:resnet10t\?"),
        ("efficientnet_lite0x", "did you mean timm:efficientnet_lite0"),
        ("squezenet1_0", "did you mean squeezenet1_0"),
        ("microsoft/resnet-50", "did you mean hf:microsoft/resnet-50"),
        (__file__, "a file: pass it with --weights"),
        ("timm:qqqqqqqqqqqq", "relprop models timm: lists them"),
    ],
)
def test_a_wrong_name_suggests_what_was_meant(name, told):
    with pytest.raises(ModelError, match=told):
        load(name, "random")


# timm


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm")


SMALL = ("test_resnet", "test_efficientnet", "resnet10t", "mobilenetv3_small_050", "semnasnet_050")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("name", SMALL)
def test_networks_of_timm_are_explained(name):
    model = load(f"timm:{name}", "random")
    assert isinstance(model.preprocess, Preprocess)
    assert model.classes[207] == "golden retriever"
    assert conserves(randomised(model), torch.rand(1, 3, 64, 64, dtype=torch.float64))


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "op"), [("test_vit", "layer_norm"), ("test_vit", "attention"), ("test_convnext", "norm")]
)
def test_attention_and_layer_norm_are_named(name, op):
    model = load(f"timm:{name}", "random")
    with pytest.raises(rp.UnsupportedOp, match=op):
        rp.attribute(model, torch.rand(1, 3, 160, 160), 1)


def test_preprocessing_is_timms_to_the_bit(timm):
    compared = 0
    for name in (*SMALL, "vit_tiny_patch16_224", "tf_efficientnet_b1", "inception_v4", "convnext_atto", "test_vit2"):
        model = load(f"timm:{name}", "random")
        theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        for image in (picture(), picture(211, 301), picture(640, 480), picture(64, 64)):
            assert torch.equal(model.preprocess(image), theirs(image)), name
            compared += 1
    assert compared == 40


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"crop_mode": "squash"}, None),
        ({"crop_mode": "squash", "crop_pct": 1.0}, None),
        ({"interpolation": "nearest"}, None),
        ({"crop_mode": "border"}, "crop mode 'border'"),
        ({"crop_pct": 1.15}, "does not fit"),
        ({"input_size": (3, 160, 96)}, "3 x 160 x 96"),
        ({"input_size": (1, 160, 160)}, "1 x 160 x 160"),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos'"),
    ],
)
def test_preprocessing_that_is_not_ours_is_refused_and_not_guessed(timm, changed, told):
    model = timm.create_model("test_resnet")
    model.pretrained_cfg = model.pretrained_cfg | {"fixed_input_size": False} | changed
    found = timm_zoo.preprocess(model, "timm:test_resnet")
    if told is None:
        theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        assert torch.equal(found(picture()), theirs(picture()))
    else:
        with pytest.raises(ModelError, match=told):
            found(picture())


def test_weights_from_a_file_for_a_network_of_timm(timm, tmp_path):
    with torch.random.fork_rng(devices=[]):
        theirs = timm.create_model("test_resnet", num_classes=7).eval()
    save_file(theirs.state_dict(), tmp_path / "a")
    model = load("timm:test_resnet", tmp_path / "a")
    assert len(model.classes) == 7
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(x), theirs(x))
    assert "does not fit timm:resnet10t" in failure("timm:resnet10t", tmp_path / "a")
    assert "did you mean random?" in failure("timm:resnet10t", "rndom")


@pytest.mark.usefixtures("timm")
def test_random_weights_of_timm_are_the_same_each_time_and_draw_no_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (load("timm:test_resnet", "random").state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A Hub where no one answers, and nothing kept from it."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("timm", "offline")
def test_published_weights_without_a_network_are_one_line():
    told = failure("timm:resnet10t")
    assert "no download from http://127.0.0.1:9" in told
    assert "--weights FILE" in told
    assert "\n" not in told
    assert "no weights 'foo' of timm:resnet10t" in failure("timm:resnet10t.foo")
    assert "timm publishes no weights" in failure("timm:botnet50ts_256")


def kept(hub, repository):
    """The folder of a repository among what the Hub's library keeps, laid out as it does; to be filled."""
    home = hub / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    folder = home / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("offline")
def test_published_weights_of_timm_come_from_where_the_hub_keeps_them(timm, tmp_path):
    theirs = {key: value + 1 for key, value in timm.create_model("test_resnet").state_dict().items()}
    file = kept(tmp_path / "hub", "timm/test_resnet.r160_in1k") / "model.safetensors"
    save_file(theirs, file)
    own = load("timm:test_resnet").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in own.items())
    file.write_bytes(file.read_bytes()[:100])
    assert "cut short or damaged" in failure("timm:test_resnet")


# Hugging Face


@pytest.fixture(scope="module")
def transformers():
    found = pytest.importorskip("transformers")
    found.utils.logging.disable_progress_bar()
    return found


@pytest.fixture
def saved(transformers, tmp_path):
    """Save a tiny classifier with its processor; returns the folder."""

    def save(kind="resnet", processor=None, **options):
        torch.manual_seed(7)  # not what "random" draws
        if kind == "vit":
            config = transformers.ViTConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                image_size=32,
                num_labels=5,
            )
            model = transformers.ViTForImageClassification(config)
        elif kind == "convnext":
            config = transformers.ConvNextConfig(hidden_sizes=[8, 8], depths=[1, 1], num_stages=2, num_labels=5)
            model = transformers.ConvNextForImageClassification(config)
        elif kind == "mobilenet":
            config = transformers.MobileNetV1Config(depth_multiplier=0.25, num_labels=5, hidden_act="relu")
            model = transformers.MobileNetV1ForImageClassification(config)
        elif kind == "regnet":
            config = transformers.RegNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5, groups_width=4
            )
            model = transformers.RegNetForImageClassification(config)
        else:
            labels = dict(enumerate("abcde"))
            config = transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=labels
            )
            model = transformers.ResNetForImageClassification(config)
        randomised(model, torch.float32).save_pretrained(tmp_path, **options)
        if processor is not None:
            processor.save_pretrained(tmp_path)
        return tmp_path, model

    return save


def test_a_folder_of_hugging_face_is_explained(saved, transformers):
    folder, theirs = saved(processor=transformers.ConvNextImageProcessor(size={"shortest_edge": 64}))
    model = load(f"hf:{folder}")
    assert model.classes == tuple("abcde")
    assert (model.preprocess.crop, model.preprocess.resize) == (64, 73)
    x = model.preprocess(picture())[None]
    torch.testing.assert_close(model(x).logits, theirs(x).logits)
    assert conserves(model.double(), x.double())


@pytest.mark.parametrize("kind", ["mobilenet", "regnet"])
def test_more_networks_of_hugging_face(kind, saved):
    folder, _ = saved(kind)
    assert conserves(load(f"hf:{folder}").double(), torch.rand(1, 3, 64, 64, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "op"), [("vit", "layer_norm"), ("convnext", "layer_norm")])
def test_what_the_engine_cannot_pass_in_hugging_face_is_named(kind, op, saved):
    folder, _ = saved(kind)
    with pytest.raises(rp.UnsupportedOp, match=op):
        rp.attribute(load(f"hf:{folder}"), torch.rand(1, 3, 32, 32), 1)


def processors(transformers):
    """Processors by what is particular about them."""
    return {
        "squash": transformers.ViTImageProcessor(size={"height": 48, "width": 48}),
        "crop": transformers.BitImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 48, "width": 48}),
        "convnext": transformers.ConvNextImageProcessor(size={"shortest_edge": 48}, crop_pct=0.875),
        "convnext odd": transformers.ConvNextImageProcessor(size={"shortest_edge": 48}, crop_pct=0.93),
        "convnext large": transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
        "BGR": transformers.MobileViTImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 48, "width": 48}, resample=2
        ),
        "0..255": transformers.ViTImageProcessor(
            size={"height": 48, "width": 48}, do_rescale=False, image_mean=[100.0, 110.0, 120.0], image_std=[1.0] * 3
        ),
        "unnormalised": transformers.ViTImageProcessor(size={"height": 48, "width": 48}, do_normalize=False),
        "twice": transformers.EfficientNetImageProcessor(size={"height": 48, "width": 48}, resample=2),
    }


def test_preprocessing_is_that_of_hugging_face(saved, transformers):
    from transformers import AutoImageProcessor  # noqa: PLC0415 - optional

    folder, _ = saved()
    for kind, processor in processors(transformers).items():
        processor.save_pretrained(folder)
        ours = load(f"hf:{folder}", "random").preprocess
        assert isinstance(ours, Preprocess), (kind, ours)
        again = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        image = picture(301, 215)
        theirs = again(image, return_tensors="pt")["pixel_values"][0]
        level = torch.tensor(ours.std)[:, None, None] * 255 / ours.scale
        shifted = [
            (ours(image)[:, : ours.crop - down, : ours.crop - right] - theirs[:, down:, right:]).abs() * level
            for down in (0, 1)
            for right in (0, 1)
        ]
        assert min(float(difference.max()) for difference in shifted) <= 2.5, kind


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"image_processor_type": "LevitImageProcessor"}, "none of ours"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 48}}, "no square"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 1}, "resample"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "do_resize"),
        ({"image_processor_type": "NobodysImageProcessor"}, "none of ours"),
        ("not json", "none of ours"),
        (None, "no preprocessor_config.json"),
    ],
)
def test_preprocessing_of_hugging_face_that_is_not_ours_is_refused(content, told, saved):
    folder, _ = saved()
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "preprocessor_config.json").write_text(text)
    model = load(f"hf:{folder}")
    with pytest.raises(ModelError, match=told) as caught:
        model.preprocess(picture())
    assert "\n" not in str(caught.value)


def test_weights_for_a_network_of_hugging_face(saved, tmp_path):
    folder, theirs = saved()
    assert not torch.equal(load(f"hf:{folder}", "random").classifier[1].weight, theirs.classifier[1].weight)
    state = {key: value + 1 if value.is_floating_point() else value for key, value in theirs.state_dict().items()}
    save_file(state, tmp_path / "mine")
    assert torch.equal(load(f"hf:{folder}", tmp_path / "mine").classifier[1].weight, theirs.classifier[1].weight + 1)
    assert "does not fit" in failure("digits-deep", tmp_path / "mine")


def test_broken_folders_of_hugging_face(saved, tmp_path):
    folder, model = saved()
    assert "no such folder" in failure(f"hf:{tmp_path / 'gone'}")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:500])
    assert "not a classifier of pictures that transformers can load" in failure(f"hf:{folder}")
    (folder / "model.safetensors").unlink()
    assert "no model.safetensors" in failure(f"hf:{folder}")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert "only pickled weights, which are not read" in failure(f"hf:{folder}")
    save_file(
        {key: v for key, v in model.state_dict().items() if "classifier" not in key}, folder / "model.safetensors"
    )
    assert "its weights lack classifier" in failure(f"hf:{folder}")
    (folder / "config.json").write_text("{")
    assert "config.json cannot be used" in failure(f"hf:{folder}")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "not a classifier of pictures" in failure(f"hf:{folder}", "random")
    (folder / "config.json").unlink()
    assert "no config.json" in failure(f"hf:{folder}")


def test_code_that_a_folder_brings_along_is_not_run(saved, tmp_path):
    folder, _ = saved()
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "theirs",
        "auto_map": {"AutoConfig": "theirs.Config", "AutoModelForImageClassification": "theirs.Net"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    assert "config.json cannot be used" in failure(f"hf:{folder}")
    assert not (tmp_path / "trace").exists()


@pytest.mark.usefixtures("transformers", "offline")
def test_the_hub_without_a_network_is_one_line():
    told = failure("hf:microsoft/resnet-18")
    assert "no download from http://127.0.0.1:9" in told
    assert "\n" not in told


@pytest.mark.usefixtures("offline")
def test_a_repository_comes_from_where_the_hub_keeps_it(saved, tmp_path):
    folder, theirs = saved()
    copied = kept(tmp_path / "hub", "some/net")
    for name in ("config.json", "model.safetensors"):
        (copied / name).write_bytes((folder / name).read_bytes())
    own = load("hf:some/net").state_dict()
    assert all(torch.equal(value, own[key]) for key, value in theirs.state_dict().items())
    assert "no download" in failure("hf:some/net@another")


def test_nothing_but_the_result_is_printed(saved, capfd):
    folder, _ = saved()
    load(f"hf:{folder}")
    assert capfd.readouterr() == ("", "")


# ONNX


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x):
        y = self.two(nn.functional.hardswish(self.norm(self.one(x))))
        gate = self.excite(self.squeeze(y.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return (x + y * gate).relu()


def convolutional():
    stem = [nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(32, 5)]
    return randomised(
        nn.Sequential(OrderedDict(stem=nn.Sequential(*stem), block=Block(), head=nn.Sequential(*head))), torch.float32
    )


def export(model, path, x=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is an old one
        torch.onnx.export(
            model, torch.rand(1, 3, 32, 32) if x is None else x, path, dynamo=False, opset_version=13, **options
        )
    return path


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnx2torch")
    return importlib.import_module("onnx")


@pytest.fixture
def exported(onnx, tmp_path):
    model = convolutional()
    return export(model, tmp_path / "net.onnx"), model


@pytest.mark.parametrize("method", ["lrp-z", "lrp-epsilon", "cmp-alpha1", "cmp-alpha2-flat", "lrp-alpha2", "gradient"])
def test_an_onnx_copy_is_explained_as_its_original(method, exported):
    path, original = exported
    copied, x = load(str(path)), torch.rand(3, 3, 32, 32)
    assert copied.classes == tuple(f"class {index}" for index in range(5))
    torch.testing.assert_close(copied(x), original(x), rtol=1e-5, atol=1e-6)
    one, other = rp.attribute(original, x, 2, method), rp.attribute(copied, x, 2, method)
    assert (one - other).abs().max() <= 1e-5 * one.abs().max()


class Moves(nn.Module):
    """Shuffled channels, halves, a gate of equal shape: as ShuffleNet has them."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 16, 5)

    def forward(self, x):
        y = self.conv(x)
        first, second = y.view(y.shape[0], 2, 4, 8, 8).transpose(1, 2).flatten(1, 2).chunk(2, dim=1)
        y = torch.cat([nn.functional.hardswish(second), nn.functional.leaky_relu(first)], 1)
        return self.fc(nn.functional.avg_pool2d(y, 2).flatten(1)), y


@pytest.mark.usefixtures("onnx")
def test_an_onnx_copy_of_what_moves_numbers_and_returns_several(tmp_path):
    original = Moves().eval()
    x = torch.rand(1, 3, 8, 8)
    copied = load(str(export(original, tmp_path / "net.onnx", x)))
    one, other = (rp.attribute(model, x, 1, "cmp-alpha2-flat") for model in (original, copied))
    assert (one - other).abs().max() <= 1e-5 * one.abs().max()
    with pytest.raises(rp.InputError, match=r"takes 1 x 3 x 8 x 8 and does not run on 4 x 3 x 8 x 8.*dynamic_axes"):
        copied(x.expand(4, -1, -1, -1))


def test_a_slice_takes_what_onnx_says():
    from relprop.models.families.onnx_file import Slice  # noqa: PLC0415 - beside its test

    x, t = torch.arange(24.0).reshape(2, 3, 4), torch.tensor
    assert torch.equal(Slice()(x, t([1]), t([2])), x[1:2])
    assert torch.equal(Slice()(x, t([1, 0]), t([9, 4]), t([1, -1]), t([1, 2])), x[:, 1:, ::2])
    assert torch.equal(Slice()(x, t([-1]), t([-(2**63)]), t([2]), t([-2])), x[..., [3, 1]])
    assert torch.equal(Slice()(x, t([3]), t([0]), t([2]), t([-1])), x[..., [3, 2, 1]])


def card(path, **changes):
    told = {"preprocess": Preprocess(32, 36, (0.5,) * 3, (0.25,) * 3).as_data(), "classes": list("abcde")} | changes
    path.with_name(f"{path.name}.json").write_text(json.dumps(told))


def test_a_file_beside_tells_preprocessing_and_classes(exported):
    path, _ = exported
    card(path)
    model = load(str(path))
    assert model.classes == tuple("abcde")
    assert model.preprocess == Preprocess(32, 36, (0.5,) * 3, (0.25,) * 3)
    card(path, classes=None)
    assert load(str(path)).classes[4] == "class 4"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": ["a"]}, "names 1 classes, and the network has 5"),
        ({"classes": [1, 2, 3, 4, 5]}, "classes must be names"),
        ({"preprocess": {}}, "preprocessing must say"),
        (
            {"preprocess": Preprocess(48, 48, (0.5,) * 3, (0.25,) * 3).as_data()},
            "gives . x 3 x 48 x 48.* takes 1 x 3 x 32 x 32",
        ),
    ],
)
def test_a_file_beside_that_is_wrong(changes, told, exported):
    path, _ = exported
    card(path, **changes)
    with pytest.raises(ModelError, match=told):
        load(str(path))
    path.with_name("net.onnx.json").write_text("[1")
    assert "does not tell the preprocessing" in failure(path)
    path.with_name("net.onnx.json").write_text("{}")
    assert "no 'preprocess'" in failure(path)


def test_without_that_file_commands_say_how_to_write_it(exported, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call("explain", "--model", "net.onnx", code=1).stderr
    assert "does not tell its preprocessing; write net.onnx.json as {" in told
    assert told.count("\n") == 1
    example = json.loads(told[told.index("{") : told.rindex("}") + 1])
    Preprocess.from_data(example["preprocess"])
    with pytest.raises(ModelError, match="does not tell its preprocessing"):
        task_of(StudyRequest(model="net.onnx", limit=1))
    assert "winner takes all" in call("plan", "--model", "net.onnx").stdout  # the file tells its size
    card(tmp_path / "net.onnx")
    assert "net.onnx" in call("explain", "--model", "net.onnx", "--target", "b").stdout


def test_what_is_no_onnx_network(onnx, tmp_path, exported):
    path, _ = exported
    assert "no such ONNX file; did you mean net.onnx?" in failure(tmp_path / "nett.onnx")
    assert "holds its own weights" in failure(path, "random")
    for content in (b"", b"\x00" * 50, b"<!DOCTYPE html>", path.read_bytes()[:1000], path.read_bytes() + b"\x07"):
        (tmp_path / "a.onnx").write_bytes(content)
        assert "not an ONNX file, cut short or damaged" in failure(tmp_path / "a.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "no such ONNX file" in failure(tmp_path / "folder.onnx")
    two = onnx.load(path)
    two.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    onnx.save(two, tmp_path / "two.onnx")
    assert "takes 2 inputs" in failure(tmp_path / "two.onnx")


def test_ops_that_cannot_be_converted_are_named_all_at_once(onnx, tmp_path, exported):
    path, _ = exported
    model = onnx.load(path)
    model.opset_import.add(domain="my.ops", version=1)
    model.graph.node[1].op_type, model.graph.node[1].domain = "Swish2", "my.ops"
    model.graph.node[-1].op_type = "Gem"
    onnx.save(model, tmp_path / "custom.onnx")
    told = failure(tmp_path / "custom.onnx")
    assert "cannot convert Gem, Swish2 of my.ops" in told
    assert "dynamo=False, opset_version=13" in told


def outside(onnx, path, location):
    """Move the weights of a file out of it, and let it say that they are at `location`."""
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_weights_beside_an_onnx_file(onnx, exported, tmp_path):
    path, original = exported
    outside(onnx, path, "weights.bin")
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load(str(path))(x), original(x), rtol=1e-5, atol=1e-6)
    (tmp_path / "weights.bin").unlink()
    assert "'weights.bin', which is not there" in failure(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", "sub/../../secret"])
def test_weights_outside_of_the_folder_are_refused(location, onnx, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = export(convolutional(), folder / "net.onnx")
    outside(onnx, path, location)
    assert "outside of its folder" in failure(path)


def test_more_weights_than_there_are_are_refused(onnx, tmp_path):
    path = export(convolutional(), tmp_path / "net.onnx")
    outside(onnx, path, "weights.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [entry for entry in tensor.external_data if entry.key == "location"]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
    path.write_bytes(model.SerializeToString())
    assert "claims" in failure(path)


@pytest.mark.parametrize("field", ["name", "domain", "op_type", "output"])
def test_names_in_an_onnx_file_are_not_run_as_code(field, onnx, exported, tmp_path):
    """The converter writes names of nodes into Python code; a name may end the string that it stands in."""
    path, _ = exported
    trace = tmp_path / "trace"
    hostile = f"a\", open('{trace}', 'w')) or getattr(self, \"training"
    model = onnx.load(path)
    node = model.graph.node[0]
    if field == "output":
        for other in model.graph.node:
            names_in = [hostile if name == node.output[0] else name for name in other.input]
            del other.input[:]
            other.input.extend(names_in)
        node.output[0] = hostile
    else:
        setattr(node, field, hostile)
    path.write_bytes(model.SerializeToString())
    try:
        load(str(path))(torch.rand(1, 3, 32, 32))
    except ModelError:
        assert field in ("domain", "op_type")
    assert not trace.exists()


def test_names_of_nodes_that_are_names_of_modules_methods(onnx, exported):
    path, original = exported
    model = onnx.load(path)
    for node, name in zip(
        model.graph.node, ("forward", "training", "initializers", "forward", "", "a.b", "x" * 999), strict=False
    ):
        node.name = name
    path.write_bytes(model.SerializeToString())
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load(str(path))(x), original(x), rtol=1e-5, atol=1e-6)


HOSTILE = """
import pathlib, random, resource, sys, warnings
warnings.simplefilter("ignore")
from relprop.models import ModelError, load
source = pathlib.Path(sys.argv[1])
load(str(source))  # what the libraries need comes before the limit
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
whole, rng, told = source.read_bytes(), random.Random(0), {"loaded": 0, "refused": 0}
target = source.with_name("mutant.onnx")
for _ in range(int(sys.argv[2])):
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        kind, at = rng.randrange(4), rng.randrange(len(content))
        if kind == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            del content[at : at + rng.randrange(1, 9)]
        else:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
    if rng.random() < 0.05:
        content = content[: rng.randrange(len(content))]
    target.write_bytes(content)
    try:
        load(str(target))
        told["loaded"] += 1
    except ModelError as error:
        assert "\\n" not in str(error)
        told["refused"] += 1
print(told["loaded"], told["refused"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory are Linux's here")
def test_damaged_onnx_files_load_or_are_refused(exported, damaged):
    path, _ = exported
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HOSTILE, path, str(damaged)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    loaded, refused = map(int, result.stdout.split())
    assert loaded + refused == damaged
    assert loaded > damaged // 50
    assert refused > damaged // 2


# functions of one's own

OWN = """
from torch import nn
from relprop.models import Preprocess

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))

def bare():
    return Net()

def make():
    network = Net()
    network.preprocess = Preprocess(32, 36, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network.classes = ["cat", "dog"]
    return network

def half():
    network = make()
    network.classes = "cat"
    return network

ready = make()
number = 3

def broken():
    raise ValueError("no such\\nthing")

def other():
    return "a network"

def picky(depth):
    return make()

def late():
    import own_helper_of_the_test
    return own_helper_of_the_test.made()

class Space:
    @staticmethod
    def make():
        return make()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the current folder, which the path of modules does not name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "own_package_of_the_test").mkdir()
    (tmp_path / "own_package_of_the_test" / "nets.py").write_text(OWN)
    (tmp_path / "own_helper_of_the_test.py").write_text("from own_package_of_the_test.nets import make as made\n")
    (tmp_path / "wrong_of_the_test.py").write_text("import torch\nimport nowhere_to_be_found\n")
    (tmp_path / "unclosed_of_the_test.py").write_text("x = (\n")
    (tmp_path / "leaving_of_the_test.py").write_text("raise SystemExit(3)\n")
    yield "own_package_of_the_test.nets"
    for name in [name for name in sys.modules if name.endswith("_of_the_test") or "_of_the_test." in name]:
        del sys.modules[name]


@pytest.mark.parametrize("attribute", ["make", "ready", "late", "Space.make"])
def test_a_function_or_a_network_of_ones_own(attribute, own):
    before = list(sys.path)
    model = load(f"{own}:{attribute}")
    assert sys.path == before
    assert not model.training
    assert model.classes == ("cat", "dog")
    assert model.preprocess.crop == 32
    assert conserves(model, model.preprocess(picture())[None])


def test_weights_for_a_network_of_ones_own(own, tmp_path):
    state = load(f"{own}:make").state_dict()
    wanted = {key: value + 1 for key, value in state.items()}
    save_file(wanted, tmp_path / "a")
    loaded = load(f"{own}:make", tmp_path / "a").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in wanted.items())
    assert load(f"{own}:make", "random").classes == ("cat", "dog")
    save_file({"0.weight": state["0.weight"]}, tmp_path / "b")
    assert "does not fit" in failure(f"{own}:make", tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{own}:mak", "no 'mak' in .*own_package_of_the_test.nets.py; did you mean make"),
        ("{own}:Space.mk", "no 'mk' in Space; did you mean make"),
        ("{own}:number", "int, neither a network nor a function"),
        ("{own}:other", "it returned str, not a torch.nn.Module"),
        ("{own}:broken", r"calling it without arguments failed: ValueError: no such thing \(nets.py, line 27\)"),
        ("{own}:picky", "calling it without arguments failed: TypeError: picky"),
        (
            "own_package_of_the_test.net:make",
            "no module 'own_package_of_the_test.net'; did you mean own_package_of_the_test.nets",
        ),
        ("own_helper_of_the_tset:make", "no module 'own_helper_of_the_tset'; did you mean own_helper_of_the_test"),
        (
            "wrong_of_the_test:make",
            "importing wrong_of_the_test failed: ModuleNotFoundError: .*nowhere_to_be_found.* .wrong_.*py, line 2",
        ),
        ("unclosed_of_the_test:make", "importing unclosed_of_the_test failed: SyntaxError.*line 1"),
        ("leaving_of_the_test:make", "importing leaving_of_the_test failed: SystemExit: 3"),
        ("own_helper_of_the_test.py:made", "did you mean own_helper_of_the_test:made"),
        ("tim:resnet18", "did you mean timm"),
    ],
)
def test_mistakes_in_ones_own(name, told, own):
    with pytest.raises(ModelError, match=told) as caught:
        load(name.format(own=own))
    assert "\n" not in str(caught.value)


def test_a_network_of_ones_own_that_does_not_say_enough(own):
    told = failure(f"{own}:bare")
    assert "network.preprocess is missing and network.classes is missing" in told
    example = told.split("\n", 1)[1]
    network = nn.Sequential()
    exec("\n".join(line.strip() for line in example.splitlines()), {"network": network})
    assert isinstance(network.preprocess, Preprocess)
    assert network.classes == ("cat", "dog")
    assert "network.classes is str, not what it should be" in failure(f"{own}:half")


@pytest.mark.slow
def test_ones_own_on_the_command_line(own, call, tmp_path):
    command = [
        Path(sys.executable).with_name("relprop"),
        "explain",
        "--model",
        f"{own}:make",
        "--target",
        "dog",
        "--json",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["explanations"][0]["class"] == "dog"
    result = call("explain", "--model", f"{own}:bare", "--target", "dog", "--json", code=1)
    assert result.stderr.startswith(f"error: {own}:bare: network.preprocess is missing")


def test_ones_own_in_a_study_and_in_a_plan(own, call):
    assert "linear" in call("plan", "--model", f"{own}:make").stdout
    mapping = Path("map.json")
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    mapping.write_text(json.dumps({digit: [index % 2] for index, digit in enumerate(digits)}))
    words = ("--limit", "2", "--methods", "cmp-alpha2-flat", "--class-map", mapping, "--no-occlusion", "--json")
    told = json.loads(call("study", "--model", f"{own}:make", *words).stdout)
    assert told["pictures"] == 2
