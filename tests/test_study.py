"""The measurement: the same rows whatever the batch, the shards, and however often it was killed."""

import json
import multiprocessing
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import relprop as rp
from relprop.commands import study as command
from relprop.commands.readers import split_names
from relprop.commands.reproduce import studies
from relprop.commands.requests import ReproduceRequest, StudyRequest
from relprop.data.embedded import embedded
from relprop.data.folder import folder
from relprop.data.geometry import like
from relprop.data.voc import voc
from relprop.study import schema
from relprop.study.measures import MEASURES
from relprop.study.runner import run
from relprop.study.store import Store, StudyError
from relprop.study.task import Task, class_targets, highest
from relprop.support.fingerprint import weights_hash

METHODS = ("cmp-alpha2-flat", "lrp-alpha1", "guided-backprop", "uniform")
REAL = Path(__file__).parents[2] / "shared" / "real"


def task(number=12, **options):
    model, data = rp.models.load("digits-shallow"), embedded("multi", "test", number)
    targets = class_targets(data.classes, model.classes)
    settings = {"methods": METHODS, "chunk": 5} | options
    return Task("test", data, model, "digits-shallow", like(model.preprocess), targets, **settings)


def contents(place):
    """Every file of a study's parts."""
    return {path.relative_to(place): path.read_bytes() for path in sorted((place / "parts").rglob("*.parquet"))}


def rows_of(place, table="rows"):
    return Store(place).read(table).to_pylist()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    place = tmp_path_factory.mktemp("reference")
    run(task(), place, batch=7)
    return place


def test_every_column_that_is_a_measure_is_computed():
    assert list(MEASURES) == [column.name for column in schema.MEASURES]


def test_a_row_for_every_picture_class_and_method(reference):
    data, rows = task().data, rows_of(reference)
    expected = [
        (entry.id, name, method)
        for entry in (data[i] for i in range(len(data)))
        for name in sorted({thing.name for thing in entry.things})
        for method in METHODS
    ]
    assert [(r["image_id"], r["class_name"], r["method"]) for r in rows] == expected


def test_a_row_is_what_the_metrics_say_of_the_map(reference):
    study = task()
    entry = study.data[3]
    framed = study.geometry(entry.open(), entry.things, entry.size)
    x = study.preprocess(entry.open())[None]
    for row in (r for r in rows_of(reference) if r["image_index"] == 3):
        R = rp.attribute(study.model, x, row["target"], row["method"]).double()
        mask = framed.masks[row["class_name"]][None]
        assert row["mu"] == pytest.approx(float(rp.metrics.inside_total_ratio(R, mask)), rel=1e-4)
        assert row["mu_w"] == pytest.approx(row["mu"] * row["s_tot"] / row["s_in"], rel=1e-9)
        assert row["logit"] == pytest.approx(float(study.model(x)[0, row["target"]].detach()), rel=1e-4)
        if row["method"] == "uniform":
            assert row["mu_w"] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 32])
def test_another_batch_size_changes_figures_by_rounding_alone(reference, tmp_path, batch):
    run(task(), tmp_path, batch=batch)
    for table in ("rows", "pairs", "occlusion", "predictions"):
        for ours, theirs in zip(rows_of(tmp_path, table), rows_of(reference, table), strict=True):
            assert_close(ours, theirs)


def assert_close(ours, theirs):
    """Equal, numbers to 1e-6 of what they are shares or sums of."""
    for column, value in theirs.items():
        if isinstance(value, float):
            assert ours[column] == pytest.approx(value, rel=2e-5, abs=1e-6), column
        elif column == "scores":
            assert ours[column] == pytest.approx(value, rel=1e-5, abs=1e-5)
        else:
            assert ours[column] == value, column


@pytest.mark.parametrize("shards", [3, 8])
def test_shards_together_are_the_whole_bit_for_bit(reference, tmp_path, shards):
    for i in range(shards, 0, -1):
        run(task(), tmp_path, batch=7, shard=(i, shards))
    assert contents(tmp_path) == contents(reference)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # one thread runs here
