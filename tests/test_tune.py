"""`rp.tune`: what it chooses and tells is what maps made one by one say, however it was interrupted."""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from relprop import on, rules
from relprop.study.statistics import Estimate
from relprop.tools.tune import tune
from relprop.tools.tune_measures import MEASURES
from relprop.tools.tune_result import BEATS, NOT, UNDECIDED, verdict
from relprop.tools.tune_space import read_space

AGAINST = ("lrp-z", "cmp-alpha2-flat", "cmp-alpha1-zbox")


def network():
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3)).eval()


def pictures(number=40):
    """Squares on noise; some pictures have two classes to explain."""
    generator = torch.Generator().manual_seed(2)
    found = []
    for k in range(number):
        x = 0.3 * torch.rand(1, 8, 8, generator=generator)
        masks = torch.zeros(2, 8, 8, dtype=torch.bool)
        masks[0, 1:4, 1 + k % 4 : 4 + k % 4], masks[1, 5:8, 2:6] = True, True
        x[0, masks[0]] += 1.0
        found.append((x, k % 3, masks[0]) if k % 5 else (x, {0: masks[0], 2: masks[1]}))
    return found


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def data():
    return pictures()


@pytest.fixture(scope="module")
def tuned(net, data):
    return tune(net, data, "default", "mu_w", against=AGAINST)


def alone(net, item, method):
    """mu_w of each class of a picture, of maps made one by one."""
    x, target, *mask = item
    masks = dict(target) if isinstance(target, dict) else {target: mask[0]}
    maps = [rp.attribute(net, x[None], target=t, method=method) for t in masks]
    return [float(rp.metrics.weighted_inside_total_ratio(R, masks[t][None])) for t, R in zip(masks, maps, strict=True)]


