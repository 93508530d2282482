"""Cards that travel with weights: they come back as they went, and hostile ones are refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import fuzz_weights as fuzz
from relprop.models import ModelError
from relprop.models.files import cards, weight_files

pytestmark = pytest.mark.usefixtures("folder_of_its_own")


def card():
    return fuzz.card()


def saved(path, texts, tensors=None):
    save_file({"0.weight": torch.zeros(2)} | (tensors or {}), path, metadata=texts)
    return path


def test_a_card_comes_back_as_it_went():
    texts, tensors = cards.write(card())
    weights = weight_files.open_weights(saved(Path("a"), texts, tensors), "tiny")
    assert weights.card == card()
    assert weights.preprocess == card().preprocess
    assert torch.equal(weights.preprocess.mean_image, card().preprocess.mean_image)
    assert [*weights.state] == ["0.weight"]
    without = replace(card(), preprocess=replace(card().preprocess, mean_image=None))
    texts, tensors = cards.write(without)
    assert not tensors
    assert cards.read(texts, {}, "it") == without
    assert cards.read({"format": "pt"}, {}, "it") is None


def test_a_card_of_another_model_is_named():
    with pytest.raises(ModelError, match=r"its card says that it is for tiny, not vgg16; use --model tiny"):
        weight_files.open_weights(saved(Path("a"), *cards.write(card())), "vgg16")


def test_a_card_with_other_classes_than_the_weights():
    weights = weight_files.open_weights(saved(Path("a"), *cards.write(card())), "tiny")
    assert weights.names(5, ()) == tuple("abcde")
    with pytest.raises(ModelError, match="its card names 5 classes, and its weights have 7"):
        weights.names(7, ())


LONG = "x" * 2000
HOSTILE = [
    ("", "Expecting value"),
    ("[]", "not an object"),
    ("3", "not an object"),
    ("[" * 100_000, "recursion"),
    ('{"a":' * 100_000, "recursion"),
    ("{}" + " " * (5 << 20), "characters"),
    ('{"format": NaN}', "the number NaN"),
    ('{"format": 1e999}', "the number 1e999"),
    ('{"format": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ('{"format": 2}', "of format 2, and this relprop reads 1: update it"),
    ('{"format": "1"}', "no format"),
    ({"model": None}, "model is None"),
    ({"model": "a\nb"}, r"model is 'a\nb'"),
    ({"model": "\x1b[2J"}, r"model is '\x1b[2J'"),
    ({"model": LONG}, "model is 'xxx"),
    ({"classes": []}, "classes is []"),
    ({"classes": "abcde"}, "classes is 'abcde'"),
    ({"classes": [1, 2, 3, 4, 5]}, "a class is 1"),
    ({"classes": ["a"] * 100_001}, "classes is ['a'"),
    ({"preprocess": None}, "preprocess is None"),
    ({"preprocess": {}}, "preprocessing must say"),
    ({"crop": True}, "preprocess is {"),
    ({"crop": 0}, "not sizes in pixels"),
    ({"crop": 9}, "does not fit"),
    ({"crop": 1 << 40}, "not sizes in pixels"),
    ({"crop": 2**60}, "the number 1152921504606846976"),
    ({"resize": [8, 8, 8]}, "not sizes in pixels"),
    ({"resize": {}}, "not sizes in pixels"),
    ({"mean": [1, 2]}, "must be three numbers"),
    ({"mean": [1, 2, "3"]}, "must be three numbers"),
    ({"std": [1, 0, 1]}, "must be three numbers"),
    ({"channels": ["RGB"]}, "channels are ['RGB']"),
    ({"interpolation": "lanczos"}, "interpolation is 'lanczos'"),
    ({"scale": -1}, "scale is -1"),
    ({"scale": []}, "scale is []"),
    ({"source": {"file": "a"}}, "source is {'file': 'a'}"),
    ({"source": {"file": "a", "sha256": "0", "format": "torch"}}, "sha256 is '0'"),
    ({"check": []}, "check is []"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[5, 1.0]]}}, "the logit [5, 1.0]"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[True, 1.0]]}}, "the logit [True, 1.0]"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[0, 1.0]] * 6}}, "top is [[0, 1.0]"),
    ({"mean_image": False}, "its mean image is not there, or is there unsaid"),
    ({"relprop": 3}, "relprop is 3"),
]


@pytest.mark.parametrize(("changed", "told"), HOSTILE)
def test_hostile_cards(changed, told):
    texts, tensors = cards.write(card())
    if isinstance(changed, str):
        texts = {cards.KEY: changed}
    else:
        data = json.loads(texts[cards.KEY])
        ((key, value),) = changed.items()
        (data if key in data else data["preprocess"])[key] = value
        texts = {cards.KEY: json.dumps(data)}
    with pytest.raises(ModelError) as caught:
        weight_files.open_weights(saved(Path("a"), texts, tensors), "tiny")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (torch.zeros(3, 4, 4), "for a crop of 8"),
        (torch.zeros(1, 8, 8), "has shape [1, 8, 8]"),
        (torch.zeros(3, 8, 8, 1), "has shape [3, 8, 8, 1]"),
        (torch.full((3, 8, 8), math.nan), "numbers that are none"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "numbers that are none"),
    ],
)
def test_hostile_mean_images(image, told):
    texts, _ = cards.write(card())
    with pytest.raises(ModelError) as caught:
        weight_files.open_weights(saved(Path("a"), texts, {cards.MEAN_IMAGE: image}), "tiny")
    assert told in str(caught.value)


def test_reserved_tensors_without_a_card():
    for key in (cards.MEAN_IMAGE, "relprop:else"):
        with pytest.raises(ModelError, match=f"{key} belongs to no card"):
            weight_files.open_weights(saved(Path("a"), None, {key: torch.zeros(3)}), "tiny")
