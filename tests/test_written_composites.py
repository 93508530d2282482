"""Composites as text: files and code that give an equal composite back, and what is said of files that are none."""

import hashlib
import json
import math

import pytest
import torch
from torch import nn

import relprop as rp
from relprop import on, rules
from relprop.catalogue.names import resolve, source_sha256
from relprop.catalogue.table import COMPOSITES
from relprop.composites.profiles import PROFILES, profile_named
from relprop.composites.written import as_code, from_toml, read_composite, read_selector, save_composite, to_toml

MIXED = rp.Composite(
    [
        (on.first(1) & ~(on.head | on.path("fc['x'] & \"y\"")), rules.Flat(padding="kernel")),
        (on.first(1 / 3, of=on.weighted & ~on.head), rules.AlphaBeta(2, bias=False)),
        (on.last(2, of=on.conv), rules.AlphaBeta(2, bias="whole", eps=1e-9)),
        (on.before(on.head, of=on.conv | on.pool), rules.ZBox((-2.0, -2.5, -1), 3)),
        (on.attention, rules.Attend(through="values")),
        (on.any, rules.Gamma(0.1)),
    ],
    start="one",
)
COMPOSITE = """
[[rule]]
on = "on.first(1) & ~on.head"
rule = "Flat"

[[rule]]
on = "head"
rule = "Epsilon"
eps = 1e-6

[[rule]]
on = "rp.on.weighted"
rule = "AlphaBeta"
alpha = 2
"""


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(144, 3)).eval()


def named():
    """Every method by name that has rules of numbers alone."""
    names = [name for name in COMPOSITES if "patterns" not in COMPOSITES[name].options]
    bounds = {name: f"{name}:low=-2,high=2.5" if "low" in COMPOSITES[name].options else name for name in names}
    return [resolve(name, None, PROFILES["paper"]) for name in bounds.values()]


def test_files_and_code_give_every_composite_back():
    everything = [MIXED, *named()]
    assert len(everything) > 15
    for composite in everything:
        assert from_toml(to_toml(composite)) == composite
        names = {}
        exec(as_code(composite), names)
        assert names["composite"] == composite
        own = {name: getattr(rules, name) for name in rules.__all__}
        own |= {type(rule).__name__: type(rule) for _, rule in composite}
        assert eval(repr(composite), {"Composite": rp.Composite, "on": on} | own) == composite


def test_numbers_that_were_given_still_win_over_a_profile():
    given, left = (rp.Composite([(on.any, rule)]) for rule in (rules.AlphaBeta(1, eps=0.0), rules.AlphaBeta(1)))
    zennit = profile_named("zennit")
    again = [from_toml(to_toml(composite)).entries[0][1] for composite in (given, left)]
    assert [zennit.adapt(rule).eps for rule in again] == [0.0, 1e-6]


