"""What figures of the command line say: under each map what is true of its method, and every option's effect."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import relprop as rp
from relprop.cli import app
from relprop.commands.asked import Asked
from relprop.commands.look import accounts
from relprop.plots.heatmaps import below, heatmaps
from relprop.plots.strip import strip
from relprop.plots.view import View
from test_honest_figures import Net, photograph, texts

NET = "from test_honest_figures import Net\n\ndef build():\n    return Net().eval()\n"
REFUSED = {"pattern-net", "pattern-attribution", "attention-rollout"}
"""Without patterns fitted to the network, and without attention."""
AT_ONE = "excitation-backprop"


def asked(methods):
    model = Net().eval()
    return Asked(model, "net", model.preprocess, model.classes, [0, 1, 2], methods, 1, "paper", torch.device("cpu"))


@pytest.fixture(scope="module")
def explained():
    """By method, what the command finds, and what `relprop.explain` does."""
    found = {}
    for method in rp.methods():
        question = asked([method])
        x = question.preprocess(photograph())[None]
        try:
            (each,) = question.explain(x, [np.asarray(photograph())])
        except rp.RelpropError:
            continue
        found[method] = each, rp.explain(question.model, x, [0, 1, 2], [method])
    return found


def test_what_stands_under_a_map_is_true_of_every_method(explained):
    assert set(rp.methods()) - set(explained) == REFUSED
    for method, (found, e) in explained.items():
        for row, account in enumerate(accounts(found)[method]):
            ledger = e.ledger.get(method)
            assert account.value == pytest.approx(float(e.values[row, 0]), rel=1e-5)
            assert account.total == pytest.approx(float(e.map(row, method).double().sum()), rel=1e-4, abs=1e-5)
            if ledger is None:
                assert (account.start, account.share) == (None, None)
                assert below(account).startswith("attribution: its sum is")
            else:
                assert account.start == pytest.approx(float(ledger.start[row, 0]), rel=1e-4, abs=1e-5)
                assert account.start == pytest.approx(1.0 if method == AT_ONE else account.value, rel=1e-4)
                assert ("its start" in account.words()) == (method == AT_ONE)
    assert {method for method, (_, e) in explained.items() if not e.ledger} >= {"gradient", "guided-backprop", "cam"}


def test_a_figure_says_that_relevance_starts_at_one(explained):
    found, _ = explained[AT_ONE]
    held = accounts(found)[AT_ONE]
    said = texts(heatmaps(found.seen, ["a", "b", "c"], found.maps, accounts=accounts(found)))
    assert all("of its start, 1.000, on pixels" in account.words() for account in held)
    assert all(account.words() in {words.partition("\n")[0] for words in said} for account in held)
    assert held[1].share == pytest.approx(1, abs=1e-5)


# -- the options -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Explain a picture with words of the command line; return the figure's file."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("honest_net.py").write_text(NET)
        photograph().save("cat.png")

        def draw(*words, out="cat.svg", code=0):
            given = ["explain", "cat.png", "--model", "honest_net:build", "--target", "tabby", "--target", "otter"]
            result = CliRunner().invoke(app, [*given, "--method", "lrp-epsilon", "--out", out, *words])
            assert result.exit_code == code, result.output
            return Path(out).read_text() if code == 0 and out.endswith(".svg") else result.stderr

        yield draw
    sys.modules.pop("honest_net", None)


def said(svg):
    """The words of a figure, which an SVG keeps beside the letters that are drawn, and the ends of its scales."""
    words = re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)
    return words, [word for word in words if re.fullmatch("[+\N{MINUS SIGN}][0-9.]+", word)]


@pytest.fixture(scope="module")
def plain(drawn):
    return drawn()


def test_a_figure_says_what_it_shows(plain):
    words, ends = said(plain)
    assert r"LRP$_{\epsilon}$" in words
    assert "The network says no: the logit is below zero." in "\n".join(words)
    assert "on pixels" in "\n".join(words)
    assert len({end[1:] for end in ends}) == 2  # each map has a scale of its own


def test_scale_sign_and_percentile_change_the_scales(drawn, plain):
    _, ends = said(plain)
    for scale in ("method", "all"):
        _, common = said(drawn("--scale", scale))
        assert len({end[1:] for end in common}) == 1
    _, positive = said(drawn("--sign", "+"))
    assert {end[0] for end in positive} == {"+"}
    _, closer = said(drawn("--percentile", "50"))
    assert all(float(near[1:]) < float(far[1:]) for near, far in zip(closer, ends, strict=True))


def test_names_are_the_papers_or_ours(drawn, plain):
    ours, _ = said(drawn("--names", "code"))
    assert "lrp-epsilon" in ours
    assert "lrp-epsilon" not in said(plain)[0]


@pytest.mark.parametrize("words", [("--colours", "PiYG"), ("--overlay", "0.5")], ids=" ".join)
def test_colours_and_overlay_change_the_picture_and_no_word(drawn, plain, words):
    other = drawn(*words)
    assert said(other) == said(plain)
    assert re.findall(r"base64,[^\"]*", other) != re.findall(r"base64,[^\"]*", plain)


def test_boxes_are_outlined(drawn, plain):
    assert ("#ffe14d" in plain, "#ffe14d" in drawn("--box", "2,3,8,9")) == (False, True)


def test_format_names_the_kind_and_letters_of_a_pdf_are_letters(drawn):
    drawn("--format", "pdf", out="folder")
    content = Path("folder/cat-explained.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--scale", "both"), "scale is 'both', and must be one of 'each', 'method', 'all'"),
        (("--sign", "plus"), "sign is 'plus', and must be one of"),
        (("--percentile", "0"), "percentile is 0.0, and must be above 0"),
        (("--colours", "RdBuu"), "there are no colours 'RdBuu'; did you mean"),
        (("--names", "ours"), "names is 'ours', and must be one of"),
        (("--box", "20,20,30,30"), "--box: the box 20,20,30,30 lies beside the picture of 12x12 pixels"),
        (("--format", "gif"), "--format gif: no kind of figure that can be written: png, pdf"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_wrong_values_are_told_in_a_line(drawn, words, problem):
    (line,) = drawn(*words, code=1).splitlines()
    assert line.startswith(f"error: {problem}")


@pytest.mark.parametrize("words", [("--overlay", "2"), ("--box", "1,2,3"), ("--box", "5,5,5,9")], ids=" ".join)
def test_wrong_words_are_wrong_usage(drawn, words):
    assert words[0] in drawn(*words, code=2)


def test_the_strips_of_a_page_look_as_the_options_say():
    maps = {"a": np.array([[[[1.0, -2.0]]], [[[4.0, 3.0]]]])}
    picture = np.zeros((1, 2, 3), np.uint8)
    each, one = strip(picture, maps), strip(picture, maps, View(sign="+", scale="method", percentile=100))
    assert [found.words for found in each.limits["a"]] == ["±2", "+4"]
    assert [found.words for found in one.limits["a"]] == ["+4", "+4"]
    over = strip(picture, maps, View(overlay=0.5))
    assert len({each.png, one.png, over.png}) == 3
