"""Figures say what they hold: shares of the logit, warnings, signs, scales; and whatever a name holds is text."""

import ast
import doctest
import importlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from PIL import Image

import relprop as rp
from relprop.data.preprocess import Preprocess
from relprop.plots import explained, named, waterfall
from relprop.plots.palette import ALARM
from relprop.plots.view import Range, View, coloured
from relprop.support import account as accounts
from relprop.support.account import Account

SIDE = 12
LRP, GRADIENT = "lrp-epsilon", "gradient"
EVIL = '<img src=x onerror="alert(1)">'


class Net(torch.nn.Module):
    """Class 0 says yes with no bias, class 1 stands on its bias alone almost, class 2 says no."""

    classes = (EVIL, "tabby", "otter")
    preprocess = Preprocess(SIDE, SIDE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), channels="BGR")

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.out = torch.nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(1)))
            self.out.weight.copy_(torch.tensor([[1.0, 1.0], [0.1, 0.1], [-1.0, -1.0]]))
            self.out.bias.copy_(torch.tensor([0.01, 9.0, 0.0]))

    def forward(self, x):
        return self.out((self.conv(x).relu() + x.mean((1, 2, 3))[:, None, None, None] * 0).mean((2, 3)))


def photograph(seed=0):
    pixels = np.random.default_rng(seed).integers(128, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def e():
    return rp.explain(Net().eval(), photograph(), [0, 1, 2], [LRP, GRADIENT])


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")) if text.get_text()]


def images(figure):
    return [axis.images[0] for axis in figure.findobj(lambda part: hasattr(part, "images")) if axis.images]


def test_under_every_map_stands_how_much_of_the_logit_lies_on_pixels(e):
    for target in (0, 1, 2):
        held = e.account(target, LRP)
        assert held.total == pytest.approx(float(e.map(target, LRP).sum()), rel=1e-5)
        assert held.start == pytest.approx(float(e.values[target, 0]))
        assert held.total + held.bias + held.eps + held.lost == pytest.approx(held.start, abs=1e-4)
    assert Account(16.1301, 16.26, 16.2612, 0.13).words() == "16.13 of 16.26 on pixels"
    said = texts(rp.plots.grid(e))
    assert e.account(0, LRP).words() in said
    (warned,) = [text for text in said if text.startswith(e.account(1, LRP).words())]
    assert "in biases" in warned


def test_less_than_half_on_pixels_is_a_warning_in_red(e):
    assert not e.account(0, LRP).warning
    assert e.account(1, LRP).share < 0.5
    labels = [axis.xaxis.label for axis in rp.plots.grid(e, methods=[LRP]).findobj(lambda p: hasattr(p, "xaxis"))]
    colours = {label.get_text().partition("\n")[0]: label.get_color() for label in labels if label.get_text()}
    assert colours[e.account(0, LRP).words()] != colours[e.account(1, LRP).words()] == ALARM


def test_a_negative_logit_is_noted(e):
    heads = [part.get_suptitle() for part in rp.plots.grid(e).subfigs]
    assert ["says no" in head for head in heads] == [False, False, True]
    assert "Blue then" in accounts.note(-1.0, ("lrp-alpha1",))
    assert "says no" in rp.plots.overlay(e, "otter").axes[0].get_title()


def test_gradients_are_called_attribution(e):
    under = texts(rp.plots.grid(e, methods=[GRADIENT], targets=["tabby"]))
    assert [text for text in under if text.startswith("attribution: its sum is")]
    assert not [text for text in under if "of" in text and "pixels" in text]
    assert e.account(1, GRADIENT).share is None


def test_maps_of_one_sign_have_scales_of_one_side():
    up, both = np.array([[0.0, 1.0, 2.0]]), np.array([[-1.0, 1.0, 2.0]])
    each = View(percentile=100).ranges({"a": [up, -up, both, up - 1e-9]})["a"]
    assert each == [Range(0, 2), Range(-2, 0), Range(-2, 2), Range(0, each[3].high)]
    white, red = coloured(up, each[0], View())[0, [0, 2]]
    assert white.min() > 0.95
    assert red[0] > 3 * red[1]
    blue = coloured(-up, each[1], View())[0, 2]
    assert blue[2] > 3 * blue[0]
    assert View(sign="+").signed(both).min() == 0
    assert View(sign="-", percentile=100).ranges({"a": [View(sign="-").signed(both)]})["a"] == [Range(-1, 0)]


def test_a_scale_for_each_map_for_a_method_or_for_all():
    maps = {"a": [np.array([[-1.0, 1.0]]), np.array([[-4.0, 2.0]])], "b": [np.array([[-9.0, 1.0]])] * 2}
    limits = {
        scale: [r.limit for several in View(scale=scale, percentile=100).ranges(maps).values() for r in several]
        for scale in ("each", "method", "all")
    }
    assert limits == {"each": [1, 4, 9, 9], "method": [4, 4, 9, 9], "all": [9] * 4}


def test_the_picture_lies_under_the_map_and_hides_none_of_it():
    values, black = np.array([[0.0, 1.0, -1.0]]), np.zeros((1, 3, 3), np.uint8)
    within, look = Range(-1, 1), View(overlay=0.5)
    alone, over = coloured(values, within, look), coloured(values, within, look, black)
    assert np.array_equal(alone[0, 1:], over[0, 1:])
    assert over[0, 0] == pytest.approx(alone[0, 0] - 0.5)
    assert np.array_equal(coloured(values, within, View(), black), alone)


def test_overlay_and_boxes_and_masks_are_options(e):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[2:4, 2:5] = True
    figure = rp.plots.grid(e, overlay=0.5, boxes={0: [(1, 2, 5, 6)], "tabby": mask}, methods=[LRP], targets=[0, 1])
    maps = [image for image in images(figure) if image.get_array().shape == (SIDE, SIDE, 3)]
    assert len(maps) == 4  # two pictures, two maps that are pictures now
    frames = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Rectangle)]
    assert {(patch.get_xy(), patch.get_width(), patch.get_height()) for patch in frames} == {((0.5, 1.5), 4, 4)}
    assert {patch.axes for patch in frames} == {image.axes for image in images(figure)[:2]}
    assert len([image for image in images(figure) if image.axes.collections]) == 2
    assert images(rp.plots.show(e, boxes=[(0, 0, 3, 3)]))[0].axes.patches
    for wrong in (np.zeros((2, 2), bool), [(1, 2, 3)]):
        with pytest.raises(ValueError, match="mask"):
            rp.plots.grid(e, boxes=wrong)


