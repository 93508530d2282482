"""Folders of Hugging Face's datasets, in each of their forms, give the rows of a plain folder."""

import json

import pytest

from packed_pictures import BOXES, FILES, network, objects, write_folder, write_parquet
from relprop.data.entries import DataError
from relprop.data.folder import folder
from relprop.data.hugging_face import hugging_face
from test_sources import measured
from test_study import contents

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def reference(place):
    return contents(measured(folder(write_folder(place / "pictures")), place / "study"))


def saved(place):
    features = datasets.Features(
        {
            "file_name": datasets.Value("string"),  # the library keeps of a path its last part
            "image": datasets.Image(),
            "objects": {
                "bbox": datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
                "category": datasets.Sequence(datasets.ClassLabel(names=["six", "two"])),
            },
        }
    )
    rows = [
        {"file_name": name, "image": {"bytes": FILES[name], "path": name}, "objects": objects(name)} for name in BOXES
    ]
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"test": data, "train": data.select([0])}).save_to_disk(place)
    datasets.enable_progress_bars()
    return place


def pictures(place):
    lines = [json.dumps({"file_name": name, "objects": objects(name)}) for name in BOXES]
    write_folder(place)
    for file in place.rglob("*.xml"):
        file.unlink()
    (place / "metadata.jsonl").write_text("\n".join(lines))
    return place


def tables(place):
    write_parquet(place / "data" / "test-00000-of-00001.parquet")
    return place


FORMS = {"save_to_disk": (saved, "test"), "pictures with metadata": (pictures, ""), "Parquet": (tables, "")}


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_of_any_form_gives_the_rows_of_a_plain_folder(form, place, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write, split = FORMS[form]
    data = hugging_face(write(tmp_path / "data"), split)
    assert data.classes == network().classes
    assert contents(measured(data, tmp_path / "out", workers=1 if form == "save_to_disk" else 0)) == reference


def test_what_is_no_such_folder_or_split_is_one_line(place, tmp_path):
    two = saved(tmp_path / "two")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.bin").write_bytes(b"x")
    for split, said in (("", "has the splits test, train; choose with --split test"), ("tset", "did you mean test?")):
        with pytest.raises(DataError, match=said):
            hugging_face(two, split)
    for where, said in (("none", "not a folder that datasets reads"), ("tow", "did you mean two?")):
        with pytest.raises(DataError, match=said) as caught:
            hugging_face(tmp_path / where)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="copy it to this machine"):
        hugging_face("s3://bucket/data")
