"""The test bed: maps of which the truth is known get the values that theory gives, in every protocol."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from relprop.data.clutter import Clutter
from relprop.models.networks.digits import PREPROCESS
from relprop.support.errors import InputError
from relprop.tools.testbed import apart, mosaics, planted, redrawn, run
from relprop.tools.testbed.bench import logits
from relprop.tools.testbed.explaining import maps, reasons, references


class Tiny(nn.Module):
    """A network that reads every pixel, with logits that are positive."""

    def __init__(self, strong=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 5, 4, 2), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(6 * 16 * 16, 16), nn.ReLU(), nn.Linear(16, 10))
        self.preprocess = PREPROCESS
        with torch.no_grad():
            self.classifier[2].bias += 3
            self.classifier[0].weight *= strong

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.fixture(scope="module")
def tiny():
    return Tiny(4.0).eval()


@pytest.fixture(scope="module")
def benches(tiny):
    made = (
        redrawn.bench(tiny, 8, 0),
        mosaics.bench(tiny, 4, 0),
        apart.bench(tiny, 4, 0),
        planted.bench(tiny, 6, 0, training=20, steps=4),
    )
    with pytest.MonkeyPatch.context() as patch:  # this network sees the ground above all; let that not matter here
        patch.setattr(redrawn, "GROUND", 1e9)
        yield {measure.name: (bench, measure) for bench in made for measure in bench.measures}


def scores(benches, name, R):
    bench, measure = benches[name]
    return measure.score(R * np.ones(bench.pictures.shape[:3]))


UNIFORM = {
    "target sensitivity": 0.5,
    "distractibility": 1.0,
    "background": 1.0,
    "grid pointing": 0.25,
    "DiFull": 0.25,
    "mark: share": 16**2 / 64**2,
    "mark: AUROC": 0.5,
}
BEST = {"single deletion": 1, **dict.fromkeys(UNIFORM, 1), "distractibility": 0, "background": 0}


def summed(benches, name, R):
    bench, measure = benches[name]
    values = measure.score(R * np.ones(bench.pictures.shape[:3]))
    (estimate,) = measure.summary(values[:, None], measure.picture, 0)
    return estimate


def test_every_protocol_is_there(benches):
    assert list(benches) == list(BEST)
    for name, (_, measure) in benches.items():
        assert measure.best == BEST[name]


@pytest.mark.parametrize("name", UNIFORM)
def test_a_uniform_map_has_the_value_of_theory(benches, name):
    found = summed(benches, name, 1.0)
    assert found.mean == pytest.approx(UNIFORM[name], abs=1e-12)
    assert found.low == pytest.approx(found.high)
    assert found.defined > 0
    assert summed(benches, name, 7.0).mean == pytest.approx(found.mean)  # its scale means nothing


def test_a_uniform_map_ranks_parts_by_their_area():
    """Three parts of 1, 2 and 3 pixels: what leaving them out does is ranked with their areas, or against them."""
    parts = np.zeros((3, 4, 4), dtype=bool)
    for k in range(3):
        parts[k, k, : k + 1] = True
    areas = parts.sum((1, 2)).astype(float)
    assert redrawn.spearman(areas, np.array([0.1, 0.2, 5.0])) == pytest.approx(1)
    assert redrawn.spearman(areas, np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert redrawn.spearman(areas, np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    assert np.isnan(redrawn.spearman(areas, np.ones(3)))
    assert np.isnan(redrawn.spearman(areas[:2], np.array([1.0, 2.0])))


def test_rank_correlation_is_that_of_scipy():
    from scipy.stats import spearmanr  # noqa: PLC0415 - comes with scikit-learn

    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 5, (2, 9)).astype(float)
        assert redrawn.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize("name", BEST)
def test_the_truth_has_the_best_value(benches, name):
    _, measure = benches[name]
    found = summed(benches, name, measure.oracle)
    assert found.mean == pytest.approx(measure.best, abs=1e-12)
    assert found.low == pytest.approx(found.high)


@pytest.mark.parametrize("name", BEST)
def test_a_random_map_has_the_value_of_theory_in_the_mean(benches, name):
    bench, measure = benches[name]
    noise = [references(bench, measure, seed)["noise"] for seed in range(16)]
    if name == "mark: AUROC":
        found = [summed(benches, name, R).mean for R in noise]
    else:
        found = [np.nanmean(measure.score(R)) for R in noise]
    expected = UNIFORM.get(name, 0.0)
    error = np.std(found) / np.sqrt(len(found))
    bias = 0.01 * expected  # a ratio's mean is not quite the ratio of means
    assert np.mean(found) == pytest.approx(expected, abs=4 * error + bias)


def test_opposite_maps_are_told_apart(benches):
    for name, worst in (("single deletion", -1), ("target sensitivity", 0)):
        assert summed(benches, name, -benches[name][1].oracle).mean == pytest.approx(worst)


def test_what_is_not_finite_is_undefined(benches):
    for name in BEST:
        if name != "mark: AUROC":
            assert np.isnan(scores(benches, name, np.nan)).all()
            assert summed(benches, name, np.nan).defined == 0


def test_a_redrawn_picture_tells_what_the_network_does(tiny):
    sequence = Clutter("test", "multi")
    scene = sequence.scene(2)
    found = redrawn.redraw(tiny, scene, [sequence.scene(3)])
    before = logits(tiny, [scene.draw()])[0]
    for k, effect in zip(scene.digits, found.digit_effects, strict=True):
        assert effect == pytest.approx(before - logits(tiny, [scene.without(k).draw()])[0], abs=1e-5)
    assert found.parts.sum(0).max() == 1
    owner = scene.owners()
    assert np.array_equal(found.parts.any(0), owner >= 0)
    assert np.array_equal(found.ground, ~np.isin(owner, scene.digits))
    assert set(np.flatnonzero(np.isfinite(found.all_digits))) == set(scene.labels)
    other = logits(tiny, [scene.on(sequence.scene(3).ground).draw()])[0]
    assert found.surroundings[0] == pytest.approx(before - other, abs=1e-5)


def test_where_the_ground_matters_relevance_on_it_is_no_fault(benches, monkeypatch):
    monkeypatch.setattr(redrawn, "GROUND", 0.0)
    assert np.isnan(scores(benches, "background", 1.0)).all()


def test_mosaics_are_of_four_classes_and_no_picture_comes_twice():
    four = list(mosaics.fours(8, 0))
    assert all(len({label for _, label in each}) == 4 for each in four)
    pictures = [picture.tobytes() for each in four for picture, _ in each]
    assert len(set(pictures)) == len(pictures)
    halved = mosaics.halved(four[0][0][0])
    assert halved.shape == (32, 32, 3)
    assert halved.mean() == pytest.approx(four[0][0][0].mean(), abs=0.6)


# -- DiFull ------------------------------------------------------------------------------------------


LRP = [name for name in rp.methods() if name.startswith(("lrp", "cmp", "eps", "attn", "cp", "excit", "pattern"))]


def test_difull_is_exactly_one_for_every_lrp_method():
    """On an embedded network: it has zB's bounds, and the patterns that its copies in four cells need."""
    network = rp.models.load("digits-shallow")
    bench = apart.bench(network, 4, 0)
    (measure,) = bench.measures
    assert not reasons(bench, LRP)
    found = maps(bench, LRP, 4, lambda _: None)
    assert len(LRP) == len(found) >= 19
    for name, R in found.items():
        assert np.abs(R).sum() > 0, name
        assert measure.score(R).tolist() == [1, 1, 1, 1], name
    alone = rp.attribute(network, bench.x()[:1, :, :64, :64], int(bench.target[0]), "cmp-alpha2-flat")
    assert found["cmp-alpha2-flat"][0, :64, :64] == pytest.approx(alone[0].double().sum(0).numpy(), abs=1e-5)


