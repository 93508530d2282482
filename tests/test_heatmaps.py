"""Figures: what is drawn, not only that something is."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from relprop.plots.heatmaps import FORMATS, heatmaps, render, scale
from relprop.plots.style import drawable


def relevance(targets=1, side=32, seed=0):
    return np.random.default_rng(seed).normal(size=(targets, 3, side, side)).astype(np.float32)


def picture(side=32):
    return np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)


def images(figure):
    return [axis.images[0] for axis in figure.findobj(lambda part: hasattr(part, "images")) if axis.images]


def test_the_users_settings_are_for_the_users_figures():
    def drawn():
        return render(heatmaps(picture(), ["one"], {"lrp-z": relevance()}), "svg")

    usual = drawn()
    with mpl.rc_context({"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "font.family": "none such"}):
        assert drawn() == usual
        assert mpl.rcParams["font.size"] == 30


def test_a_class_whose_letters_no_font_has_is_named_all_the_same():
    figure = heatmaps(picture(), ["sign \U0010fffd, logit 2"], {"own \U0010fffd:method": relevance()})
    assert figure.subfigs[0].get_suptitle() == r"sign \U0010fffd, logit 2"
    assert len(render(figure)) > 1000  # and a warning would be an error here


def test_letters_that_a_font_has_stay():
    assert drawable("Größe µ_w ≤ ½\nΔf") == "Größe µ_w ≤ ½\nΔf"


def test_a_row_per_target_and_a_column_per_method():
    maps = {"lrp-z": relevance(2), "cmp-alpha1": relevance(2), "cmp-alpha2-flat": relevance(2)}
    figure = heatmaps(picture(), ["one", "two"], maps)
    assert len(images(figure)) == 2 * (1 + 3)
    assert [part.get_suptitle() for part in figure.subfigs] == ["one", "two"]


def test_the_map_is_the_sum_over_colours_with_a_scale_symmetric_around_zero():
    R = relevance()
    shown, drawn = images(heatmaps(picture(), ["one"], {"lrp-z": R}))
    assert np.array_equal(shown.get_array(), picture())
    assert np.allclose(drawn.get_array(), R[0].sum(0), atol=1e-6)
    assert drawn.norm.vmin == -drawn.norm.vmax
    assert drawn.cmap(drawn.norm(0.0))[:3] == pytest.approx((0.97, 0.97, 0.97), abs=0.01)


def test_a_single_extreme_pixel_does_not_blank_the_others():
    values = np.full((100, 100), 0.5)
    values[0, 0] = -1e6
    assert scale(values) == pytest.approx(0.5)


@pytest.mark.parametrize(("low", "high", "extend"), [(-9, 9, "both"), (-9, 0, "min"), (0, 9, "max"), (0, 0, "neither")])
def test_the_colour_bar_shows_where_relevance_lies_beyond_it(low, high, extend):
    R = np.zeros((1, 1, 64, 64))
    R[..., ::2, :] = 1
    R[0, 0, 1, 0], R[0, 0, 1, 1] = low, high
    assert images(heatmaps(picture(64), ["one"], {"lrp-z": R}))[1].colorbar.extend == extend


def test_a_map_of_zeros_or_of_one_pixel_has_a_scale():
    spot = np.zeros((64, 64))
    assert scale(spot) == 1
    spot[3, 3] = -2
    assert scale(spot) == 2


def test_maps_that_do_not_fit_the_picture_are_refused():
    with pytest.raises(ValueError, match="shapes do not fit"):
        heatmaps(picture(), ["one"], {"lrp-z": relevance(side=16)})
    with pytest.raises(ValueError, match="shapes do not fit"):
        heatmaps(picture(), ["one", "two"], {"lrp-z": relevance()})


def test_maps_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        heatmaps(picture(), ["one"], {"lrp-z": relevance() * np.nan})


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_and_the_same_each_time(kind):
    def once():
        return render(heatmaps(picture(), ["one"], {"lrp-z": relevance()}), kind, dpi=40)

    content = once()
    assert content == once()
    if kind not in {"pdf", "svg"}:
        assert Image.open(io.BytesIO(content)).width > 100


def test_names_are_text_not_formulas():
    render(heatmaps(picture(), ["a $_ b", "c^"], {"lrp-epsilon:eps=$_": relevance(2)}), dpi=40)


def test_global_state_of_matplotlib_is_left_alone():
    before = dict(mpl.rcParams)
    render(heatmaps(picture(), ["one"], {"lrp-z": relevance()}), dpi=40)
    assert dict(mpl.rcParams) == before


def test_a_region_is_outlined_on_the_picture_whose_extent_stays():
    plain = heatmaps(picture(), ["one"], {"lrp-z": relevance()})
    framed = heatmaps(picture(), ["one"], {"lrp-z": relevance()}, (4, 6, 10, 9))
    (shown,), (usual,) = ([image.axes for image in images(figure)[:1]] for figure in (framed, plain))
    frames = [(patch.get_xy(), patch.get_width(), patch.get_height()) for patch in shown.patches]
    assert frames == [((3.5, 5.5), 6, 3)] * 2
    assert (shown.get_xlim(), shown.get_ylim()) == (usual.get_xlim(), usual.get_ylim())
    assert not usual.patches


def test_boxes_frame_picture_and_maps_and_mu_w_stands_under_each():
    inside = np.zeros((32, 32), dtype=bool)
    inside[4:10, 6:20] = True
    maps = {"lrp-z": relevance(), "cmp-alpha1": relevance()}
    figures = {"lrp-z": [2.351], "cmp-alpha1": [float("nan")]}
    figure = heatmaps(picture(), ["one"], maps, inside=[inside], mu_w=figures, letters=True)
    panels = [axis for axis in figure.findobj(lambda part: hasattr(part, "images")) if axis.images]
    assert [axis.get_title() for axis in panels] == ["(a) input", "(b) lrp-z", "(c) cmp-alpha1"]
    for axis in panels:
        edges = np.concatenate(axis.collections[0].get_segments())
        assert [*edges.min(0), *edges.max(0)] == [5.5, 3.5, 19.5, 9.5]
        assert axis.get_xlim() == (-0.5, 31.5)
    below = [axis.get_xlabel() for axis in figure.findobj(lambda part: hasattr(part, "get_xlabel"))]
    assert [text for text in below if text] == [r"relevance; $\mu_w$ 2.35", r"relevance; $\mu_w$ not defined"]
