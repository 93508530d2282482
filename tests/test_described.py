"""What is said of a picture, in all the forms in which JSON and tables have it; and Parquet, row by row."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as files

from packed_pictures import BOXES, FILES, drawn, objects, write_parquet
from relprop.data.described import Words, described, read_columns
from relprop.data.entries import WHOLE, DataError, Thing
from relprop.data.orientation import upright
from relprop.data.parquet import parquet

DOG = Thing("dog", (1, 2, 5, 8))
FORMS = {
    "corners": {"boxes": [[1, 2, 5, 8]], "labels": ["dog"]},
    "COCO's": {"bbox": [[1, 2, 4, 6]], "category": ["dog"]},
    "one by itself": {"bbox": [1, 2, 4, 6], "label": "dog"},
    "one label of all": {"boxes": [[1, 2, 5, 8]], "label": "dog"},
    "an object of lists": {"objects": {"bbox": [[1, 2, 4, 6]], "categories": ["dog"], "area": [24]}},
    "a list of objects": {"objects": [{"bbox": [1, 2, 4, 6], "category": "dog", "difficult": 0}]},
    "fractions": {"boxes": [[1.0, 2.0, 5.0, 8.0]], "class": "dog"},
    "numbers": {"objects": {"bbox": [[1, 2, 4, 6]], "category": [1]}},
}


@pytest.mark.parametrize("form", FORMS)
def test_an_object_is_the_same_in_every_form(form):
    found = described(FORMS[form], "x.json", Words(classes=("cat", "dog")))
    assert (found.things, found.problem) == ((DOG,), "")


def test_what_else_is_said_is_read():
    more = {"width": 40, "height": 30, "objects": {"bbox": [[1, 2, 4, 6]], "category": ["dog"], "iscrowd": [1]}}
    found = described(more, "x.json", Words())
    assert (found.size, found.things[0].difficult) == ((40, 30), True)
    polygon = {"width": 9, "height": 9, "objects": [more["objects"] | {"segmentation": [[1, 2, 5, 2, 5, 8]]}]}
    record = {"objects": [{"bbox": [1, 2, 4, 6], "category": "dog", "segmentation": [[1, 2, 5, 2, 5, 8]]}]}
    masked = described(polygon | record, "x.json", Words(masks=True))
    assert masked.things[0].mask().shape == (9, 9)
    assert "no segmentation" in described(FORMS["COCO's"], "x.json", Words(masks=True)).problem
    named = Words(columns={"boxes": "faces.at", "label": "who"})
    assert described({"faces": {"at": [[1, 2, 5, 8]]}, "who": "dog"}, "x.json", named).things == (DOG,)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"boxes": [[1, 2, 3]], "labels": ["dog"]}, r"object 1: a box that is no four numbers: \[1, 2, 3\]"),
        ({"boxes": [[1, 2, 3, float("nan")]], "labels": ["dog"]}, "a box without area"),
        ({"boxes": [[1, 2, 5, 8]], "labels": ["dgo"]}, "unknown class 'dgo'; did you mean dog?"),
        ({"boxes": [[1, 2, 5, 8]], "labels": [2]}, "class 2, and there are 2 names, from 0"),
        ({"boxes": [[1, 2, 5, 8]], "labels": ["dog", "dog"]}, "object 1: no class"),
        ({"boxes": [[1, 2, 5, 8]], "labels": [None]}, "object 1: no class"),
        ({"boxes": [], "labels": []}, "no objects in it"),
        ({"label": "dog"}, "no objects in it"),
        ({"boxes": "x", "labels": ["dog"]}, "no four numbers: x"),
    ],
)
def test_what_is_wrong_is_a_problem_of_the_picture(record, said):
    found = described(record, "x.json", Words(classes=("cat", "dog")))
    assert found.things == ()
    assert found.problem.startswith("x.json: ")
    assert said.replace("\\", "") in found.problem


def test_a_label_where_nothing_has_boxes_means_the_whole_picture_any_way_round():
    (thing,) = described({"label": "dog"}, "x.json", Words(boxless=True)).things
    assert thing == Thing("dog", WHOLE)
    assert upright([thing], None, (30, 20), 6) == ((thing,), None)


def test_names_for_columns_are_read_and_near_ones_offered():
    assert read_columns("image=photo, boxes=objects.at") == {"image": "photo", "boxes": "objects.at"}
    with pytest.raises(DataError, match=r"no kind 'imge'; did you mean image"):
        read_columns("imge=photo")
    with pytest.raises(DataError, match="Give image=NAME"):
        read_columns("image")


# Parquet


def table(place, rows, features=None, **options):
    found = pa.Table.from_pylist(rows)
    if features:
        told = {"huggingface": json.dumps({"info": {"features": features}})}
        found = found.replace_schema_metadata(told)
    files.write_table(found, place, **options)
    return str(place)


def test_rows_are_read_in_any_order(tmp_path):
    rows = [{"photo": drawn(k, 8), "label": k} for k in range(20)]
    data = parquet(table(tmp_path / "x.parquet", rows, row_group_size=12))
    order = np.random.default_rng(0).permutation(20)[:6]
    assert [data.source.picture(int(k)) for k in order] == [rows[k]["photo"] for k in order]
    assert [data[k].id for k in (0, 19)] == ["row-0000000", "row-0000019"]
    assert data[7].things == (Thing("7", WHOLE),)
    assert data.classes == tuple(map(str, range(20)))


def test_numbers_mean_what_the_features_of_hugging_face_say(tmp_path):
    label = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    nested = {"feature": {"bbox": {"_type": "Sequence"}, "category": label}, "_type": "Sequence"}
    rows = [{"image": {"bytes": drawn(0), "path": None}, "objects": {"bbox": [[1.0, 2, 4, 6]], "category": [1]}}]
    data = parquet(table(tmp_path / "x.parquet", rows, {"image": {"_type": "Image"}, "objects": nested}))
    assert (data.classes, data[0].things) == (("cat", "dog"), (DOG,))
    assert parquet(str(tmp_path), classes=["x", "y"]).classes == ("x", "y")


def test_columns_that_are_not_there_are_errors_with_the_near_name(tmp_path):
    rows = [{"photo": drawn(0), "thumb": drawn(1), "objects": objects("a.png")}]
    place = table(tmp_path / "x.parquet", rows)
    with pytest.raises(DataError, match=r"several columns of bytes \(photo, thumb\); say which with --columns image="):
        parquet(place)
    with pytest.raises(DataError, match=r"no column 'phto' for image; did you mean photo"):
        parquet(place, columns={"image": "phto"})
    with pytest.raises(DataError, match=r"no column of pictures; say which"):
        parquet(table(tmp_path / "y.parquet", [{"label": 1}]))
    table(tmp_path / "z.parquet", [{"photo": drawn(0)}])
    with pytest.raises(DataError, match="other columns than"):
        parquet([place, str(tmp_path / "z.parquet")])


def test_damaged_parquet_is_a_line_or_rows(tmp_path):
    path = write_parquet(tmp_path / "val.parquet", row_group_size=2, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    data = parquet(str(path))
    assert parquet(str(path)).source.picture(1) == FILES["b.png"]
    meta = files.ParquetFile(path).metadata.row_group(0).column(0)
    start = meta.data_page_offset
    path.write_bytes(whole[:start] + b"\xff" * 12 + whole[start + 12 :])
    with pytest.raises(DataError, match="changed since it was opened"):
        data.source.picture(0)
    data = parquet(str(path))
    assert [data.picture_sha256(k) is None for k in range(5)] == [True, True, False, False, False]
    for broken in (whole[:-20], b"", b"x" * 40):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="no Parquet file, or cut short"):
            parquet(str(path))


def test_a_row_without_a_picture_and_one_with_a_path_alone(tmp_path):
    Image.open(io.BytesIO(drawn(3))).save(tmp_path / "b.png")
    rows = [
        {"image": {"bytes": data, "path": path}, "objects": objects("a.png")}
        for data, path in ((None, None), (None, "b.png"), (None, "gone.png"), (b"", "e.png"))
    ]
    data = parquet(table(tmp_path / "x.parquet", rows), columns={"classes": "objects.category"})
    assert data.picture_sha256(0) is None
    assert data[1].open().size == (24, 24)
    for k, said in ((0, "no picture in its row"), (2, "no such file is there"), (3, "an empty file")):
        with pytest.raises(Exception, match=said):
            data[k].open()
    assert len(data[0].things) == len(BOXES["a.png"])