def test_the_papers_seven_columns(e):
    assert len(rp.plots.PAPER) == 7
    assert set(rp.plots.PAPER) <= set(rp.methods())
    shown = [named.shown(method, "paper") for method in rp.plots.PAPER]
    assert shown[0] == "LRP$_{z}$"
    assert shown[2:4] == ["Guided Backprop", "Pattern Attribution"]
    assert shown[-1] == "LRP$_\\mathrm{CMP}$:\N{GREEK SMALL LETTER ALPHA}2+♭"
    assert len(set(shown)) == 7
    columns = rp.explain(Net().eval(), photograph(), [0], dict.fromkeys(rp.plots.PAPER, LRP))
    titles = [image.axes.get_title() for image in images(rp.plots.grid(columns, letters=True))]
    assert titles == [f"({x}) {t}" for x, t in zip("abcdefgh", ["input", *shown], strict=True)]


def test_words_that_are_none_are_refused(e):
    with pytest.raises(ValueError, match="there is no 'opacity'"):
        rp.plots.grid(e, opacity=1)
    with pytest.raises(ValueError, match=r"did you mean.*RdBu"):
        rp.plots.grid(e, colours="RdBuu")
    with pytest.raises(ValueError, match="was not explained"):
        rp.plots.show(e, 7)
    with pytest.raises(ValueError, match="keeps no ledger"):
        rp.plots.ledger(e, method=GRADIENT)


def test_the_waterfall_adds_up(e):
    axis = rp.plots.ledger(e, "tabby", LRP).axes[0]
    bars = axis.patches
    first, *middle, last = [bar.get_width() for bar in bars]
    assert first == pytest.approx(float(e.values[1, 0]))
    assert first + sum(middle) == pytest.approx(last, abs=1e-4)
    assert last == pytest.approx(e.account(1, LRP).total, abs=1e-4)
    assert axis.get_yticklabels()[0].get_text() == "logit"
    assert rp.plots.ledger(e.ledger[LRP], 1).axes[0].patches[-1].get_width() == pytest.approx(last)


