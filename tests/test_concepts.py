"""Concepts: what one pass over a data set finds is what all pictures at once would tell."""

import doctest

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from narrow import with_weights
from relprop.data.pictures import PictureError
from relprop.tools import concepts as tool
from relprop.tools import regions
from relprop.tools.concepts import concepts
from relprop.tools.regions import region_of
from relprop.tools.streams import Best, Moments

D = torch.float64
NUMBER = 23


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3), nn.ReLU()]
    return with_weights(nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 5)).to(D)).eval()


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(NUMBER, 3, 8, 8, dtype=D, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def data(pictures):
    return [(x, {k % 3, 3} if k % 4 == 0 else k % 3) for k, x in enumerate(pictures)]


def of_class(wanted):
    return [k for k in range(NUMBER) if k % 3 in wanted or (3 in wanted and k % 4 == 0)]


def naive(net, pictures, layer, outputs, method):
    """Relevance at the layer of all pictures of the class, (pictures, channels, positions)."""
    mine = of_class(outputs)
    logits = net(pictures[mine])
    target = torch.tensor(outputs)[logits[:, outputs].argmax(1)]
    inside = rp.explain(net, pictures[mine], [target], [method], inside=layer).inside[method][layer]
    return mine, inside[0].flatten(2)


@pytest.mark.parametrize("method", ["lrp-z", "cmp-alpha2-flat"])
@pytest.mark.parametrize("by", ["sum", "max"])
@pytest.mark.parametrize(("layer", "outputs"), [("1", [2]), ("3", [0]), ("4", [3]), ("4", [1, 2])])
def test_the_ranking_and_the_pictures_are_those_of_all_pictures_at_once(
    net, pictures, data, method, by, layer, outputs
):
    found = concepts(net, data, layer, outputs, method, top=5, shown=4, by=by, batch=4)
    mine, R = naive(net, pictures, layer, outputs, method)
    mean = R.sum(2).mean(0)
    assert found.number == len(mine)
    assert [c.channel for c in found.channels] == mean.argsort(descending=True)[:5].tolist()
    assert found.total == pytest.approx(float(mean.sum()), rel=1e-9)
    scores = R.sum(2) if by == "sum" else R.amax(2)
    for concept in found.channels:
        k = concept.channel
        assert concept.mean == pytest.approx(float(mean[k]), rel=1e-9)
        assert concept.magnitude == pytest.approx(float(R.abs().sum(2).mean(0)[k]), rel=1e-9)
        assert concept.low <= concept.mean <= concept.high
        order = [b for b in scores[:, k].argsort(descending=True).tolist() if scores[b, k] > 0][:4]
        assert [view.picture for view in concept.shown] == [mine[b] for b in order]
        assert [view.relevance for view in concept.shown] == pytest.approx(scores[order, k].tolist(), rel=1e-9)


@pytest.mark.parametrize("layer", ["1", "4"])
def test_the_maps_are_those_through_the_channel_alone(net, pictures, data, layer):
    found = concepts(net, data, layer, 2, "cmp-alpha1", top=3, shown=5, batch=3)
    for concept in found.channels:
        for view in concept.shown:
            x = pictures[view.picture][None]
            alone = rp.explain(net, x, [2], ["cmp-alpha1"], conditions=[{layer: [concept.channel]}])
            torch.testing.assert_close(view.map, alone.relevance["cmp-alpha1"][0, 0], rtol=1e-9, atol=1e-12)
            assert view.value == pytest.approx(float(net(x)[0, 2].detach()), rel=1e-12)
            assert view.region == region_of(view.map)


def test_neither_batches_nor_labels_told_apart_change_anything(net, data):
    class Apart:
        """Says labels without reading, and refuses to read what is of another class."""

        def __len__(self):
            return len(data)

        def labels(self, index):
            return data[index][1]

        def __getitem__(self, index):
            assert index in of_class([3])
            return data[index]

    told = [str(concepts(net, given, "4", 3, top=16, batch=b)) for given, b in ((data, 1), (data, 7), (Apart(), 50))]
    assert told[0] == told[1] == told[2]
    assert told[0].startswith("4, class 3, 6 pictures; mean relevance of all channels together ")


def test_many_outputs_of_one_class_are_counted_not_listed(net, data):
    assert str(concepts(net, data, "4", range(5), "lrp-z")).startswith("4, class of 5 outputs, 23 pictures;")


def test_progress_ends_where_it_should(net, data):
    calls = []
    concepts(net, data, "4", 0, top=2, shown=3, batch=2, progress=lambda *call: calls.append(call))
    assert [c for c in calls if c[0] == "pictures"] == [("pictures", k + 1, NUMBER) for k in range(NUMBER)]
    assert calls[-1] == ("regions", 6, 6)


def test_series_tables_and_tokens_have_channels_too():
    torch.manual_seed(0)
    series = nn.Sequential(nn.Conv1d(2, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(60, 2)).to(D).eval()
    found = concepts(series, [(torch.randn(2, 10, dtype=D), 0) for _ in range(5)], "1", 0, "lrp-z", top=6)
    assert len(found.channels) == 6
    assert all(len(view.region) == 1 for c in found.channels for view in c.shown if view.region)
    table = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 2)).to(D).eval()
    assert len(concepts(table, [(torch.randn(7, dtype=D), 1) for _ in range(3)], "1", 1, "lrp-z", top=99).channels) == 9

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 11), nn.ReLU(), nn.Linear(11, 3)).to(D)

        def forward(self, x):
            return self.body(x).mean(1)

    tokens = [(torch.randn(5, 4, dtype=D), 0) for _ in range(4)]
    assert len(concepts(Mean().eval(), tokens, "body.1", 0, "lrp-z", top=99).channels) == 11


