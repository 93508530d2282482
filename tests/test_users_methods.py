"""Methods of the user's own, named by their place: package.module:function."""

import json
import sys

import pytest
import torch

import relprop as rp
from small_networks import pictures, plain

MODULE = """
import torch
import relprop as rp

from helper import factor


def edges(model, x, target):
    return factor * x.abs()


def of_class(model, x, target):
    return torch.zeros_like(x) + target.view(-1, 1, 1, 1)


def narrow(model, x, target):
    return x[:, :1]


def broken(model, x, target):
    return x / 0 if target.any() is None else {}["no such key"]


class Holder:
    @staticmethod
    def inner(model, x, target):
        return x


number = 3
composite = rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.5))])
"""


@pytest.fixture
def _own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    for name in ("mine", "helper", "wrong", "needing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "helper.py").write_text("factor = 2\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "needing.py").write_text("import something_that_is_not_there\n")
    yield
    for name in ("mine", "helper", "wrong", "needing"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("_own")
def test_a_method_of_the_users_own_by_name():
    model, x = plain(), pictures()
    e = rp.explain(model, x, [1, 3], ["mine:edges", "mine:of_class", "mine:Holder.inner", "lrp-z", "mine:composite"])
    assert torch.equal(e.relevance["mine:edges"][0], 2 * x.abs())
    assert e.relevance["mine:of_class"].flatten(1).unique(dim=1).tolist() == [[1.0], [3.0]]
    gamma = rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.5))])
    assert torch.equal(e.relevance["mine:composite"][1], rp.attribute(model, x, 3, gamma))
    assert set(e.ledger) == {"lrp-z", "mine:composite"}
    import mine  # noqa: PLC0415 - written by the fixture

    assert torch.equal(rp.attribute(model, x, 1, mine.edges), rp.attribute(model, x, 1, "mine:edges"))
    named = rp.explain(model, x, [1], {"a": "mine:edges", "b": mine.edges, "c": "cmp-alpha1"})
    assert torch.equal(named.relevance["a"], named.relevance["b"])
    assert len(rp.plan(model, x, "mine:composite")) > 0


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:egdes", r"no 'egdes' in .*mine.py; did you mean edges"),
        ("mine:number", "is of type int; it must be a function"),
        ("mine:Holder.outer", "no 'outer' in Holder; choose from inner"),
        ("mine:number.outer", "no 'outer' in int"),
        ("mien:edges", "no module 'mien'; did you mean mine"),
        ("gradcam:layer", "no module 'gradcam'; did you mean grad-cam"),
        ("wrong:f", "importing wrong failed: SyntaxError: .*wrong.py, line 1"),
        ("needing:f", "importing needing failed: .*No module named 'something_that_is_not_there' .needing.py, line 1"),
        ("mine:narrow", r"'it' returned \(2, 1, 8, 8\), and must return a tensor of x's shape"),
        ("mine:broken", r"method 'mine:broken' failed: KeyError: 'no such key' \(mine.py, line \d+\)"),
        ("mine:", "no method is named 'mine:'"),
        (":edges", "no method is named ':edges'"),
        ("cmp-alpha1-falt:layers=3", "no method is named .*; did you mean cmp-alpha1-flat"),
        ("gradient:edges", "no option 'edges'; it takes none"),
    ],
)
def test_what_is_wrong_with_a_method_of_the_users_own(name, message):
    with pytest.raises(rp.InputError, match=message) as caught:
        rp.attribute(plain(), pictures(), 1, name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_own")
def test_every_command_takes_methods_of_the_users_own(call):
    words = ("--model", "digits-shallow", "--json")
    told = json.loads(call("explain", *words, "--raw", "--method", "mine:edges", "--method", "lrp-z").stdout)
    assert [e["method"] for e in told["explanations"]] == ["mine:edges", "lrp-z"]
    assert told["files"][1:] == ["relprop-explain.mine_edges.npy", "relprop-explain.lrp-z.npy"]
    names = "mine:edges,cmp-alpha1-flat:layers=3,eps=0.1,smoothgrad:samples=2,seed=3,uniform"
    told = json.loads(call("study", *words, "--limit", "2", "--no-occlusion", "--methods", names).stdout)
    assert told["methods"] == [
        "mine:edges",
        "cmp-alpha1-flat:layers=3,eps=0.1",
        "smoothgrad:samples=2,seed=3",
        "uniform",
    ]
    call("report", "relprop-study")
    failed = call("explain", "--model", "digits-shallow", "--method", "mine:egdes", code=1)
    assert failed.stderr.endswith("mine.py; did you mean edges?\n")
    assert failed.stderr.count("\n") == 1
