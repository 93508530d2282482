"""Texts with their tokens coloured: figure, page, terminal line, and relevance at every layer."""

import doctest
import itertools
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import relprop as rp
from relprop.plots import marked as marks
from relprop.plots import token_figure, token_line, token_page
from relprop.plots.marked import marked, signed, tint

WORDS = ["The", " capital", " of", " $x_1$", " is", "<script>alert(1)</script>", "\n", "  ", "\x1b[31m", " 日"]
NUMBERS = np.array([0.1, 2.5, -0.3, 8.0, -4.0, 0.0, 1.0, -1.0, 0.5, 0.25])


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def boxes_of(figure):
    return [patch.get_bbox() for patch in figure.artists + figure.patches if hasattr(patch, "get_boxstyle")]


@pytest.mark.parametrize("module", [token_figure, token_line, token_page])
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_every_token_has_its_number():
    figure = rp.plots.tokens(NUMBERS, WORDS, titles="why", values=10.0)
    told = texts_of(figure)
    assert told[:2] == ["why", "of 10, 7.05 on its tokens, 2.95 in biases and softmax"]
    assert told[2::2] == ["The", "capital", "of", "$x_1$", "is", WORDS[5], "↵", "␣␣", "\\x1b[31m", told[-2]]
    assert told[3::2] == [signed(number, 8.0) for number in NUMBERS]
    assert told[3:6:2] == ["+0.10", "+2.50"]
    picture = rp.plots.render(figure, dpi=50)
    assert picture == rp.plots.render(rp.plots.tokens(NUMBERS, WORDS, titles="why", values=10.0), dpi=50)


def test_a_long_text_wraps_within_the_figure(tmp_path):
    words = [f" word{k}" for k in range(600)] + ["x" * 300]
    figure = rp.plots.tokens(np.linspace(-1, 1, 601), words)
    boxes = boxes_of(figure)
    assert len(boxes) == 601
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    assert not any(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 == b.y0 for a, b in itertools.pairwise(boxes))
    (tmp_path / "long.png").write_bytes(rp.plots.render(figure, dpi=40))
    with Image.open(tmp_path / "long.png") as picture:
        assert picture.height > 3 * picture.width


def test_a_short_text_makes_a_narrow_figure():
    short, long = (rp.plots.tokens([1.0], [word]).get_figwidth() for word in ("a", "a" * 38))
    assert short < long <= 7.2
    assert rp.plots.tokens([1.0], ["a"], titles="why " * 8).get_figwidth() > short


def test_the_strongest_token_is_as_strong_whatever_the_size():
    for factor in (1e-6, 1.0, 1e6):
        (text,) = marked(NUMBERS * factor, WORDS, None, None, None, "each")
        assert [text.colour(place) for place in (3, 5)] == [tint(1.0), (255, 255, 255)]
        assert text.colour(4) == tint(-0.5)
    one, other = marked([[1.0, 2.0], [4.0, 0.0]], [["a", "b"], ["c", "d"]], None, None, None, "all")
    assert one.colour(1) == tint(0.5)
    assert other.colour(0) == tint(1.0)


