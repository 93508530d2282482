"""``relprop study`` and ``report``: what they say of what was measured, and of what is not yet."""

import json

import pytest
from PIL import Image

from annotated_pictures import one, write, xml
from relprop.data.clutter import CLASSES
from relprop.study.report import report
from relprop.study.schema import TABLES
from synthetic import CONFIG, write_study

SMALL = ("study", "--model", "digits-shallow", "--method", "uniform", "--no-occlusion")


def lines(told):
    return told.stdout.splitlines()


def test_a_shard_says_how_many_pictures_are_its_own_and_that_the_study_has_others(call, tmp_path):
    words = (*SMALL, "--limit", 120, "--out", tmp_path / "s")
    told = lines(call(*words, "--shard", "3/3"))[0]
    assert f": shard 3/3: 20 pictures in {tmp_path / 's'}; the study has 20 of its 120 pictures (1 of 3 parts)" in told
    assert told.endswith(f"next: the other shards, then relprop report {tmp_path / 's'}")
    summary = json.loads(call(*words, "--shard", "4/50", "--json").stdout)  # there is no fourth part
    assert {key: summary[key] for key in ("shard", "pictures", "pictures_of_shard", "measured", "there")} == {
        "shard": "4/50",
        "pictures": 120,
        "pictures_of_shard": 0,
        "measured": 0,
        "there": 20,
    }
    whole = lines(call(*words))[0]
    assert f": 120 pictures in {tmp_path / 's'}; next: relprop report" in whole
    assert ": shard" not in whole
    last = lines(call(*words, "--shard", "1/2"))[0]
    assert ": shard 1/2: 70 pictures in " in last
    assert f"the study has 120 of its 120 pictures (3 of 3 parts); next: relprop report {tmp_path / 's'}" in last


def test_of_a_shards_pictures_those_that_could_be_measured_are_counted(call, tmp_path):
    for k in range(2):
        write(tmp_path / "pictures" / f"{k}.png", Image.new("RGB", (64, 64), (40, 90, 200)))
    write(tmp_path / "pictures" / "0.xml", xml(one("6", (2, 2, 20, 20)), size=(64, 64)))
    mapping = write(tmp_path / "map.json", '{"6": [6]}')
    words = (*SMALL, "--data", "folder", "--root", tmp_path / "pictures", "--class-map", mapping)
    assert ": shard 1/4: 1 of 2 pictures in" in call(*words, "--shard", "1/4", "--out", tmp_path / "s").stdout


def test_how_pictures_were_prepared_is_told_as_explain_tells_it(call, tmp_path):
    told = lines(call(*SMALL, "--limit", 1, "--out", tmp_path / "s"))
    explained = lines(call("explain", "--model", "digits-shallow", "--out", tmp_path))
    assert told[1:] == [line for line in explained if line.startswith("prepared: ")]
    summary = json.loads(call(*SMALL, "--limit", 1, "--out", tmp_path / "s", "--json").stdout)
    assert told[1] == f"prepared: {summary['prepared']}"
    write(tmp_path / "pictures" / "0.png", Image.new("RGB", (90, 64), (40, 90, 200)))
    write(tmp_path / "pictures" / "0.xml", xml(one("6", (2, 2, 20, 20)), size=(90, 64)))
    mapping = write(tmp_path / "map.json", '{"6": [6]}')
    own = (*SMALL, "--data", "folder", "--root", tmp_path / "pictures", "--class-map", mapping)
    told = lines(call(*own, "--out", tmp_path / "w"))
    assert told[1].startswith("prepared: to 64x64 (bilinear), centre 64x64, RGB in 0..1, less (")