def test_killed_at_twenty_random_moments_and_resumed_nothing_is_lost_or_doubled(tmp_path):
    study = task(60, chunk=2, methods=METHODS[:2], occlusion=False)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(study, whole)
    moments, kills = random.Random(0), 0
    while kills < 20:
        before = len(list(killed.glob("parts/part-*")))
        process = multiprocessing.get_context("fork").Process(target=run, args=(study, killed))
        process.start()
        while process.is_alive() and len(list(killed.glob("parts/part-*"))) == before:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))  # it has written a part; the kill meets it anywhere in the next
        process.kill()
        process.join()
        kills += 1
        assert process.exitcode == -signal.SIGKILL, "the study ended before it could be killed often enough"
    run(study, killed)
    assert contents(killed) == contents(whole)
    rows = duckdb.sql(
        f"select image_id, class_name, method, count(*) from '{killed}/parts/*/rows.parquet' group by all"
    )
    counts = [n for *_, n in rows.fetchall()]
    assert len(counts) > 100
    assert set(counts) == {1}


def test_a_second_start_continues_and_another_configuration_is_refused(reference):
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*.parquet")}
    told = []
    run(task(), reference, progress=told.append)
    assert told == [12]
    assert before == {path: path.stat().st_mtime_ns for path in reference.rglob("*.parquet")}
    with pytest.raises(StudyError, match="methods"):
        run(task(methods=METHODS[:1]), reference)


def test_of_several_outputs_that_mean_a_class_the_highest_is_explained():
    logits = torch.tensor([1.0, 3.0, -2.0, 3.0])
    assert [highest(logits, indices) for indices in ([0, 2], [2, 1, 0], [3, 1], [2])] == [0, 1, 1, 2]


def test_the_configuration_knows_the_network_by_its_weights():
    one, other = task(), task()
    stated = one.config()["model"]["weights_sha256"]
    assert stated == weights_hash(one.model)
    assert len(stated) == 64
    with torch.no_grad():
        next(other.model.parameters())[0] += 1
    assert other.config()["model"]["weights_sha256"] != stated


BOX = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"


def boxed(place, name, picture, box=BOX, kind="six"):
    """A picture with an annotation beside it."""
    place.mkdir(exist_ok=True)
    if isinstance(picture, bytes):
        (place / f"{name}.jpg").write_bytes(picture)
    else:
        picture.save(place / f"{name}.png")
    (place / f"{name}.xml").write_text(f"<annotation><object><name>{kind}</name>{box}</object></annotation>")