def test_a_leak_of_one_pixel_is_seen():
    masks = np.stack([mosaics.cell(1, 8)])
    R = masks.astype(float)
    assert apart.inside(R, masks).tolist() == [1]
    R[0, 7, 0] = -1e-9
    assert apart.inside(R, masks)[0] < 1


def test_a_cell_sees_no_other(tiny):
    whole = apart.Apart(tiny)
    x = torch.randn(1, 3, 128, 128)
    changed = x.clone()
    changed[:, :, 64:, :64] += 1
    same = (whole(x) == whole(changed)).reshape(4, 10).all(1)
    assert same.tolist() == [True, True, False, True]
    assert torch.equal(whole(x)[:, 10:20], tiny(x[:, :, :64, 64:]))


# -- the planted mark --------------------------------------------------------------------------------


def test_the_planted_mark_is_what_the_network_goes_by(tiny):
    before = copy.deepcopy(tiny.state_dict())
    hans = planted.clever_hans(tiny, 0, training=120, steps=60)
    assert all(torch.equal(before[key], value) for key, value in tiny.state_dict().items())  # ours to read
    bench = planted.bench(tiny, 20, 0, training=120, steps=60)
    y = logits(hans, bench.pictures)[:, planted.CLASS]
    assert y[:20].mean() > y[20:].mean() + 2
    changed = (bench.pictures[:20] != bench.pictures[20:]).any((0, 3))
    assert changed.any()
    assert not changed[~planted.corner()].any()
    again = planted.clever_hans(tiny, 0, training=120, steps=60)
    assert torch.equal(hans.classifier[0].weight, again.classifier[0].weight)


def test_auroc_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (14, 1)).astype(float)
    values[3] = np.nan
    wins = [
        (a > b) + 0.5 * (a == b)
        for a, b in itertools.product(values[:7, 0], values[7:, 0])
        if np.isfinite(a) and np.isfinite(b)
    ]
    (found,) = planted.separation(values, np.arange(14) % 7, 0)
    assert found.mean == pytest.approx(np.mean(wins))
    assert found.low < found.mean < found.high
    assert (found.defined, found.total) == (13, 14)


# -- what cannot be run ------------------------------------------------------------------------------


def test_networks_and_methods_that_do_not_fit_are_refused(tiny):
    with pytest.raises(InputError, match="did you mean digits-deep"):
        run("digits-dep")
    with pytest.raises(InputError, match="did you mean lrp-z"):
        run(tiny, ["lrp-zz"], pictures=4)
    with pytest.raises(InputError, match="give 4 pictures or more"):
        run(tiny, pictures=3)
    with pytest.raises(InputError, match=r"has no \.preprocess"):
        run(nn.Linear(3, 10).eval())
    blind = copy.deepcopy(tiny)
    with torch.no_grad():
        blind.classifier[2].bias -= 1e6
    with pytest.raises(InputError, match="sees the digits of 0, and 4 are wanted"):
        run(blind, ["lrp-z"], pictures=4)
    whole = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)).eval()
    with pytest.raises(InputError, match=r"no \.features"):
        planted.clever_hans(whole, 0)