# -- what can be wrong -------------------------------------------------------------------------------


class Blocks(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.twice, self.two = net, nn.ReLU(), Two()
        self.unused = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x):
        a, b = self.two(self.twice(x))
        return self.net(self.twice(a + b))


class Two(nn.Module):
    def forward(self, x):
        return x * 0.25, x * 0.75


WRONG = [
    ({"layer": "net.44"}, "is no module of the model; did you mean net.4"),
    ({"layer": "two"}, "returns 2 tensors"),
    ({"layer": "twice"}, "returns 2 tensors"),
    ({"layer": "unused"}, "does not run, or returns no recorded tensor.*such as unused.0"),
    ({"target": 4}, r"none of the data's 23 pictures is of class 4; classes that are there: 0, 1, 2, 3$"),
    ({"target": "cat"}, "has no .classes"),
    ({"target": 2.5, "data": []}, "none of the data's 0 pictures"),
    ({"target": "x", "data": []}, "no .classes"),
    ({"target": []}, "an output, its name, or several"),
    ({"method": "gradient"}, "has no rules"),
    ({"by": "summ"}, "did you mean sum"),
    ({"shown": 0}, "must be positive"),
    ({"data": [(torch.zeros(3, 8, 8), "cat")]}, "gives the label 'cat'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_is_told(net, data, change, message):
    asked = {"data": data, "layer": "net.4", "target": 0, "method": "lrp-z"} | change
    with pytest.raises(rp.InputError, match=message):
        concepts(Blocks(net).eval(), **asked)


def test_a_class_that_the_model_has_not_is_told(net, pictures):
    with pytest.raises(rp.InputError, match="9 is out of range: the model has classes 0 to 4"):
        concepts(net, [(x, 9) for x in pictures], "4", 9, "lrp-z")


def test_data_that_changes_when_it_is_read_again_is_told(net):
    class Augmented:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.randn(3, 8, 8, dtype=D), 0

    with pytest.raises(rp.InputError, match=r"data\[\d\] was another picture"):
        concepts(net, Augmented(), "4", 0, "lrp-z")


def test_pictures_that_cannot_be_read_are_skipped_and_named(net, data):
    class Broken:
        def __init__(self, every):
            self.every = every

        def __len__(self):
            return len(data)

        def __getitem__(self, index):
            if index % self.every == 0:
                raise PictureError(f"{index}.png: broken")
            return data[index]

    found = concepts(net, Broken(6), "4", 1, "lrp-z")
    assert found.skipped == ("0.png: broken", "6.png: broken", "12.png: broken", "18.png: broken")
    assert found.number == len([k for k in of_class([1]) if k % 6])
    with pytest.raises(rp.InputError, match=r"can be read; of 23 the first: 0\.png: broken"):
        concepts(net, Broken(1), "4", 1, "lrp-z")


# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 40])
@pytest.mark.parametrize("batch", [1, 4, 31])
def test_the_best_are_those_of_a_full_sort(size, batch):
    scores = torch.randint(-4, 9, (31, 6), generator=torch.Generator().manual_seed(0)).to(D)  # many are equal
    best = Best(size)
    for start in range(0, 31, batch):
        best.add(range(start, min(start + batch, 31)), scores[start : start + batch])
        assert best.scores.shape[1] <= size
    for channel in range(6):
        ranked = sorted(range(31), key=lambda k: (-scores[k, channel], k))[:size]
        assert best.of(channel) == [(k, float(scores[k, channel])) for k in ranked if scores[k, channel] > 0]


def test_the_interval_is_as_wide_as_the_standard_error_says():
    values = torch.randn(400, 3, dtype=D, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 5.0])
    whole, parts = Moments(), Moments()
    whole.add(range(400), values, values.abs())
    for start in range(0, 400, 16):
        parts.add(range(start, start + 16), values[start : start + 16], values[start : start + 16].abs())
    low, high = (np.array(ends) for ends in whole.interval([0, 1, 2]))
    np.testing.assert_allclose((high - low) / 2, 1.96 * values.std(0) / 20, rtol=0.1)
    np.testing.assert_allclose((high + low) / 2, values.mean(0), atol=0.05)
    np.testing.assert_allclose(parts.interval([0, 1, 2]), (low, high), rtol=1e-9)
    other = Moments(1)
    other.add(range(400), values, values)
    assert other.interval([0]) != whole.interval([0])


def test_one_picture_has_no_interval(net, data):
    found = concepts(net, data[:1], "4", 0, "lrp-z", top=1)
    assert np.isnan([found.channels[0].low, found.channels[0].high]).all()


# -- regions -----------------------------------------------------------------------------------------


def test_a_region_holds_what_is_positive_but_for_the_tails():
    R = torch.zeros(3, 20, 30)
    R[:, 5:9, 10:20] = 1.0
    R[0, 0, 0] = 0.5  # a stray pixel
    R[1, 15:, 25:] = -9.0
    assert region_of(R, share=0.98) == ((5, 9), (10, 20))
    assert region_of(-R.abs()) is None
    assert region_of(R * 0) is None
    point = torch.zeros(1, 7, 7)
    point[0, 6, 0] = 1e-30
    assert region_of(point) == ((6, 7), (0, 1))
    assert region_of(torch.tensor([0.0, 1.0, 1.0, 0.0])) == ((1, 3),)


def test_examples_in_docstrings_run():
    assert doctest.testmod(regions).failed == 0
    assert doctest.testmod(tool).failed == 0