def told_on(data, seed=0):
    return sorted(np.random.default_rng(seed).permutation(len(data)).tolist()[len(data) // 2 :])


def test_the_table_is_what_maps_made_one_by_one_say(net, data, tuned):
    rows = {told.name: told for told in tuned.presets}
    methods = {"chosen": tuned.best} | {name: name for name in rows}
    values = {name: [v for k in told_on(data) for v in alone(net, data[k], method)] for name, method in methods.items()}
    defined = np.isfinite(np.array([*values.values()])).all(0)
    assert tuned.pairs == (int(defined.sum()), len(defined))
    assert len(defined) > len(told_on(data)) == tuned.pictures[1] == 20
    means = {name: float(np.array(each)[defined].mean()) for name, each in values.items()}
    assert tuned.finalists[0].estimates["mu_w"].mean == pytest.approx(means["chosen"], rel=1e-4)
    for name, row in rows.items():
        assert row.estimates["mu_w"].mean == pytest.approx(means[name], rel=1e-4)
        assert row.differences["mu_w"].mean == pytest.approx(means["chosen"] - means[name], abs=1e-4)
        assert row.differences["mu_w"].low <= row.differences["mu_w"].mean <= row.differences["mu_w"].high
    assert [row.name for row in tuned.presets] == sorted(rows, key=lambda name: -means[name])
    assert "cmp-alpha1-zbox" in tuned.left_out  # nothing here says what the input's bounds are


def test_the_chosen_one_is_the_best_of_all_where_all_see_all_pictures(net, data):
    data = data[:16]
    found = tune(net, data, "small", finalists=99, against=["lrp-z"])
    assert found.rounds == ((12, 8),)
    searched = np.random.default_rng(0).permutation(len(data)).tolist()[:8]
    means = {}
    for candidate in read_space("small").candidates(99):
        values = [v for k in searched for v in alone(net, data[k], candidate.composite)]
        means[candidate.text] = np.nanmean(values)
    assert found.finalists[0].text == max(means, key=means.get)
    assert [told.text for told in found.finalists] == sorted(means, key=means.get, reverse=True)
    assert found.finalists[0].searched["mu_w"] == pytest.approx(max(means.values()), rel=1e-4)


def test_candidates_share_the_forward_pass(net, data):
    runs = []
    handle = net.register_forward_hook(lambda *_: runs.append(1))
    try:
        found = tune(net, data, "default", against=[])
    finally:
        handle.remove()
    assert found.maps > 300
    assert len(runs) < 40


def test_it_prints_code_and_saves_a_file_that_give_the_chosen_one(tuned, net, data, tmp_path):
    names = {}
    exec(tuned.code, names)
    assert names["composite"] == tuned.best
    tuned.save(tmp_path / "mine.toml")
    x = data[1][0][None]
    same = [rp.attribute(net, x, 0, method) for method in (tuned.best, str(tmp_path / "mine.toml"))]
    assert torch.equal(*same)
    text = str(tuned)
    assert tuned.code in text
    assert "90 distinct" not in text
    assert f"{tuned.candidates} candidates, {tuned.distinct} distinct" in text
    assert tuned.distinct < tuned.candidates == 120  # this network has three layers
    assert "<table>" in tuned._repr_html_()
    assert tuned.as_dict()["finalists"][0]["estimates"]["mu_w"]["mean"] == tuned.finalists[0].estimates["mu_w"].mean


def test_seeds_decide_the_split_and_nothing_else_varies(net, data, tuned):
    again = tune(net, data, "default", "mu_w", against=AGAINST)
    assert again.as_dict() | {"seconds": 0} == tuned.as_dict() | {"seconds": 0}
    assert (
        tune(net, data, "small", seed=1, against=AGAINST).presets != tune(net, data, "small", against=AGAINST).presets
    )


@pytest.mark.parametrize("at", [1, 3])
def test_what_an_interrupted_search_measured_is_not_measured_again(net, data, tuned, tmp_path, at):
    calls = []

    def interrupted(*_):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(net, data, "default", against=AGAINST, folder=tmp_path, progress=interrupted)
    found = tune(net, data, "default", against=AGAINST, folder=tmp_path)
    assert 0 < found.maps < tuned.maps
    assert found.best == tuned.best
    assert found.finalists == tuned.finalists
    third = tune(net, data, "default", against=AGAINST, folder=tmp_path)
    assert third.maps == 0
    assert third.presets == tuned.presets
    larger = tune(net, data, "small", against=AGAINST, folder=tmp_path)  # another space takes what is there
    assert larger.maps < tune(net, data, "small", against=AGAINST).maps


def test_progress_ends_where_it_said_it_would(net, data):
    told = {}
    tune(net, data, "default", against=AGAINST, progress=lambda what, *count: told.setdefault(what, []).append(count))
    assert list(told) == ["searching", "comparing"]
    for counts in told.values():
        assert counts == sorted(counts)
        assert counts[-1][0] == counts[-1][1]


def test_a_folder_of_another_search_is_refused(net, data, tmp_path):
    tune(net, data, "small", against=[], folder=tmp_path)
    with pytest.raises(rp.InputError, match="another measures; name another folder"):
        tune(net, data, "small", "mu", against=[], folder=tmp_path)
    other = network()
    nn.init.zeros_(other[-1].bias)
    with pytest.raises(rp.InputError, match="another model"):
        tune(other, data, "small", against=[], folder=tmp_path)


class Leaky(rules.Epsilon):
    def share(self, layer, R):
        return super().share(layer, R / 2)


def test_a_map_whose_ledger_is_open_is_no_map_and_flat_on_the_head_does_not_fit(net, data):
    choices = [rules.Epsilon(), rules.Flat(), Leaky(), rules.Z()]
    space = {"slot": [{"on": "head", "rules": choices}, {"on": "weighted", "rules": [rules.ZPlus()]}]}
    found = tune(net, data, space, finalists=3, against=["lrp-z"])
    assert found.distinct == 3
    assert "fully connected" in found.left_out["candidate 2"]
    assert {told.text for told in found.finalists} == {"Epsilon(eps=1e-06)", "Z()"}
    assert found.left_out["candidate 3"].startswith("it defines 0% of the pairs")
    assert found.as_dict()["history"]["candidate 3"] == [None]


def test_several_measures_and_one_of_ones_own(net, data):
    seen = []

    def own(case):
        seen.append(case)
        return -case.R.abs().amax((1, 2))

    space = {"slot": [{"on": "weighted", "rules": ["Z", "ZPlus"]}]}
    found = tune(net, data[:6], space, {"peak": own, "srg": MEASURES["srg"]}, against=["lrp-z"], finalists=2)
    assert found.by == ("peak", "srg")
    assert set(found.presets[0].differences) == {"peak", "srg"}
    case = seen[0]
    flips = rp.metrics.flip(net, case.x, case.R.float(), case.targets, region=1, steps=10)
    assert torch.equal(MEASURES["srg"](case), flips.srg)
    with pytest.raises(rp.InputError, match="measure 'bad' returned float"):
        tune(net, data[:6], space, {"bad": lambda case: 1.0})


def test_a_column_of_a_studys_measure_is_a_measure(net, data):
    space = {"slot": [{"on": "weighted", "rules": ["Z", "ZPlus"]}]}
    by = ["sparseness/gini", "-sparseness/entropy", "flipping:replace=mean,steps=4/srg"]
    found = tune(net, data[:6], space, by, against=["lrp-z"], finalists=1)
    values = []
    for k in told_on(data[:6]):
        x, target, *_ = data[k]
        for t in target if isinstance(target, dict) else [target]:
            R = rp.attribute(net, x[None], target=t, method="lrp-z")
            flips = rp.metrics.flip(net, x[None], R, t, region=1, steps=4, replace="mean")
            values.append([rp.metrics.sparseness(R), -rp.metrics.complexity(R), flips.srg])
    means = np.mean([[float(v) for v in each] for each in values], 0)
    told = [found.presets[0].estimates[name].mean for name in by]
    assert told == pytest.approx(means.tolist(), rel=1e-3)


def test_a_verdict_is_told_by_the_interval():
    def of(low, high):
        return Estimate((low + high) / 2, low, high, 50, 50)

    assert verdict(of(0.1, 0.2), 50) == BEATS
    assert verdict(of(-0.1, 0.2), 50) == UNDECIDED
    assert verdict(of(-0.2, -0.1), 50) == NOT
    assert verdict(of(0.0, 0.0), 50) == NOT
    assert verdict(of(0.1, 0.2), 29) == UNDECIDED


def test_the_same_composite_does_not_beat_itself(net, data):
    space = {"slot": [{"on": on.any, "rules": [rules.Z()]}]}
    found = tune(net, data + data, space, against=["lrp-z"])
    assert found.verdict == NOT
    assert "they give the same maps" in str(found)


def test_optuna_searches_a_space_with_ranges_and_goes_on(net, data, tmp_path):
    pytest.importorskip("optuna", reason="Optuna is not installed: the extra `tune`")
    gamma = {"rule": "Gamma", "gamma": {"from": 0.01, "to": 10.0, "log": True}}
    space = {"slot": [{"on": "head", "rules": ["Epsilon"]}, {"on": "weighted", "rules": ["ZPlus", gamma]}]}
    first = tune(net, data, space, against=["lrp-z"], trials=24, folder=tmp_path)
    gammas = [rule.gamma for _, rule in first.best if isinstance(rule, rules.Gamma)]
    assert all(0.01 <= each <= 10 for each in gammas)
    assert 10 < first.candidates <= 24
    again = tune(net, data, space, against=["lrp-z"], trials=24, folder=tmp_path)
    assert again.maps == 0
    assert again.finalists == first.finalists


def test_without_optuna_it_says_how_to_do_without(net, data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(rp.InputError, match=r"pip install 'relprop\[tune\]'; or list the numbers"):
        tune(net, data, "gamma")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"by": "mu_v"}, "no measure is named 'mu_v'; did you mean mu_w"),
        ({"by": "sparseness/ginny"}, "no column 'ginny' of numbers; did you mean gini"),
        ({"by": "sparsenes/gini"}, "no measure is named 'sparsenes'; did you mean sparseness"),
        ({"by": "flipping/srg"}, "name what replaces regions: flipping:replace=mean/srg"),
        ({"by": []}, "by names no measure"),
        ({"by": "math:pi"}, "must be a function of a case"),
        ({"split": 1.0}, "split is 1.0"),
        ({"finalists": 0}, "at least 1"),
        ({"data": [(torch.ones(1, 8, 8), 0)]}, "data has 1 pictures"),
        ({"data": [torch.ones(1, 8, 8)] * 3}, "a triple"),
        ({"data": [(torch.ones(1, 8, 8), 0)] * 3}, "needs to know where the class is"),
        ({"data": [(torch.ones(1, 8, 8), 0, torch.ones(4, 4))] * 3}, "a mask of"),
        ({"data": [(torch.ones(1, 8, 8), 7, torch.ones(8, 8))] * 3}, "target 7 is out of range"),
        ({"data": 3}, "data is of type int"),
        ({"space": {"slot": [{"on": "weighted", "rules": ["Flat"]}]}}, "no candidate fits this model.*fully connected"),
    ],
)
def test_it_says_what_to_mend(net, data, words, message):
    with pytest.raises(rp.InputError, match=message):
        tune(net, **({"data": data, "space": "small"} | words))