def test_settings_from_a_file_are_those_of_the_options(call, tmp_path):
    file = write(
        tmp_path / "study.toml",
        """
        model = "digits-shallow"
        methods = ["lrp-z", "cmp-alpha1-flat:layers=3,eps=0.1"]
        limit = 3
        class-map = "map.json"
        measures = ["sparseness"]
        occlusion = false
        shard = "1/1"
        seed = 2
        """.replace(
            "map.json", str(write(tmp_path / "map.json", json.dumps({name: [k] for k, name in enumerate(CLASSES)})))
        ),
    )
    words = (
        "--model",
        "digits-shallow",
        "--methods",
        "lrp-z,cmp-alpha1-flat:layers=3,eps=0.1",
        "--seed",
        2,
        "--measure",
        "sparseness",
    )
    call("study", *words, "--limit", 3, "--class-map", tmp_path / "map.json", "--no-occlusion", "--out", tmp_path / "a")
    call("study", "--config", file, "--out", tmp_path / "b")
    by_options, by_file = ((tmp_path / name / "run.json").read_text() for name in "ab")
    assert by_file == by_options
    call(
        "study", "--config", file, "--limit", 2, "--occlusion", "--measure", "occlusion", "--out", tmp_path / "c"
    )  # what is given here wins
    given = json.loads((tmp_path / "c" / "run.json").read_text())
    assert (given["data"]["number"], given["occlusion"]) == (2, True)
    assert given["methods"] == json.loads(by_file)["methods"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('modle = "vgg16"', "no option 'modle'; did you mean model?"),
        ("mask = true", "did you mean masks?"),
        ("class_mp = 3", "did you mean class-map?"),
        ("limit = true", "limit = True; give text or a number"),
        ("occlusion = 3", "give true or false"),
        ('method = "lrp-z"\nmethods = "uniform"', "'methods' is there twice"),
        ("[study]\nlimit = 3", "no option 'study'"),
        ("limit = {n = 3}", "give text or a number"),
        ("measures = 3", "give text or a number, or a list of texts"),
        ("limit is 3", "not TOML"),
    ],
)
def test_a_file_of_settings_that_is_none_says_so(call, tmp_path, text, told):
    file = write(tmp_path / "study.toml", text)
    (line,) = call("study", "--config", file, code=1).stderr.splitlines()
    assert told in line
    assert str(file) in line
    assert "No such file" in call("study", "--config", tmp_path / "none.toml", code=1).stderr


def test_a_report_is_split_by_the_sign_alone(call, unfinished):
    told = call("report", unfinished / "study", "--by", "size", "--out", unfinished / "out", code=1).stderr
    assert "split by sign" in told
    assert not (unfinished / "out").exists()


@pytest.fixture
def unfinished(tmp_path):
    config = CONFIG | {"chunk": 20, "data": {"name": "digits", "number": 400}, "limit": 90}
    write_study(tmp_path / "study", 40, config)
    return tmp_path


def test_a_report_on_some_of_the_parts_says_so(call, unfinished):
    extent = "40 of 90 pictures (2 of 5 parts)"
    told = call("report", unfinished / "study", "--out", unfinished / "out")
    assert lines(told)[1] == f"digits is unfinished: {extent}; its study's command, run again, measures the rest"
    assert f"on digits: {extent}, " in (unfinished / "out" / "report.html").read_text()
    for kind in ("md", "tex"):
        assert extent in (unfinished / "out" / "tables" / f"table1.{kind}").read_text()


def test_a_report_on_all_of_the_parts_says_nothing_of_parts(tmp_path):
    for limit, name in ((40, "limited"), (None, "whole")):
        data = {"name": "digits", "number": 90 if limit else 40}
        config = CONFIG | {"chunk": 20, "data": data, "limit": limit}
        write_study(tmp_path / name, 40, config)
        done = report(tmp_path / name, tmp_path / "out" / name)
        assert done.unfinished == {}
        assert "40 pictures, " in done.page.read_text()
        assert "unfinished" not in (tmp_path / "out" / name / "tables" / "table1.md").read_text()


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_is_one_line_where_the_study_goes_on_and_where_it_is_reported(call, tmp_path, table):
    words = (*SMALL, "--limit", 3, "--out", tmp_path / "s")
    call(*words)
    file = tmp_path / "s" / "parts" / "part-000000" / f"{table}.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    for command in (words, ("report", tmp_path / "s", "--out", tmp_path / "out")):
        told = call(*command, code=1)
        assert told.stdout == ""
        (line,) = told.stderr.splitlines()
        assert line.startswith(f"error: {file}: cannot be read (")
        assert line.endswith("; remove its folder and run the study again")
