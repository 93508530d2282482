"""Networks of Hugging Face: explained, with their processors' preprocessing, from folders and from the Hub."""

import json

import pytest
import torch
from safetensors.torch import save_file

from conftest import randomised
from hub import hub_folder
from loaded_networks import conserves, failure, picture
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load


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


@pytest.mark.parametrize("kind", ["mobilenet", "regnet", "vit", "convnext"])
def test_more_networks_of_hugging_face(kind, saved):
    folder, _ = saved(kind)
    side = 32 if kind == "vit" else 64
    assert conserves(load(f"hf:{folder}").double(), torch.rand(1, 3, side, side, dtype=torch.float64))


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


@pytest.mark.usefixtures("transformers", "silent_hub")
def test_the_hub_without_a_network_is_one_line():
    told = failure("hf:microsoft/resnet-18")
    assert "no download from http://127.0.0.1:9" in told
    assert "\n" not in told


@pytest.mark.usefixtures("silent_hub")
def test_a_repository_comes_from_where_the_hub_keeps_it(saved, tmp_path):
    folder, theirs = saved()
    copied = hub_folder(tmp_path / "hub", "some/net")
    for name in ("config.json", "model.safetensors"):
        (copied / name).write_bytes((folder / name).read_bytes())
    own = load("hf:some/net").state_dict()
    assert all(torch.equal(value, own[key]) for key, value in theirs.state_dict().items())
    assert "no download" in failure("hf:some/net@another")


def test_nothing_but_the_result_is_printed(saved, capfd):
    folder, _ = saved()
    load(f"hf:{folder}")
    assert capfd.readouterr() == ("", "")
