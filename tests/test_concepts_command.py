"""``relprop concepts``: the table, the figure, and what is told where something is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

import relprop as rp
from relprop.data.embedded import embedded
from relprop.data.labelled import Labelled
from relprop.plots.concepts import Cell, Row, concept_grid
from relprop.plots.heatmaps import render
from relprop.tools.concepts import concepts

SMALL = "digits-shallow"
ASKED = ("concepts", "--model", SMALL, "--layer", "features.12", "--class", "three", "--limit", 24)
FIGURE = "digits-shallow-features.12-three.concepts.png"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_command_tells_what_python_tells_and_draws_it(call, tmp_path):
    told = json.loads(call(*ASKED, "--top", 3, "--shown", 2, "--json").stdout)
    model = rp.models.load(SMALL)
    outputs = {name: (k,) for k, name in enumerate(model.classes)}
    data = Labelled(embedded(number=24), model.preprocess, outputs)
    found = concepts(model, data, "features.12", "three", top=3, shown=2)
    assert told["pictures"] == found.number == sum(3 in data.labels(k) for k in range(24))
    for row, concept in zip(told["channels"], found.channels, strict=True):
        assert row["channel"] == concept.channel
        assert row["mean"] == pytest.approx(concept.mean)
        assert [view["picture"] for view in row["shown"]] == [view.picture for view in concept.shown]
        assert row["shown"][0]["id"] == f"multi-{concept.shown[0].picture:06d}"
        assert row["shown"][0]["region"] == [list(ends) for ends in concept.shown[0].region]
    assert told["files"] == [FIGURE]
    with Image.open(tmp_path / FIGURE) as figure:
        assert figure.size[1] > 600


def test_a_second_run_overwrites_with_the_same_bytes_and_leaves_nothing_beside(call, tmp_path):
    text = call(*ASKED, "--top", 2, "--shown", 2).stdout
    assert text.startswith("class three: features.12, class 3, ")
    assert text.endswith(f"wrote {FIGURE}\n")
    first = (tmp_path / FIGURE).read_bytes()
    (tmp_path / FIGURE).write_bytes(b"old")
    assert call(*ASKED, "--top", 2, "--shown", 2).stdout == text
    assert (tmp_path / FIGURE).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [FIGURE]


@pytest.mark.parametrize("at", [1, 4, 6])
def test_an_interrupted_command_leaves_nothing_behind(call, tmp_path, at):
    runs = []

    def interrupted(module, *_):
        if isinstance(module, nn.Linear) and module.out_features == 10:
            runs.append(module)
            if len(runs) == at:
                raise KeyboardInterrupt

    handle = register_module_forward_hook(interrupted)
    try:
        line = call(*ASKED, "--batch", 2, code=130).stderr
    finally:
        handle.remove()
    assert len(runs) == at
    assert line.strip().splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_mend(call):
    for words, message in {
        ("--layer", "features.99"): "is no module of the model",
        ("--layer", "feature.12"): "did you mean features.12",
        ("--class", "thre"): "did you mean three",
        ("--class", "11"): "no class 11 in this data; its classes are 0 to 9",
        ("--data", "embeded"): "did you mean embedded",
        ("--data", "voc"): "--data voc --root FOLDER",
        ("--by", "maxx"): "did you mean max",
        ("--method", "gradient"): "gradient has no rules",
        ("--limit", "1", "--class", "nine"): "of the data's 1 pictures is of class 9 (nine)",
        ("--out", "figure.docx"): "not a kind of figure",
        ("--device", "abacus"): "cannot be used here",
    }.items():
        line = call(*ASKED, *words, code=1).stderr
        assert message in line
        assert line.startswith("error: ")
        assert line.count("\n") == 1
    assert "Missing option '--layer'" in call("concepts", "--class", 3, code=2).stderr


def test_a_class_of_the_data_goes_by_the_class_map(call, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    named = []
    for k in range(4):
        noise = np.random.default_rng(k).integers(0, 255, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{k}.png")
        named.append({"id": k, "file_name": f"{k}.png", "width": 80, "height": 70})
    boxes = [{"id": k, "image_id": k, "category_id": 1 + k % 2, "bbox": [0, 0, 9, 9], "area": 81} for k in range(4)]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": named, "annotations": boxes, "categories": kinds}))
    (tmp_path / "map.json").write_text('{"cat": [3, 5]}')
    (folder / "2.png").write_bytes(b"broken")
    words = ("--data", "folder", "--root", folder, "--annotations", coco, "--class-map", "map.json")
    asked = ("concepts", "--model", SMALL, "--layer", "features.2", *words)
    result = call(*asked, "--class", "cat", "--json", "--top", 1)
    told = json.loads(result.stdout)
    assert (told["pictures"], told["skipped"], told["outputs"]) == (1, 1, [3, 5])
    assert told["channels"][0]["low"] is None
    assert "skipped 1 picture that cannot be read; the first:" in result.stderr
    assert "names no output that means 'dog'" in call(*asked, "--class", "dog", code=1).stderr


def test_a_figure_takes_rows_of_any_length_and_refuses_what_does_not_fit():
    picture, values = np.zeros((9, 12, 3), dtype=np.uint8), np.zeros((9, 12))
    cell = Cell(picture, values, ((1, 4), (2, 3)), "a")
    figure = concept_grid("t", [Row("one", [cell, cell]), Row("none", [])])
    assert len(figure.axes) == 4
    assert render(figure)[:4] == b"\x89PNG"
    assert render(concept_grid("t", []), "pdf")[:4] == b"%PDF"
    for wrong in (values[1:], values * np.nan):
        with pytest.raises(ValueError, match="not finite, or not of its picture"):
            concept_grid("t", [Row("", [Cell(picture, wrong, None, "")])])


def test_labels_are_told_without_reading_a_picture():
    model = rp.models.load(SMALL)
    data = Labelled(embedded(number=3), model.preprocess, {"three": (3, 7), "one": ()}, limit=2)
    assert len(data) == 2
    x, labels = data[1]
    names = {thing.name for thing in data.entry(1).things}
    assert labels == data.labels(1) == (frozenset({3, 7}) if "three" in names else frozenset())
    assert torch.equal(x, model.preprocess(embedded(number=3)[1].open()))
    with pytest.raises(IndexError):
        data[2]


REAL = Path(__file__).parents[2] / "shared" / "real"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no shared/real beside the repository: no real pictures")
def test_dogs_of_voc_in_a_real_network(call):
    weights = ("--model", "squeezenet1_0", "--weights", REAL / "squeezenet1_0_imagenet.safetensors")
    data = ("--data", "voc", "--root", REAL / "VOCdevkit", "--class-map", REAL / "voc_to_imagenet.json")
    words = ("--layer", "features.12", "--class", "dog", "--top", 2, "--shown", 4)
    told = json.loads(call("concepts", *weights, *data, *words, "--json").stdout)
    with_dogs = {"000001", "001150", "001763", "004545"}
    assert told["pictures"] == 4
    assert {view["id"] for row in told["channels"] for view in row["shown"]} <= with_dogs
    share = [row["mean"] / told["total"] for row in told["channels"]]
    assert all(0.1 < each < 0.4 for each in share)
    (first,) = [view for view in told["channels"][0]["shown"] if view["id"] == "000001"]
    (_, bottom), (left, right) = first["region"]  # VOC's first picture: the dog is its lower left quarter
    assert left < right < 120 < bottom