def jpeg(place):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(place / "whole.jpeg")
    content = (place / "whole.jpeg").read_bytes()
    (place / "whole.jpeg").unlink()
    return content


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_that_cannot_be_measured_are_counted_and_the_run_goes_on(tmp_path):
    place = tmp_path / "pictures"
    place.mkdir()
    whole = jpeg(place)
    boxed(place, "a-good", Image.new("RGB", (64, 64), (200, 30, 30)))
    boxed(place, "b-truncated", whole[: len(whole) // 2])
    boxed(place, "c-empty", b"")
    boxed(place, "d-no-box", Image.new("RGB", (64, 64)), box="")
    boxed(place, "e-unknown", Image.new("RGB", (64, 64)), kind="unicorn")
    boxed(place, "f-grey", Image.new("L", (80, 64), 99))
    boxed(place, "g-cmyk", Image.new("RGB", (64, 64), (9, 99, 199)))
    Image.new("CMYK", (64, 64), (9, 99, 199, 0)).save(place / "g-cmyk.jpg")
    (place / "g-cmyk.png").unlink()
    boxed(
        place,
        "h-tiny",
        Image.new("RGB", (1, 1)),
        box="<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>",
    )
    boxed(place, "i-huge", Image.new("1", (20000, 20000)))
    boxed(
        place,
        "j-cropped",
        Image.new("RGB", (400, 64)),
        box="<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>",
    )
    Image.new("RGB", (64, 64)).save(place / "k-alone.png")
    data, model = folder(place), rp.models.load("digits-shallow")
    targets = class_targets(data.classes, model.classes, {"six": [6]})
    study = Task(
        "bad", data, model, "digits-shallow", like(model.preprocess), targets, methods=("cmp-alpha1", "uniform")
    )
    run(study, tmp_path / "study")
    status = {r["image_id"].split(".")[0]: r["status"] for r in rows_of(tmp_path / "study") if r["method"] == "uniform"}
    assert status["a-good"] == status["f-grey"] == status["g-cmyk"] == status["h-tiny"] == "ok"
    assert status["b-truncated"] == status["c-empty"] == status["i-huge"] == "unreadable_image"
    assert status["d-no-box"] == status["k-alone"] == "missing_annotation"
    assert status["e-unknown"] == "no_target"
    assert status["j-cropped"] == "box_cropped_out"
    problems = {r["image_id"]: r["problem"] for r in rows_of(tmp_path / "study", "predictions")}
    assert sum(bool(problem) for problem in problems.values()) >= 4


class Wrapped(torch.nn.Module):
    """A network that returns its logits as many of the libraries do."""

    def __init__(self, inner, kind):
        super().__init__()
        self.inner, self.kind = inner, kind
        self.preprocess, self.classes = inner.preprocess, inner.classes

    def forward(self, x):
        logits, pixels = self.inner(x), x.mean((2, 3), keepdim=True)
        return {"tuple": (logits, pixels), "dict": {"logits": logits, "features": pixels}}.get(
            self.kind, SimpleNamespace(logits=logits, hidden_states=(pixels,))
        )


@pytest.mark.parametrize("kind", ["tuple", "dict", "object"])
def test_networks_that_return_more_than_logits(kind, tmp_path):
    methods = ("cmp-alpha2-flat", "gradient", "guided-backprop", "smoothgrad:samples=2", "grad-cam")
    plain, wrapped = task(3, methods=methods), task(3, methods=methods)
    object.__setattr__(wrapped, "model", Wrapped(wrapped.model, kind).eval())
    first = Image.new("RGB", (64, 64))
    for study, place in ((plain, tmp_path / "plain"), (wrapped, tmp_path / "wrapped")):
        read = study.data.read

        def entry(id_, read=read):  # of the first picture nothing is annotated, so that it is not explained
            found = read(id_)
            return replace(found, things=(), open=lambda: first) if id_.endswith("0") else found

        object.__setattr__(study, "data", replace(study.data, read=entry))
        run(study, place)
    for table in ("rows", "pairs", "occlusion", "predictions"):
        assert rows_of(tmp_path / "plain", table) == rows_of(tmp_path / "wrapped", table)
        assert rows_of(tmp_path / "plain", "predictions")[0]["top5"]


def test_a_study_in_which_nothing_is_annotated_fails_and_says_so(tmp_path, call):
    boxed(tmp_path / "pictures", "a", Image.new("RGB", (64, 64)), kind="six")
    Image.new("RGB", (64, 64)).save(tmp_path / "pictures" / "b.png")
    words = ("study", "--data", "folder", "--root", tmp_path / "pictures", "--method", "uniform", "--no-occlusion")
    assert ": 1 of 2 pictures in" in call(*words, "--out", tmp_path / "one", "--class-map", class_map(tmp_path)).stdout
    (tmp_path / "pictures" / "a.xml").unlink()
    refused = call(*words, "--out", tmp_path / "none", "--class-map", class_map(tmp_path, {}), code=1)
    assert "nothing could be measured" in refused.stderr
    assert "no such annotation" in refused.stderr


def class_map(place, mapping=None):
    file = place / "map.json"
    file.write_text(json.dumps({"six": [6]} if mapping is None else mapping))
    return file


def test_rows_of_boxes_that_were_edited_since_are_not_mixed(tmp_path):
    place = tmp_path / "pictures"
    boxed(place, "a", Image.new("RGB", (64, 64)), kind="six")
    boxed(place, "b", Image.new("RGB", (64, 64)), kind="six")
    model = rp.models.load("digits-shallow")

    def study(limit=None):
        data = folder(place)
        targets = class_targets(data.classes, model.classes, {"six": [6]})
        return Task("t", data, model, "digits-shallow", like(model.preprocess), targets, ("uniform",), limit)

    run(study(), tmp_path / "study")
    run(study(), tmp_path / "study")
    first = study(limit=1).config()
    boxed(place, "b", Image.new("RGB", (64, 64)), BOX.replace("20", "30"), kind="six")
    assert study(limit=1).config() == first  # the second picture is no part of it
    with pytest.raises(StudyError, match="annotations_sha256 is"):
        run(study(), tmp_path / "study")
    (place / "b.xml").unlink()
    with pytest.raises(StudyError, match="annotations_sha256 is"):
        run(study(), tmp_path / "study")


def test_a_class_map_names_each_class_once(tmp_path, call):
    words = ("study", "--class-map", tmp_path / "map.json", "--limit", "1", "--out", tmp_path / "out")
    (tmp_path / "map.json").write_text('{"six": [6], "two": [2], "six": [5]}')
    assert "names 'six' twice" in call(*words, code=1).stderr
    (tmp_path / "map.json").write_text('{"six": [true]}')
    assert "class to outputs of the model" in call(*words, code=1).stderr


@pytest.mark.slow
def test_reproduce_writes_every_table_and_figure(tmp_path, call):
    out = tmp_path / "out"
    ran = call("reproduce", "--limit", 5, "--out", out, "--threads", 1)
    assert ran.stdout.count("cmp-alpha2-flat") >= 2
    assert all(f"{number:2d}. " in ran.stdout for number in range(1, 12))
    page = (out / "report" / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    for name in ("fig2-occlusion", "fig3-localisation", "claim8-similarity", "claim11-contradiction"):
        assert len(list((out / "report").glob(f"*/figures/{name}.svg"))) == 2
        assert len(list((out / "report").glob(f"*/figures/{name}.png"))) == 2
    assert len(list((out / "report" / "grids").glob("*.png"))) >= 4
    config = json.loads((out / "digits-deep" / "run.json").read_text())
    assert config["model"]["depth"] == 16
    assert len(config["model"]["weights_sha256"]) == 64


def test_methods_may_be_given_by_commas():
    assert split_names(["lrp-z,cmp-alpha1-flat:layers=3,eps=0.1", "uniform", "lrp-z"]) == (
        "lrp-z",
        "cmp-alpha1-flat:layers=3,eps=0.1",
        "uniform",
    )


def test_an_edited_function_is_another_study(tmp_path, monkeypatch):
    file = tmp_path / "own_method_of_a_test.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for factor in (1, 2):
        file.write_text(f"def ours(model, x, target):\n    return {factor} * x\n")
        found.append(task(methods=("uniform", "own_method_of_a_test:ours")).config())
    assert list(found[0]["own_methods"]) == ["own_method_of_a_test:ours"]
    assert found[0] != found[1]
    assert "own_methods" not in task(methods=("uniform", "cmp-alpha1-flat:layers=3")).config()
    with pytest.raises(rp.InputError, match="own_method_of_a_tst"):
        task(methods=("own_method_of_a_tst:ours",)).config()


def test_reproduce_takes_the_real_data_where_it_is_named():
    voc_alone = ReproduceRequest(voc_root=Path("VOCdevkit"), out=Path("out"), limit=3)
    found = studies(replace(voc_alone, imagenet_root=Path("val"), imagenet_weights="vgg16.pth"))
    assert [(r.data, r.model, r.limit, r.out) for r in found] == [
        ("voc", "caffenet", 3, Path("out/voc2007")),
        ("imagenet", "vgg16", 3, Path("out/imagenet")),
    ]
    assert [r.model for r in studies(ReproduceRequest())] == ["digits-shallow", "digits-deep"]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no shared/real beside the repository: no real pictures")
def test_voc_with_the_real_squeezenet(tmp_path):
    mapping = json.loads((REAL / "voc_to_imagenet.json").read_text())
    request = StudyRequest(
        data="voc",
        root=REAL / "VOCdevkit",
        model="squeezenet1_0",
        weights=str(REAL / "squeezenet1_0_imagenet.safetensors"),
        class_map=REAL / "voc_to_imagenet.json",
        methods=("cmp-alpha2-flat", "uniform"),
        limit=4,
        out=tmp_path,
    )
    study, _ = command.measure(request)
    rows = rows_of(tmp_path)
    assert {r["image_id"] for r in rows} == {study.data[i].id for i in range(4)}
    assert {r["status"] for r in rows} <= {"ok", "no_target"}
    assert all(r["target"] in mapping[r["class_name"]] for r in rows if r["status"] == "ok")
    assert voc(REAL / "VOCdevkit").identity() == study.data.identity()


def test_the_real_weights_are_where_their_readme_says():
    if not REAL.is_dir():
        pytest.skip("no shared/real beside the repository")
    assert all(torch.isfinite(t).all() for t in load_file(REAL / "squeezenet1_0_imagenet.safetensors").values())