@pytest.mark.parametrize("share", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_letters_can_be_read_on_every_colour(share):
    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    dark = light([int(marks.LETTERS[k : k + 2], 16) for k in (1, 3, 5)])
    assert light(tint(share)) / dark >= 6  # WCAG asks 4.5 of small letters


def test_padding_is_left_out():
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    R = torch.tensor([[1.0, 2.0, 3.0], [0.0, 4.0, 5.0]])
    words = [["a", " b", " c"], ["<pad>", "d", " e"]]
    for given in (words, [words[0], words[1][1:]]):
        told = texts_of(rp.plots.tokens(R, given, mask=mask))
        assert told[2::2] == ["a", "b", "c", "of", "e"][:3] + told[8::2]
        assert "<pad>" not in told
        assert "d" in told


def test_a_tokenizers_spelling_is_read():
    told = texts_of(rp.plots.tokens([1.0, 2.0, 3.0], ["The", "Ġcapital", "Ċ"]))
    assert told[2::2] == ["The", "capital", "↵"]
    assert texts_of(rp.plots.tokens([1.0, 2.0], ["▁Once", "▁upon"]))[2::2] == ["Once", "upon"]


class Page(HTMLParser):
    """What a browser would make of a page: its tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.tips = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.tips += [value for key, value in attributes if key == "title"]
        assert not any(key.startswith("on") or (key in ("src", "href") and "//" in value) for key, value in attributes)

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_shows_what_tokens_hold_and_runs_nothing():
    hostile = [*WORDS, '"><img src=//x onerror=alert(1)>', "{{ 7 * 7 }}", "&amp;"]
    numbers = np.append(NUMBERS, [1.0, 2.0, 3.0])
    html = rp.plots.tokens_html(numbers, hostile, titles="<b>why</b>", values=20.0)
    page = Page(html)
    assert not {"script", "img", "b", "link", "iframe"} & set(page.tags)
    assert {"<b>why</b>", *hostile[5:6], *hostile[-3:]} <= set(page.text)
    assert len(page.tips) == len(hostile)
    assert page.tips[3] == "$x_1$: +8.00"
    assert page.tips[-1] == "&amp;: +3.00"
    assert page.tags.count("br") == 1
    assert "of 20, 13.1 on its tokens, 6.95 in biases and softmax" in page.text


def test_a_line_is_coloured_where_colours_are_seen(capsys):
    line = rp.plots.tokens_line(NUMBERS, WORDS)
    with_numbers = rp.plots.tokens_line(NUMBERS, WORDS, numbers=True)
    assert line.plain == "The capital of $x_1$ is<script>alert(1)</script>↵␣␣\\x1b[31m 日"
    assert with_numbers.plain.startswith("The[+0.10] capital[+2.50] of[-0.30] $x_1$[+8.00]")
    Console(force_terminal=True, color_system="truecolor", width=200).print(line)
    red, green, blue = tint(1.0)
    assert f"48;2;{red};{green};{blue}m $x_1$" in capsys.readouterr().out
    Console(force_terminal=False, width=200).print(line)
    assert capsys.readouterr().out == line.plain + "\n"


def test_layers_from_below_with_their_sums():
    rows = {"tokens": torch.tensor([1.0, -2.0, 4.0]), "model.layers.0": torch.tensor([0.5, 1.0, 1.5])}
    figure = rp.plots.layers(rows, ["a", "Ġb", " $c$"], title="why")
    axis, bar = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["tokens", "model.layers.0"]
    assert [label.get_text() for label in axis.get_xticklabels()][::2] == ["a", " $c$"]
    assert np.array_equal(axis.images[0].get_array(), np.stack(list(rows.values())))
    assert axis.images[0].get_clim() == (-4.0, 4.0)
    assert {"3", "sum"} <= {text.get_text() for text in axis.texts}
    assert not axis.yaxis_inverted()
    assert bar.get_ylabel() == "relevance"
    assert rp.plots.render(figure, dpi=40)[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([1.0], ["a", "b"]), "2 tokens"),
        (([[1.0, 2.0]], [["a", "b"], ["c"]]), "1 rows of relevance, 2 texts"),
        (([1.0, float("nan")], ["a", "b"]), "not finite"),
        (([[[1.0]]], ["a"]), "one number per token"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, told):
    for draw in (rp.plots.tokens, rp.plots.tokens_html):
        with pytest.raises(ValueError, match=told):
            draw(*arguments)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 layers and 1 tokens"):
        rp.plots.layers(np.zeros((2, 3)), ["a"])
    with pytest.raises(ValueError, match="not finite"):
        rp.plots.layers(np.full((1, 1), np.inf), ["a"])
    with pytest.raises(ValueError, match="scale is 'both'"):
        rp.plots.tokens([1.0], ["a"], scale="both")