def test_files_of_every_kind(e, tmp_path):
    heads = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for kind, head in heads.items():
        (path,) = e.save(tmp_path / f"cat.{kind}", overlay=0.3, methods=[LRP], targets=[0])
        assert path.read_bytes().startswith(head)
    written = e.save(tmp_path / "cat.npy")
    assert [path.name for path in written] == [f"cat.{LRP}.npy", f"cat.{GRADIENT}.npy"]
    assert np.array_equal(np.load(written[0]), e.relevance[LRP].numpy())
    with pytest.raises(ValueError, match=r"\.npy for the numbers"):
        e.save(tmp_path / "cat.doc")


def test_a_notebook_shows_pictures_and_takes_no_name_for_markup(e):
    shown = e._repr_html_()
    assert shown.count("data:image/png;base64,") == 3 * 3
    assert EVIL not in shown
    assert "&lt;img src=x" in shown
    assert f"{e.account(0, LRP).words()}" in shown
    assert e.account(1, LRP).warning in shown
    assert "says no" in shown
    assert "attribution: its sum is" in shown
    assert len(shown) < 40_000


def test_lines_stay_short_whatever_the_size(e):
    check = rp.check(Net().eval(), photograph(), LRP)
    plan = rp.plan(Net().eval(), photograph(), LRP)
    for result in (e, e.ledger[LRP], plan, check, e.account(0)):
        assert len(repr(result)) < 1000
        assert "tensor(" not in repr(result)
    assert check.ok
    assert check._repr_html_().count("<table>") >= 2
    assert e == e  # noqa: PLR0124
    assert e != e.to("cpu")
    assert torch.equal(e.to("cpu").ledger[LRP].start, e.ledger[LRP].start)


def test_pictures_and_paths_are_taken_where_the_model_prepares_them(e, tmp_path):
    photograph().save(tmp_path / "cat.png")
    model = Net().eval()
    x = model.preprocess(photograph())[None]
    same = rp.attribute(model, x, 0, LRP)
    for given in (tmp_path / "cat.png", str(tmp_path / "cat.png"), photograph(), [photograph()]):
        assert torch.equal(rp.attribute(model, given, 0, LRP), same)
    assert rp.explain(model, [photograph(), photograph(1)], [0], [LRP]).relevance[LRP].shape[1] == 2
    assert np.array_equal(e.picture(), np.asarray(photograph()))
    with pytest.raises(rp.InputError, match=r"no \.preprocess"):
        rp.attribute(torch.nn.Flatten(), "cat.png")
    with pytest.raises(rp.RelpropError, match="no such file"):
        rp.attribute(model, tmp_path / "dog.png")


def test_a_map_is_that_of_its_target_method_and_picture(e):
    assert torch.equal(e.map("tabby", GRADIENT), e.relevance[GRADIENT][1, 0].sum(0))
    assert e.versus("tabby", "otter").shape == (1, 3, SIDE, SIDE)
    with pytest.raises(rp.InputError, match="no picture 1"):
        e.map(0, picture=1)
    texts_ = rp.explain(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), [0], [LRP])
    assert texts_.map().shape == (4,)
    with pytest.raises(rp.InputError, match="no picture"):
        rp.plots.grid(texts_)
    assert "data:image" not in texts_._repr_html_()


def test_figures_show_themselves(e):
    png = rp.plots.show(e)._repr_png_()
    assert Image.open(io.BytesIO(png)).width > 100


@pytest.mark.parametrize("name", ["metrics", "models", "plots", "quantus", "rules", "study", "on"])
def test_a_public_module_shows_its_public_names_alone(name):
    module = getattr(rp, name)
    assert sorted(dir(module)) == sorted(set(dir(module)))
    for each in dir(module):
        assert each.startswith("__") or (hasattr(module, each) and not each.startswith("_"))
        assert each not in {"Any", "np", "torch", "nn", "annotations", "TYPE_CHECKING", "import_module"}


@pytest.mark.parametrize("name", ["relprop", "relprop.metrics", "relprop.models", "relprop.study"])
def test_type_checkers_see_no_name_that_there_is_not(name):
    tree = ast.parse(Path(importlib.import_module(name).__file__).read_text(encoding="utf-8"))
    assert "__getattr__" not in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
    assert "TYPE_CHECKING" in ast.dump(tree)
    with pytest.raises(AttributeError, match="nothing"):
        _ = importlib.import_module(name).nothing


@pytest.mark.parametrize("module", [accounts, named, explained, waterfall, "relprop.explanation"], ids=str)
def test_examples_in_docstrings_run(module):
    module = importlib.import_module(module) if isinstance(module, str) else module
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
