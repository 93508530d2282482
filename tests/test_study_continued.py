"""A study that goes on: elsewhere it is the same study, on other data it is not, and damage is noticed first."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import relprop as rp
from annotated_pictures import one, write, xml
from relprop.commands.requests import StudyRequest
from relprop.commands.study import task_of, without_place
from relprop.data.folder import folder
from relprop.data.geometry import like
from relprop.data.imagenet import imagenet
from relprop.study.runner import run
from relprop.study.schema import TABLES
from relprop.study.store import Store, StudyError
from relprop.study.task import Task, class_targets, identity
from test_study import contents, rows_of

NUMBER = 6


def drawn(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def boxes(k):
    return one("six", (2, 2, 20 + k, 20)), one("two", (30, 30, 50, 50 + k))


@pytest.fixture
def pictures(tmp_path):
    for k in range(NUMBER):
        write(tmp_path / "pictures" / f"{k}.png", drawn(k))
        write(tmp_path / "pictures" / f"{k}.xml", xml(*boxes(k), size=(64, 64)))
    return tmp_path / "pictures"


def study(place, annotations=None, **options):
    data, model = folder(place, annotations), rp.models.load("digits-shallow")
    outputs = {"six": [6], "two": [2]}
    targets = class_targets(data.classes, model.classes, {name: outputs[name] for name in data.classes})
    settings = {"methods": ("lrp-z", "uniform"), "chunk": 2} | options
    return Task("t", data, model, "digits-shallow", like(model.preprocess), targets, **settings)


def test_a_folder_that_was_moved_and_shards_on_other_mounts_are_one_study(pictures, tmp_path):
    for k in (1, 3, 5):  # what is wrong with a picture names no folder either
        (pictures / f"{k}.png").write_bytes((pictures / f"{k}.png").read_bytes()[:500])
    run(study(pictures), tmp_path / "whole")
    out = tmp_path / "out"
    run(study(pictures), out, shard=(1, 3))
    there = tmp_path / "another mount" / "data"
    shutil.copytree(pictures, there)
    run(study(there), out, shard=(2, 3))
    pictures.rename(tmp_path / "moved")
    run(study(tmp_path / "moved"), out)
    assert contents(out) == contents(tmp_path / "whole")
    assert str(tmp_path) not in (out / "run.json").read_text()


def test_annotations_in_one_file_can_be_moved_too(pictures, tmp_path):
    images = [{"id": k, "file_name": f"{k}.png", "width": 64, "height": 64} for k in range(NUMBER)]
    found = [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 1, 20, 20]} for k in range(NUMBER)]
    text = json.dumps({"images": images, "annotations": found, "categories": [{"id": 1, "name": "six"}]})
    first, second = write(tmp_path / "boxes.json", text), write(tmp_path / "elsewhere" / "boxes.json", text)
    assert study(pictures, first).config() == study(pictures, second).config()


def test_networks_in_files_are_known_without_their_place(tmp_path, monkeypatch):
    for file in ("here/net.onnx", "there/net.onnx", "there/net/config.json", "vgg16/x"):
        write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    assert without_place(str(tmp_path / "here" / "net.onnx")) == without_place("there/net.onnx") == "net.onnx"
    assert without_place(f"hf:{tmp_path}/there/net") == "hf:net"
    assert [without_place(name) for name in ("hf:owner/net", "vgg16", "a.b:c")] == ["hf:owner/net", "vgg16", "a.b:c"]
    assert task_of(StudyRequest(limit=1)).name == "digits-deep on embedded-multi"


def test_what_differs_is_named_with_both_values(pictures, tmp_path):
    run(study(pictures, limit=2), tmp_path / "out")
    write(pictures / "7.png", drawn(7))
    with pytest.raises(StudyError, match=r"data\.number is 6 there, not 7") as caught:
        run(study(pictures, limit=2), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_how_pictures_are_normalised_is_part_of_what_was_measured(pictures, tmp_path):
    first, second = study(pictures), study(pictures)
    second.model.preprocess = type(first.preprocess)(**(first.preprocess.as_data() | {"scale": 255.0}))
    run(first, tmp_path / "out", shard=(1, 3))
    with pytest.raises(StudyError, match=r"preprocess\.scale is 1\.0 there, not 255\.0"):
        run(second, tmp_path / "out")


def test_a_mean_picture_of_the_network_is_part_of_what_was_measured():
    plain = rp.models.load("digits-shallow").preprocess
    images = [None, torch.zeros(3, 64, 64), torch.zeros(3, 64, 64), torch.full((3, 64, 64), 0.5)]
    none, zero, same, half = (identity(replace(plain, mean_image=image)) for image in images)
    assert none != zero == same != half


def test_the_labels_that_say_which_boxes_count_are_part_of_what_was_measured(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "val" / f"{name}.png", drawn(0))
        write(tmp_path / "Annotations" / f"{name}.xml", xml(one("n00000001"), one("n00000002")))
    found = [
        imagenet(tmp_path / "val", ground_truth=write(tmp_path / "labels.csv", f"a,{label}\nb,n00000001\n"))
        for label in ("n00000001", "n00000002")
    ]
    assert [data[0].things[0].name for data in found] == ["n00000001", "n00000002"]
    assert found[0].identity() != found[1].identity()


@pytest.mark.parametrize("shard", [(1, 1), (2, 3)])
def test_a_picture_that_was_edited_in_place_is_noticed(pictures, tmp_path, shard):
    run(study(pictures), tmp_path / "out")
    run(study(pictures), tmp_path / "out")
    before = contents(tmp_path / "out")
    write(pictures / "3.png", drawn(30))
    with pytest.raises(StudyError, match=r"part-000001: 3\.png is not the file that was measured.*remove part-000001 "):
        run(study(pictures), tmp_path / "out", shard=shard)
    assert contents(tmp_path / "out") == before
    shutil.rmtree(tmp_path / "out" / "parts" / "part-000001")
    run(study(pictures), tmp_path / "out")
    run(study(pictures), tmp_path / "fresh")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "fresh")
    assert contents(tmp_path / "out") != before


def test_pictures_that_are_gone_or_whole_again_are_noticed_too(pictures, tmp_path):
    (pictures / "0.png").write_bytes(b"")
    run(study(pictures), tmp_path / "out")
    status = {row["image_id"]: row["status"] for row in rows_of(tmp_path / "out")}
    assert status["0.png"] == "unreadable_image"
    write(pictures / "0.png", drawn(0))
    (pictures / "5.png").write_bytes(b"cut short")
    with pytest.raises(StudyError, match=r"0\.png is not .*remove part-000000, part-000002 from"):
        run(study(pictures), tmp_path / "out")


def test_what_is_edited_before_it_is_measured_is_measured_as_it_is(pictures, tmp_path):
    run(study(pictures), tmp_path / "out", shard=(1, 3))
    write(pictures / "3.png", drawn(30))
    run(study(pictures), tmp_path / "out")
    run(study(pictures), tmp_path / "fresh")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "fresh")


def test_an_annotation_that_is_edited_while_it_runs_is_noticed_in_the_end(pictures, tmp_path):
    def edit(_):
        write(pictures / "5.xml", xml(*boxes(9), size=(64, 64)))

    with pytest.raises(StudyError, match="annotations were edited while they were measured; put them back") as caught:
        run(study(pictures), tmp_path / "out", progress=edit)
    assert "\n" not in str(caught.value)
    with pytest.raises(StudyError, match=r"annotations_sha256 is"):
        run(study(pictures), tmp_path / "out")


def test_the_mean_picture_of_an_earlier_study_in_the_folder_is_not_taken(pictures, tmp_path):
    run(study(pictures), tmp_path / "out")
    for k in range(NUMBER):
        write(pictures / f"{k}.png", drawn(10 + k))
    shutil.rmtree(tmp_path / "out" / "parts")
    (tmp_path / "out" / "run.json").unlink()
    run(study(pictures), tmp_path / "out")
    run(study(pictures), tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


DAMAGES = {
    "a flipped bit": lambda file: file.write_bytes(flipped(file.read_bytes())),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "empty": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
}


def flipped(data):
    """One bit in the first page, behind its header."""
    return data[:150] + bytes([data[150] ^ 1]) + data[151:]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_is_noticed_where_the_study_goes_on(pictures, tmp_path, table, damage):
    run(study(pictures, limit=4), tmp_path / "out")
    before = contents(tmp_path / "out")
    file = tmp_path / "out" / "parts" / "part-000001" / f"{table}.parquet"
    DAMAGES[damage](file)
    with pytest.raises(StudyError, match=r"cannot be read .*remove its folder and run the study again") as caught:
        run(study(pictures, limit=4), tmp_path / "out")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    shutil.rmtree(file.parent)
    run(study(pictures, limit=4), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_part_of_other_pictures_is_noticed(pictures, tmp_path):
    run(study(pictures), tmp_path / "out")
    parts = Store(tmp_path / "out").parts
    shutil.rmtree(parts / "part-000001")
    shutil.copytree(parts / "part-000000", parts / "part-000001")
    with pytest.raises(StudyError, match=r"part-000001: not the pictures of that part; remove it"):
        run(study(pictures), tmp_path / "out")