def test_a_file_is_a_method_wherever_a_name_is_one(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(COMPOSITE)
    model, x = net(), torch.randn(2, 3, 6, 6)
    same = rp.attribute(model, x, target=1, method="cmp-alpha2-flat")
    assert torch.equal(rp.attribute(model, x, target=1, method=str(file)), same)
    assert list(rp.explain(model, x, [1], ["mine.toml"]).relevance) == ["mine.toml"]
    told = {}
    for command in ("plan", "explain"):
        words = ["--model", "digits-shallow", "--method", "mine.toml", "--json"]
        told[command] = json.loads(call(command, *words).stdout)
    assert "AlphaBeta(alpha=2)" in [step["rule"] for step in told["plan"]]
    assert [each["method"] for each in told["explain"]["explanations"]] == ["mine.toml"]
    assert (
        "no such file; did you mean mine.toml?"
        in call("plan", "--model", "digits-shallow", "--method", "mina.toml", code=1).stderr
    )


def test_a_study_knows_the_file_by_its_content(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(COMPOSITE)
    asked = ("study", "--model", "digits-shallow", "--limit", 1, "--no-occlusion", "--methods", "mine.toml,uniform")
    call(*asked)
    told = json.loads((tmp_path / "relprop-study/run.json").read_text())
    content = hashlib.sha256(COMPOSITE.encode()).hexdigest()
    assert told["own_methods"] == {"mine.toml": content} == {"mine.toml": source_sha256("mine.toml")}
    (tmp_path / "mine.toml").write_text(COMPOSITE.replace("alpha = 2", "alpha = 1"))
    assert "own_methods" in call(*asked, code=1).stderr


def test_a_rule_of_the_users_own_is_named_by_its_place(tmp_path, monkeypatch):
    text = (
        "from dataclasses import dataclass\nfrom relprop.rules import Epsilon\n"
        "@dataclass(frozen=True, eq=False)\nclass Twice(Epsilon):\n    factor: float = 2.0\n"
    )
    (tmp_path / "own_rules_of_a_test.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    found = from_toml('[[rule]]\non = "any"\nrule = "own_rules_of_a_test:Twice"\nfactor = 3.0\n')
    ((_, rule),) = found
    assert (type(rule).__name__, rule.factor) == ("Twice", 3.0)
    save_composite(found, tmp_path / "twice.toml", about="of a test\nits second line")
    assert (tmp_path / "twice.toml").read_text().startswith("# of a test\n# its second line\n\n[[rule]]\n")
    assert read_composite(tmp_path / "twice.toml") == found
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    exec(as_code(found), names)
    assert names["composite"] == found


def test_what_cannot_be_written_is_refused():
    class Local(rules.Epsilon):
        pass

    class Held(rules.ZPlus):
        def __init__(self):
            object.__setattr__(self, "held", torch.ones(2))

    for rule in (Local(), Held()):
        with pytest.raises(rp.InputError, match="define it in a module of its own"):
            to_toml(rp.Composite([(on.any, rule)]))


def test_a_share_of_the_depth():
    layers = [module for _ in range(5) for module in (nn.Linear(4, 4), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(4, 2)).eval()
    composite = rp.Composite([(on.first(1 / 3), rules.ZPlus()), (on.last(0.4), rules.Z()), (on.any, rules.Gamma())])
    steps = [step.rule for step in rp.plan(model, torch.ones(1, 4), composite) if step.op == "linear"]
    assert steps == ["ZPlus()"] * 2 + ["Gamma(gamma=0.25)"] + ["Z()"] * 3
    assert on.first(1 / 3).n == pytest.approx(1 / 3)
    assert math.ceil(6 * 0.4) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\non = ", "not TOML"),
        ("", "no entries"),
        ("rules = 3", "no 'rules'; did you mean rule"),
        ('start = "two"\n' + COMPOSITE, "start is 'two'"),
        ('[[rule]]\non = "conv"', "it needs on, such as"),
        (COMPOSITE.replace("head", "haed", 2), "rule 1: .*did you mean head"),
        (COMPOSITE.replace("Epsilon", "Epsilom"), "rule 2: no rule 'Epsilom'; did you mean Epsilon"),
        (COMPOSITE.replace("eps =", "esp ="), "rule 2: Epsilon has no 'esp'; did you mean eps"),
        (COMPOSITE.replace("1e-6", "-1"), "rule 2: Epsilon with eps = -1: .*at least 0"),
        (COMPOSITE.replace("1e-6", "'x'"), "rule 2: Epsilon with eps = 'x'"),
        (COMPOSITE.replace("Flat", "no.such:Rule"), "rule 1: rule 'no.such:Rule': no module 'no'"),
        (COMPOSITE.replace("Flat", "math:pi"), "must be a subclass"),
        (COMPOSITE.replace("Flat", "ZBox"), "needs the bounds"),
    ],
)
def test_a_file_that_is_no_composite(text, message):
    with pytest.raises(rp.InputError, match=message):
        from_toml(text, "mine.toml")


@pytest.mark.parametrize(
    "text", ["", "conv()", "first", "on.first('a')", "on.first(of=3)", "on.path(1)", "conv + head", "__import__('os')"]
)
def test_what_is_no_selector_is_refused_and_never_run(text):
    with pytest.raises(rp.InputError, match="no selector"):
        read_selector(text)
