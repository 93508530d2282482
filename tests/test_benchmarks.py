"""The benchmark's own logic, on a network of milliseconds: nothing here asserts a time."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import relprop as rp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package
main, cases, contenders, floor, memory, networks, report, run, timing = (
    importlib.import_module(f"benchmarks.{name}")
    for name in ("__main__", "cases", "contenders", "floor", "memory", "networks", "report", "run", "timing")
)
sys.path.remove(str(ROOT))

Case, Plan, Patience = cases.Case, cases.Plan, timing.Patience


@pytest.fixture(scope="module")
def stage():
    return networks.stage("tiny", 2, networks.network("tiny"), "cpu", torch.float32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_one_line(capsys):
    assert main.main(["--device", "cuda", "--quick"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: device 'cuda' cannot be used here (")
    assert told.count("\n") == 1


@pytest.fixture
def session():
    return run.Session("cpu", torch.float32, threads=1, memory_batches=())


# -- which cases --------------------------------------------------------------------------------------


def test_cases_without_a_filter():
    found = cases.cases()
    assert len(found) == len(set(found)) == 3 * 3 * 4 + 2
    assert {case.network for case in found} == {"vgg16", "resnet50", "squeezenet1_0"}
    assert Case("vgg16", 1, "ten-targets") in found
    assert {case.batch for case in cases.cases(quick=True)} == {1}


@pytest.mark.parametrize(
    ("only", "number"),
    [("vgg16:4:cmp-alpha1-flat", 1), ("vgg16:4:cmp-*", 3), ("vgg16:4", 5), ("*:16", 12), ("resnet18:8", 4), ("vgg", 0)],
)
def test_cases_with_a_filter(only, number):
    assert len(cases.cases([only])) == number


def test_a_filter_that_means_nothing_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--only", "vgg15"])
    assert stop.value.code == 2
    assert "--list" in capsys.readouterr().err


def test_list(capsys):
    assert main.main(["--list", "--only", "squeezenet1_0:4"]) == 0
    assert capsys.readouterr().out.split() == [f"squeezenet1_0:4:{method}" for method in cases.METHODS]


def test_plans_keep_to_the_minutes_where_they_can():
    every = cases.cases()
    ample = cases.plans(every, 1000, 2e11)
    assert sum(plan.whole for plan in ample.values()) == pytest.approx(60 * 1000)
    scarce = cases.plans(every, 0, 2e11)
    assert all(plan.seconds == plan.least * plan.round for plan in scarce.values())
    assert scarce[Case("vgg16", 16, "cmp-alpha2-flat")].least < scarce[Case("vgg16", 1, "lrp-epsilon")].least


# -- the floor ----------------------------------------------------------------------------------------


def layer(kind, nonneg):
    module = nn.Conv2d(3, 5, 3, stride=2, padding=1) if kind == "conv" else nn.Linear(6, 5)
    x = torch.randn(2, 3, 9, 9) if kind == "conv" else torch.randn(2, 6)
    x = x.abs() if nonneg else x
    z = module(x).detach()
    return networks.Layer("it", module.requires_grad_(requires_grad=False), x, torch.randn_like(z), z.shape)


@pytest.mark.parametrize(
    ("rule", "four", "nonneg", "passes"),
    [
        ("epsilon", False, True, 2),
        ("epsilon", False, False, 2),
        ("alpha1", False, True, 3),
        ("alpha1", False, False, 5),
        ("alpha2", False, True, 5),
        ("alpha2", False, False, 9),
        ("alpha2", True, True, 4),
        ("alpha2", True, False, 7),
    ],
)
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_passes_of_the_floor_are_what_its_calls_do(kind, rule, four, nonneg, passes):
    it = layer(kind, nonneg)
    calls = floor.passes(it, rule, four)
    assert floor.cost(it, rule, four) == sum(call.passes for call in calls) == passes
    for call in calls:
        assert contenders.counted(call.call) == call.passes * it.flops


def test_floor_of_the_flat_rule_is_one_channel_of_work():
    it = layer("conv", nonneg=False)
    forward, box = floor.passes(it, "flat")
    assert contenders.counted(forward.call) == it.flops
    assert contenders.counted(box.call) == pytest.approx(it.flops / 15) == pytest.approx(box.passes * it.flops)
    with pytest.raises(TypeError, match="fully connected"):
        floor.passes(layer("linear", nonneg=True), "flat")


@pytest.mark.parametrize("nonneg", [True, False])
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_the_floors_calls_are_those_of_the_rule(kind, nonneg):
    it = layer(kind, nonneg)
    bias = it.module.bias.view(-1, 1, 1) if kind == "conv" else it.module.bias
    forward, plus, minus, *backward = (call.call() for call in floor.passes(it, "alpha2"))
    torch.testing.assert_close(plus + minus + bias, forward)
    assert (plus >= 0).all()
    assert (minus <= 0).all()
    same, negative, *less = (call.call() for call in floor.passes(it, "alpha2", four=True))
    for one, other in zip((same, negative, *less), (forward, minus, *backward), strict=True):
        assert torch.equal(one, other)
    if nonneg:
        x = it.x.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(it.module(x), x, it.g)
        torch.testing.assert_close(sum(backward), wanted)


def test_layers_are_recorded_as_they_run(stage):
    found = networks.layers(stage)
    assert [it.path for it in found] == ["0", "2", "6", "10", "12"]
    assert [it.nonneg for it in found] == [False, True, True, True, True]
    assert all(it.g.shape == it.z for it in found)
    assert (found[0].g == 0).any()  # behind dead ReLUs
    assert sum(it.flops for it in found) == contenders.counted(lambda: stage.model(stage.x))


def test_rules_are_read_from_the_plan(stage):
    assert contenders.rules_of(stage, "cmp-alpha2-flat") == {
        "0": "flat",
        "2": "alpha2",
        "6": "alpha2",
        "10": "epsilon",
        "12": "epsilon",
    }
    with pytest.raises(ValueError, match=r"floor\.py"):
        floor.rule_of("Gamma(gamma=0.25)")


# -- the contenders -----------------------------------------------------------------------------------


def passes(stage, contender, method):
    with contender(stage, method) as call:
        call()
        return contenders.counted(call) / contenders.counted(lambda: stage.model(stage.x))


def test_passes_are_counted_beneath_every_library(stage):
    wanted = {"forward": 1, "gradient": 2, "floor": 2, "relprop": 2, "zennit": 4, "captum": 3}
    everyone = contenders.contenders("lrp-epsilon")
    assert {name: passes(stage, everyone[name], "lrp-epsilon") for name in wanted} == wanted


def test_floor_of_a_method_adds_up(stage):
    found, rules = networks.layers(stage), contenders.rules_of(stage, "cmp-alpha1")
    assert passes(stage, contenders.OURS["floor"], "cmp-alpha1") == pytest.approx(floor.work(found, rules))
    first, *rest = (it.flops for it in found)
    by_hand = (5 * first + 3 * sum(rest[:2]) + 2 * sum(rest[2:])) / (first + sum(rest))
    assert floor.work(found, rules) == pytest.approx(by_hand)
    on_paper = (5 * (first + sum(rest[:2])) + 3 * sum(rest[2:])) / (first + sum(rest))
    assert floor.work(found, rules, floor.innvestigate) == pytest.approx(on_paper)


@pytest.mark.parametrize("method", cases.EIGHT)
def test_zennit_is_asked_for_the_same_map(stage, method):
    with contenders.zennit(stage, method) as call:
        theirs = call()[1]
    ours = rp.attribute(stage.model, stage.x, target=stage.target, method=method, start="one")
    assert torch.cosine_similarity(ours.flatten(1), theirs.flatten(1)).min() > 0.999


def test_peers_leave_the_model_alone(stage):
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    for name in contenders.PEERS:
        with contenders.PEERS[name](stage, "cmp-alpha1") as call:
            call()
    assert all(torch.equal(value, before[name]) for name, value in stage.model.state_dict().items())
    assert not any(hasattr(module, "rule") or module._forward_hooks for module in stage.model.modules())


def test_what_a_contender_cannot_do_it_says(stage):
    everyone = contenders.contenders("cmp-alpha2-flat")
    with pytest.raises(contenders.UnavailableError, match="alpha 2"), everyone["captum"](stage, "cmp-alpha2-flat"):
        pass
    with pytest.raises(contenders.UnavailableError, match="alpha 2"), everyone["floor-four"](stage, "cmp-alpha1"):
        pass


# -- time and memory ----------------------------------------------------------------------------------


def test_contenders_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    runs = timing.interleaved(calls, Patience(0, 3, 9), lambda: None, lambda *_: None)
    assert "".join(order) == "abcbcacab"
    assert all(len(seconds) == 3 for seconds in runs.values())


def test_a_contender_that_fails_leaves_and_the_others_go_on():
    def fail():
        raise MemoryError

    calls = {"good": lambda: None, "bad": fail}
    with pytest.raises(MemoryError):
        timing.interleaved(calls, Patience(0, 2, 2), lambda: None, lambda *_: None)
    runs = timing.interleaved(calls, Patience(0, 2, 2), lambda: None, lambda *_: None, lambda name, _: name == "bad")
    assert list(runs) == ["good"]
    assert len(runs["good"]) == 2


def test_patience():
    patience = Patience(seconds=10, least=2, most=4)
    assert not patience.enough(0, 0)
    assert not patience.enough(1, 99)
    assert patience.enough(2, 8)  # a third round would end after 12
    assert not patience.enough(2, 6)
    assert patience.enough(4, 1)


def test_summary():
    told = timing.summary([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (told["q1"], told["median"], told["q3"]) == (2, 3, 4)
    assert timing.summary([7.0])["q3"] == 7


@pytest.mark.skipif(not memory.available(), reason="needs Linux")
def test_memory_that_was_freed_again_counts():
    mib = 2**20
    told = memory.resident(lambda: float(torch.ones(16 * mib).sum()))  # 64 MiB, gone at the end
    assert 60 * mib < told["peak"] < 80 * mib
    assert told["kept"] < 20 * mib


def test_a_contender_that_would_not_fit_is_left_out(session, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 0)
    record = run.measured(session, Case("tiny", 1, "lrp-epsilon"), Plan(0, 0, 1), lambda *_: None)
    assert "GiB are free" in record["contenders"]["zennit"]["skipped"]
    results = {"machine": MACHINE, "versions": {}, "quick": False, "date": "", "cases": {"tiny:1:lrp-epsilon": record}}
    assert "GiB are free" in report.markdown(results)
    assert "not measured" in run.line(Case("tiny", 1, "lrp-epsilon"), record)


# -- the whole ----------------------------------------------------------------------------------------

MACHINE = {
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "cpu": "one",
    "cores": 1,
    "ram": 2**30,
    "system": "Linux",
    "load_average": None,
    "peak_flops": 1e9,
    "peak_source": "none",
}
QUICK = ["--quick", "--minutes", "0.01", "--threads", "1", "--memory-batches", "0", "--out"]


def test_a_run_leaves_results_table_and_picture(tmp_path, capsys):
    words = [*QUICK, str(tmp_path), "--only", "tiny:1:cmp-alpha?-flat", "--only", "tiny:*:*-*s"]
    assert main.main(words) == 0
    path, table, picture = map(Path, capsys.readouterr().out.split())
    results = json.loads(path.read_text())
    assert list(results["cases"]) == [
        "tiny:1:cmp-alpha1-flat",
        "tiny:1:cmp-alpha2-flat",
        "tiny:1:ten-targets",
        "tiny:2:eight-configurations",
    ]
    told = results["cases"]["tiny:1:cmp-alpha2-flat"]["contenders"]
    for name in ("forward", "gradient", "floor", "floor-four", "relprop", "zennit"):
        assert len(told[name]["seconds"]["runs"]) >= 1
    assert told["floor"]["passes"] > told["floor-four"]["passes"]
    assert told["innvestigate"]["passes"] > told["floor"]["passes"]
    assert {"torch", "zennit", "captum"} <= set(results["versions"])
    text = table.read_text()
    for heading in ("## Time", "## Much at once", "## Passes", "## Goals", "Captum has no rule with alpha 2"):
        assert heading in text
    assert picture.read_bytes().startswith(b"\x89PNG")

    table.unlink()
    assert main.main(["--table", str(path)]) == 0
    assert table.read_text() == text


def test_an_interrupted_run_keeps_what_it_has(tmp_path, session, monkeypatch):
    real, path = run.measured, tmp_path / "it.json"
    plans = {Case("tiny", 1, method): Plan(0, 0, 1) for method in ("lrp-epsilon", "cmp-alpha1")}

    def interrupted(session, case, plan, tell):
        if case.method == "cmp-alpha1":
            raise KeyboardInterrupt
        return real(session, case, plan, tell)

    monkeypatch.setattr(run, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(session, plans, path, quick=False, fresh=False)
    assert list(json.loads(path.read_text())["cases"]) == ["tiny:1:lrp-epsilon"]
    monkeypatch.setattr(run, "measured", real)
    run.run(session, {Case("tiny", 1, "cmp-alpha1"): Plan(0, 0, 1)}, path, quick=False, fresh=False)
    assert list(json.loads(path.read_text())["cases"]) == ["tiny:1:lrp-epsilon", "tiny:1:cmp-alpha1"]
    run.run(session, {Case("tiny", 1, "cmp-alpha1"): Plan(0, 0, 1)}, path, quick=False, fresh=True)
    assert list(json.loads(path.read_text())["cases"]) == ["tiny:1:cmp-alpha1"]


def test_results_of_another_machine_are_not_mixed_in(tmp_path):
    path = tmp_path / "it.json"
    run.write(path, run.opened(path, MACHINE, quick=False, fresh=False) | {"cases": {"a": {}}})
    assert run.opened(path, MACHINE, quick=False, fresh=False)["cases"] == {"a": {}}
    older = json.loads(path.read_text())
    older["versions"]["torch"] = "0.4"
    run.write(tmp_path / "older.json", older)
    assert run.opened(tmp_path / "older.json", MACHINE, quick=False, fresh=False)["cases"] == {}
    assert run.opened(path, MACHINE | {"cpu": "two"}, quick=False, fresh=False)["cases"] == {}


def test_a_dear_case_warms_the_peers_up_on_one_picture(session):
    told = []
    plan = Plan(round=100, seconds=0, least=1)
    record = run.measured(session, Case("tiny", 4, "cmp-alpha2"), plan, lambda *run: told.append(run))
    cheap = run.measured(session, Case("tiny", 4, "cmp-alpha2"), Plan(0, 0, 1), lambda *_: None)
    everyone = record["contenders"]
    timed = [name for name, seconds in told if seconds]
    assert timed == [name for name in everyone if "seconds" in everyone[name]]
    for name in timed:
        assert everyone[name]["passes"] == pytest.approx(cheap["contenders"][name]["passes"], abs=0.01)


@pytest.mark.slow
@pytest.mark.skipif(not memory.available(), reason="needs Linux")
def test_memory_is_measured_in_a_process_of_its_own():
    nursery = memory.Nursery(threads=1)
    try:
        told = {name: nursery.measure("squeezenet1_0", 1, "cmp-alpha1", name) for name in ("gradient", "zennit")}
        refused = nursery.measure("tiny", 1, "cmp-alpha2", "captum")
    finally:
        nursery.close()
    assert told["zennit"]["peak"] > told["gradient"]["peak"] > 10 * 2**20
    assert "alpha 2" in refused["skipped"]
