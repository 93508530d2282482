"""Texts on the command line: coloured lines, page, figure, JSON, and one clear line for what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import relprop as rp
import text_models
from relprop.catalogue.table import BEST_FOR_TEXTS
from test_token_plots import Page

TEXT = "The capital of France is"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def saved(tmp_path):
    """Save a model of a kind; returns its name on the command line."""

    def save(kind, **options):
        text_models.save(tmp_path / kind, kind, **options)
        return f"hf:{tmp_path / kind}"

    return save


@pytest.fixture
def fails(call):
    def run(*words):
        told = call("explain", *words, code=1).stderr
        assert told.startswith("error: ")
        assert told.count("\n") == 1
        return told

    return run


def test_why_this_token_rather_than_that(call, saved):
    name = saved("llama")
    words = ["--text", TEXT, "--model", name, "--target", " Paris", "--against", " London", "--method", "attnlrp"]
    told = json.loads(call("explain", *words, "--method", "cp-lrp", "--json", "--raw", "--out", "out").stdout)
    model = rp.models.load(name)
    e = rp.explain(model, model.encode(TEXT), [rp.at(-1, " Paris", against=" London")], ["attnlrp", "cp-lrp"])
    (text,) = told["texts"]
    assert text["tokens"] == ["The", " capital", " of", " France", " is"]
    assert len(text["top"]) == 5
    assert text["top"][0]["logit"] == max(top["logit"] for top in text["top"])
    for row, method in zip(text["explanations"], ["attnlrp", "cp-lrp"], strict=True):
        assert (row["token"], row["against"], row["position"], row["method"]) == (" Paris", " London", 4, method)
        assert row["relevance"] == pytest.approx(e.relevance[method][0, 0].tolist(), abs=1e-6)
        accounted = row["relevance_sum"] + row["bias"] + row["eps"] + row["lost"]
        assert accounted == pytest.approx(row["logit"], abs=1e-5)
        assert row["conservation_error"] < 1e-5
    assert text["explanations"][0]["softmax"] != 0
    assert told["files"] == [f"out/relprop-explain.{kind}" for kind in ("png", "html", "npy")]
    assert np.load("out/relprop-explain.npy").shape == (2, 5)


def test_a_line_for_every_method(call, saved):
    told = call("explain", "--text", TEXT, "--model", saved("llama"), "--target", " Paris", "--method", "cp-lrp").stdout
    line = next(line for line in told.splitlines() if line.startswith('" Paris", cp-lrp: of '))
    value, total = line.removeprefix('" Paris", cp-lrp: of ').removesuffix(" on its tokens").split(", ")
    assert value == total  # without biases CP-LRP keeps all of it
    numbered = told.splitlines()[told.splitlines().index(line) + 1]
    assert numbered.startswith("The[")
    assert numbered.count("[") == 5
    page = Page(Path("relprop-explain.html").read_text())
    assert [tip.partition(":")[0] for tip in page.tips] == ["The", "capital", "of", "France", "is"]
    assert TEXT in page.text
    with Image.open("relprop-explain.png") as figure:
        assert figure.width > figure.height


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_that_have_them(call, saved, monkeypatch, plain):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    told = call("explain", "--text", TEXT, "--model", saved("llama")).stdout
    assert ("\x1b[38;2;29;29;31;48;2;" in told) is not plain
    assert ("The[" in told) is plain


def test_several_texts_are_as_they_are_alone(call, saved, tmp_path):
    name = saved("gpt2")
    texts = [TEXT, "Paris is", "The cat sat on the mat because it was"]
    (tmp_path / "texts.txt").write_text(f"{texts[1]}\n\n{texts[2]}\n", encoding="utf-8")
    words = ["--text", texts[0], "--text-file", tmp_path / "texts.txt"]
    together = json.loads(call("explain", *words, "--model", name, "--json").stdout)["texts"]
    assert [found["text"] for found in together] == texts
    for found in together:
        (alone,) = json.loads(call("explain", "--text", found["text"], "--model", name, "--json").stdout)["texts"]
        assert found["tokens"] == alone["tokens"]
        for one, other in zip(found["explanations"], alone["explanations"], strict=True):
            assert one["token"] == other["token"]
            assert one["relevance"] == pytest.approx(other["relevance"], abs=2e-5)
    assert len(Page(Path("relprop-explain.html").read_text()).tips) == len(together[-1]["tokens"])


def test_a_classifier_of_texts(call, saved):
    name = saved("classifier", id2label={0: "dull", 1: "bright"})
    words = ["--text", "Paris is the city of light", "--model", name, "--target", "Bright", "--target", "0"]
    told = call("explain", *words).stdout
    assert f"bright, {BEST_FOR_TEXTS}: of " in told
    assert f"dull, {BEST_FOR_TEXTS}: of " in told
    assert " in biases" in told
    assert "[CLS][" in told
    (text,) = json.loads(call("explain", *words, "--json").stdout)["texts"]
    assert [(row["class"], row["index"]) for row in text["explanations"]] == [("bright", 1), ("dull", 0)]
    assert "position" not in text["explanations"][0]


def test_a_mask_is_the_place_that_is_explained(call, saved):
    name = saved("masked")
    words = ["--text", "The capital of [MASK] is Paris", "--text", "[MASK] sat on the mat", "--model", name, "--json"]
    found = json.loads(call("explain", *words).stdout)["texts"]
    assert [text["tokens"][text["explanations"][0]["position"]] for text in found] == ["[MASK]", "[MASK]"]
    (other,) = json.loads(call("explain", "--text", "Paris", "--model", name, "--position", "0", "--json").stdout)[
        "texts"
    ]
    assert other["explanations"][0]["position"] == 0


def test_relevance_at_every_layer(call, saved):
    words = ["--text", TEXT, "--model", saved("llama"), "--layers", "--method", "cp-lrp", "--json"]
    told = json.loads(call("explain", *words).stdout)
    assert told["files"] == ["relprop-explain.png", "relprop-explain-layers.png", "relprop-explain.html"]
    (row,) = told["texts"][0]["explanations"]
    assert list(row["layers"]) == ["model.layers.0", "model.layers.1"]
    for numbers in row["layers"].values():
        assert sum(numbers) == pytest.approx(row["logit"], abs=1e-5)
    assert row["layers"]["model.layers.1"][:-1] == [0.0] * 4  # behind the last layer the last place alone is read
    page = Path("relprop-explain.html").read_text()
    assert page.count("data:image/png;base64,") == 1


def test_an_id_names_a_token(call, saved):
    words = ["--text", TEXT, "--model", saved("llama"), "--target", "#7", "--against", "#9", "--json"]
    (row,) = json.loads(call("explain", *words).stdout)["texts"][0]["explanations"]
    assert row["index"] == 7
    assert row["against"] != "#9"


def test_markup_in_a_text_is_shown_and_not_run(call, saved):
    hostile = "<script>alert(1)</script> [b]x[/b]{{7*7}}"
    told = call("explain", "--text", hostile, "--model", saved("gpt2")).stdout
    assert hostile in told
    page = Path("relprop-explain.html").read_text()
    assert "<script" not in page
    assert hostile in Page(page).text


def test_a_trained_language_model(call, tmp_path):
    text_models.save_stories(tmp_path / "stories")
    words = ["--text", "Once upon a time, there was a little girl named", "--model", f"hf:{tmp_path / 'stories'}"]
    told = call("explain", *words, "--method", "attnlrp").stdout
    assert '" Lily" (317)' in told
    assert '" Lily", attnlrp: of 18.1, 13.7 on its tokens, 4.31 in softmax' in told
    assert " named[+10.9]" in told


def test_wrong_combinations_are_one_line(fails, saved, tmp_path):
    name = saved("llama")
    Image.new("RGB", (64, 64)).save("cat.png")
    assert "it takes no texts; name a language model or a classifier" in fails("--text", TEXT)
    assert "it reads texts, no pictures; name one" in fails("cat.png", "--model", name)
    assert "it reads texts, no pictures" in fails("--model", name)
    assert "--text and a picture were both named" in fails("cat.png", "--text", TEXT, "--model", name)
    assert "--text and --pixel were both named" in fails("--text", TEXT, "--pixel", "1,1", "--model", name)
    (tmp_path / "empty.txt").write_text("\n\n")
    assert "no text in it" in fails("--text-file", tmp_path / "empty.txt", "--model", name)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    assert "not a text in UTF-8" in fails("--text-file", tmp_path / "bytes.txt", "--model", name)
    assert "No such file" in fails("--text-file", tmp_path / "none.txt", "--model", name)
    (tmp_path / "texts.png").write_text("Paris")
    assert "is the source" in fails(
        "--text-file", tmp_path / "texts.png", "--out", tmp_path / "texts.png", "--model", name
    )


def test_targets_that_are_no_token_are_one_line(fails, saved):
    name = saved("llama")
    told = fails("--text", TEXT, "--model", name, "--target", " Berlin")
    assert "' Berlin' is 7 tokens of this model (Ġ B e r l i n); name the first, ' ', or its id" in told
    assert "position 9 is out of range: the text has 5 tokens" in fails(
        "--text", TEXT, "--model", name, "--position", 9
    )
    assert "is out of range: the model has tokens" in fails("--text", TEXT, "--model", name, "--target", "#99999")
    masked = saved("masked")
    assert "0 times [MASK]" in fails("--text", TEXT, "--model", masked)
    told = fails("--text", "[MASK] is", "--model", masked, "--target", "Pariss")
    assert "'Pariss' is no token of this model; did you mean Paris?" in told
    classifier = saved("classifier", id2label={0: "dull", 1: "bright"})
    assert "did you mean bright?" in fails("--text", TEXT, "--model", classifier, "--target", "brigth")
    assert "--against is for language models" in fails("--text", TEXT, "--model", classifier, "--against", "dull")
    assert "--position is for language models" in fails("--text", TEXT, "--model", classifier, "--position", "1")


def test_plan_and_check_read_texts(call, saved):
    name = saved("llama")
    rules = {row["rule"] for row in json.loads(call("plan", "--model", name, "--json").stdout)}
    assert any(rule.startswith("Attend(") for rule in rules)
    of_a_text = json.loads(call("plan", "--model", name, "--text", "Paris is", "--json").stdout)[-1]
    assert of_a_text["shapes"][-1][1] == 2
    for words in ([], ["--text", TEXT]):
        assert json.loads(call("check", *words, "--model", name, "--json").stdout)["ok"] is True
    assert "it takes no texts" in call("plan", "--text", TEXT, code=1).stderr
    assert "it takes no texts" in call("check", "--text", TEXT, code=1).stderr
    assert "both named" in call("check", "cat.png", "--text", TEXT, "--model", name, code=1).stderr


def test_a_process_of_its_own(saved):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "60"}
    command = [sys.executable, "-m", "relprop", "explain", "--text", TEXT * 4, "--model", saved("llama")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "wrote relprop-explain.html" in found.stdout
    assert TEXT * 4 in found.stdout  # not cut into lines where no terminal is
    assert found.stderr == ""
    assert torch.get_num_threads() >= 1
