"""`rules.Attend`: what it is, where composites put it, and that the ledger tells a mistake in it."""

import dataclasses
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from attending import ATTENTION, D, tokens, transformer
from relprop.ops.table import TABLE
from relprop.rules import Attend, Epsilon, Flat, Gamma

ON = rp.on
NETS = {"eager": ATTENTION["eager"], "fused": ATTENTION["fused"]}


def composite(*entries):
    """These, and epsilon 0 for all others."""
    return rp.Composite([*entries, (ON.any, Epsilon(0.0))])


def near(got, expected, bound=1e-12):
    assert float((got - expected).abs().max()) <= bound * float(expected.abs().max())


# -- the rule as a thing -------------------------------------------------------------------------------------------


def test_equal_numbers_make_one_rule():
    assert Attend() == Attend(0.0, "all")
    assert hash(Attend()) == hash(Attend(0.0, "all"))
    assert len({Attend(), Attend(0.0), Attend(1e-6), Attend(through="values"), Epsilon(0.0)}) == 4
    assert Attend() != Epsilon(0.0)


def test_it_says_what_it_is():
    assert repr(Attend()) == "Attend(eps=0.0, through='all')"
    assert str(Attend()) == "Attend()"
    assert str(Attend(1e-3, "values")) == "Attend(eps=0.001, through='values')"
    assert Attend().opens
    assert not Attend(through="values").opens


def test_it_is_plain_data():
    for rule in (Attend(), Attend(1e-3, "values")):
        again = pickle.loads(pickle.dumps(rule))
        assert again == rule
        assert again.given == rule.given
    whole = composite((ON.attention & ON.path("blocks.0*"), Attend(1e-3)))
    assert pickle.loads(pickle.dumps(whole)) == whole


@pytest.mark.parametrize("eps", [-1e-9, float("nan")])
def test_a_stabiliser_below_zero_is_refused(eps):
    with pytest.raises(rp.RuleError, match="eps must be at least 0"):
        Attend(eps)


def test_another_way_is_refused():
    with pytest.raises(rp.RuleError, match="through is 'all' or 'values'"):
        Attend(through="keys")


def test_no_profile_changes_what_was_given():
    net, x = transformer(), tokens()
    for profile in ("innvestigate", "toolbox"):
        assert torch.equal(rp.attribute(net, x, 0, "attnlrp", profile=profile), rp.attribute(net, x, 0, "attnlrp"))


class Own(Attend):
    """A rule of the user's, that is no dataclass."""

    def __init__(self, factor):
        super().__init__()
        object.__setattr__(self, "factor", factor)


@dataclasses.dataclass(frozen=True, eq=False)
class Named(Attend):
    """And one that is."""

    name: str = "mine"


@pytest.mark.parametrize("rule", [Own(2.0), Named(name="theirs")])
@pytest.mark.parametrize("net", NETS)
def test_a_rule_of_the_users_that_is_one(rule, net):
    net, x = transformer(attention=NETS[net]), tokens()
    assert torch.equal(rp.attribute(net, x, 0, composite((ON.attention, rule))), rp.attribute(net, x, 0, "attnlrp"))


def test_rules_of_the_users_with_other_numbers_are_others():
    assert Own(2.0) == Own(2.0)
    assert Own(2.0) != Own(3.0)
    assert Named(name="a") != Named(name="b")
    assert Own(2.0) != Attend()


# -- where composites put it -----------------------------------------------------------------------------------------


class Gated(nn.Module):
    """y = sigmoid(W x) (V x)."""

    def __init__(self):
        super().__init__()
        self.opening, self.carrying = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.opening(x).sigmoid() * self.carrying(x)


def test_by_name_it_opens_gates_one_by_one():
    net, x = Gated().to(D).eval(), torch.randn(2, 4, dtype=D)
    e = rp.explain(net, x, [1], {"it": composite((ON.product, Attend()))}, inside=["*"])
    y, of_gate = net(x)[:, 1].detach(), net.opening(x).sigmoid()[:, 1].detach()
    near(e.inside["it"]["carrying"][0][:, 1], y / 2)
    near(e.inside["it"]["opening"][0][:, 1], y / 2 * (of_gate - 0.5) / (of_gate + 1e-6))
    assert e.ledger["it"].error < 1e-13
    closed = rp.explain(net, x, [1], {"it": composite((ON.attention, Attend()))}, inside=["*"])
    near(closed.inside["it"]["carrying"][0][:, 1], y)
    assert not closed.inside["it"]["opening"].any()
    values = rp.explain(net, x, [1], {"it": composite((ON.product, Attend(through="values")))}, inside=["*"])
    assert torch.equal(values.relevance["it"], closed.relevance["it"])


HERE = ON.attention & ON.path("blocks.1*")
WHERE = {  # a selector, and whether relevance differs from CP-LRP's at what the lower block gets and at what it gives
    "everywhere": (ON.attention, {"eager": (True, True), "fused": (True, True)}),
    "in the upper block": (HERE, {"eager": (True, True), "fused": (True, True)}),
    "in the lower block": (ON.attention & ON.path("blocks.0*"), {"eager": (True, False), "fused": (True, False)}),
    "but not in the upper": (ON.attention & ~ON.path("blocks.1*"), {"eager": (True, False), "fused": (True, False)}),
    "the last": (ON.last(1, of=ON.attention), {"eager": (True, True), "fused": (True, True)}),
    "the first": (ON.first(1, of=ON.attention), {"eager": (False, False), "fused": (True, False)}),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("net", NETS)
def test_in_some_places_alone(where, net):
    """The first of attention by hand is what makes scores: nothing opens what lies behind it, so none comes there."""
    selector, expected = WHERE[where]
    methods = {"it": composite((selector, Attend())), "closed": "cp-lrp"}
    e = rp.explain(transformer(attention=NETS[net]), tokens(), [0], methods, inside=["embed", "blocks.0"])
    assert e.ledger["it"].error < 1e-13
    inside, closed = e.inside["it"], e.inside["closed"]
    differs = tuple(not torch.equal(inside[place], closed[place]) for place in ("embed", "blocks.0"))
    assert differs == expected[net]


def test_each_explained_alone_is_as_together():
    net, x = transformer(attention=NETS["eager"]), tokens()
    methods = {
        "lrp-z": "lrp-z",
        "attnlrp": "attnlrp",
        "cp-lrp": "cp-lrp",
        "lower": composite((ON.attention & ON.path("blocks.0*"), Attend())),
        "upper": composite((HERE, Attend())),
        "first": composite((ON.first(3, of=ON.attention), Attend()), (ON.first(1), Gamma(0.5))),
        "last": composite((ON.last(3), Gamma(0.25)), (ON.attention, Attend())),
        "product": composite((ON.attention, Attend()), (ON.product, Attend())),
        "cmp-alpha1": "cmp-alpha1",
    }
    together = rp.explain(net, x, [0, 2], methods)
    for name, method in methods.items():
        alone = rp.explain(net, x, [0, 2], {"it": method})
        assert torch.equal(alone.relevance["it"], together.relevance[name]), name


def test_a_layer_that_only_opens_needs_a_rule_where_it_is_opened():
    net, x = transformer(), tokens()
    entries = [(ON.path("embed") | ON.path("head") | ON.path("blocks.*.down") | ON.path("blocks.*.up"), Epsilon())]
    shown = [(ON.path("blocks.*.attention.out_proj"), Epsilon())]
    opened = [(ON.path("blocks.?"), Epsilon())]  # where this net's own functions make queries, keys and values
    with pytest.raises(rp.RuleError, match=r"no rule for linear in 'blocks\.0'"):
        rp.attribute(net, x, 0, rp.Composite([(ON.attention, Attend()), *entries, *shown]))
    rp.attribute(net, x, 0, rp.Composite([(ON.attention, Attend()), *entries, *shown, *opened]))


def test_a_path_that_is_reached_by_opening_alone_is_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)).mean(1)

    net, x = Net().to(D).eval(), tokens()
    e = rp.explain(net, x, [0], {"it": composite((ON.path("q"), Gamma(0.5)), (ON.attention, Attend()))})
    assert [row.rule for row in e.ledger["it"] if row.path == "q"] == ["Gamma(gamma=0.5)"]
    with pytest.raises(rp.RuleError, match="matches no op"):
        rp.attribute(net, x, 0, composite((ON.path("q"), Gamma(0.5)), (ON.attention, Attend(through="values"))))


def test_it_does_not_fit_other_ops():
    with pytest.raises(rp.RuleError, match=r"Attend\(\) does not fit linear"):
        rp.attribute(transformer(), tokens(), 0, rp.Composite([(ON.linear, Attend()), (ON.any, Epsilon())]))
    with pytest.raises(rp.RuleError, match="fully connected"):
        rp.attribute(transformer(), tokens(), 0, rp.Composite([(ON.attention, Attend()), (ON.any, Flat())]))


class Leaking(rp.rules.Rule):
    """Hands half of its relevance to a gate, and does not say that it opens it."""

    fits = can = frozenset({"product"})

    def hand_down(self, call, R):
        return rp.rules.Share((R[0] / 2, R[0] / 2)) if call.inputs == 2 else None


class Opening(Leaking):
    """Says so."""

    opens = True


def test_a_rule_that_opens_gates_must_say_so():
    net, x = Gated().to(D).eval(), torch.randn(2, 4, dtype=D)
    with pytest.raises(rp.RuleError, match="opens = True"):
        rp.attribute(net, x, 1, composite((ON.product, Leaking())))
    opened = rp.attribute(net, x, 1, composite((ON.product, Opening())))
    assert torch.equal(opened, rp.attribute(net, x, 1, composite((ON.product, Attend()))))


def test_what_is_opened_must_have_a_rule():
    """A gate that is made of a logarithm, which gives nothing finite for nothing, however little that is."""
    fc = nn.Linear(4, 3).to(D)

    def model(x):
        y = fc(x)
        return y * torch.log(y.pow(2).mean(-1, keepdim=True)).clamp(-3, 3)

    x = torch.randn(2, 4, dtype=D)
    rp.attribute(model, x, 1, composite((ON.attention, Attend())))
    with pytest.raises(rp.UnsupportedOp, match="log: it gives nothing finite"):
        rp.attribute(model, x, 1, composite((ON.product, Attend())))


def test_a_deviation_that_is_opened_gets_half():
    """Of a hand-written RMSNorm: what it gives for nothing, the root of 1 / eps, is a bias of the gate."""
    fc = nn.Linear(4, 3, bias=False).to(D)

    def model(x):
        y = fc(x)
        return y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-3)

    x = torch.randn(2, 4, dtype=D)
    e = rp.explain(model, x, [1], {"it": composite((ON.product, Attend()))})
    y = fc(x)
    m = y.pow(2).mean(-1, keepdim=True)
    gate, nothing = torch.rsqrt(m + 1e-3), torch.tensor(1e-3, dtype=D).rsqrt()
    R = model(x)[:, 1:2] / 2
    of_mean = R * (gate - nothing) / (gate + 1e-6) * y.pow(2) / (3 * m)
    of_y = of_mean + R * torch.tensor([0.0, 1.0, 0.0], dtype=D)
    torch.testing.assert_close(e.relevance["it"][0], x * ((of_y / y) @ fc.weight), rtol=1e-10, atol=1e-12)
    assert e.ledger["it"].error < 1e-12


def test_the_plan_shows_where_it_stands():
    plan = rp.plan(transformer(attention=NETS["eager"]), tokens(), "attnlrp")
    ruled = [step.op for step in plan if step.rule == "Attend()"]
    assert ruled == ["matmul", "softmax", "matmul"] * 2
    assert not [step for step in plan if step.rule == "none"]
    closed = rp.plan(transformer(attention=NETS["eager"]), tokens(), "cp-lrp")
    assert [step.op for step in closed if step.rule == "Attend(through='values')"] == ["matmul"] * 2
    assert [step.op for step in closed if step.rule == "none"].count("softmax") == 2


# -- sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["attnlrp", "cp-lrp", "attnlrp-vit"])
@pytest.mark.parametrize("net", NETS)
def test_several_targets_at_once_are_as_one_by_one(method, net):
    net, x = transformer(attention=NETS[net]), tokens()
    targets = [0, 2, 1, lambda y: y[:, 0] - y[:, 2]]
    together = rp.explain(net, x, targets, [method])
    for t, target in enumerate(targets):
        near(together.relevance[method][t], rp.attribute(net, x, target, method))
        alone = rp.explain(net, x, [target], [method]).ledger[method]
        near(together.ledger[method].sum("bias")[t], alone.sum("bias")[0], 1e-11)


def unbiased(**spelled):
    """Without a bias anywhere; RMSNorm has none."""
    from attending import NORM  # noqa: PLC0415

    net = transformer(norm=NORM["F.rms_norm"], **spelled)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    return net


@pytest.mark.parametrize("net", NETS)
def test_through_the_values_alone_all_of_the_logit_comes_to_the_input(net):
    net, x = unbiased(attention=NETS[net]), tokens()
    near(rp.attribute(net, x, 1, "cp-lrp").sum((1, 2)), net(x)[:, 1].detach())


@pytest.mark.parametrize("net", NETS)
def test_through_all_of_it_the_rest_is_softmaxs(net):
    """Of a model without biases: logit = input + what the rows that say softmax took."""
    net, x = unbiased(attention=NETS[net]), tokens()
    e = rp.explain(net, x, [1], ["attnlrp"])
    taken = sum(row.bias for row in e.ledger["attnlrp"] if row.op == "softmax")
    logit = net(x)[:, 1].detach()
    near(e.relevance["attnlrp"].sum((2, 3))[0] + taken[0], logit)
    assert float(taken.abs().max()) > 1e-3 * float(logit.abs().max())
    others = [row for row in e.ledger["attnlrp"] if row.op != "softmax"]
    assert all(float(row.bias.abs().max()) < 1e-14 for row in others)


# -- mistakes are seen -------------------------------------------------------------------------------------------------


def scaled(name, factor, monkeypatch):
    """Attention in one call, with the share of one argument (or its remainder) wrong by a factor."""
    from relprop.ops import attention  # noqa: PLC0415

    right = attention.through_all

    def wrong(node, call, s):
        share = right(node, call, s)
        if name == "rest":
            share.within = share.within * factor
            return share
        place = node.inputs.index(call.recorded[name])
        share.relevance = tuple(R * factor if k == place else R for k, R in enumerate(share.relevance))
        return share

    monkeypatch.setattr(attention, "through_all", wrong)


def in_the_table(function, change, monkeypatch):
    """An op whose way down is changed."""
    op = TABLE[function]

    def wrong(node, rule, R, visit):
        return change(op.hand_down(node, rule, R, visit))

    monkeypatch.setitem(TABLE, function, dataclasses.replace(op, hand_down=wrong))


def less_remainder(share):
    """The remainder without its mean."""
    share.bias = share.bias * 0.9
    return share


MISTAKES = {
    "queries": ("fused", "attention", lambda patch: scaled("query", 1.1, patch)),
    "keys": ("fused", "attention", lambda patch: scaled("key", 0.5, patch)),
    "values": ("fused", "attention", lambda patch: scaled("value", 2.0, patch)),
    "remainder": ("fused", "attention", lambda patch: scaled("rest", 0.9, patch)),
    "halves": ("fused", "attention", lambda patch: patch.setattr("relprop.ops.attention.HALF", 0.55)),
    "factors": (
        "eager",
        "matmul",
        lambda patch: patch.setattr("relprop.ops.bilinear.shares_by", lambda rule, node: [0.5, 0.55]),
    ),
    "softmax": ("eager", "softmax", lambda patch: in_the_table(torch.Tensor.softmax, less_remainder, patch)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_factor_is_a_gap_in_the_ledger(mistake, monkeypatch):
    net, op, make = MISTAKES[mistake]
    net, x = transformer(attention=NETS[net]), tokens()
    assert rp.explain(net, x, [1], ["attnlrp"]).ledger["attnlrp"].error < 1e-13
    make(monkeypatch)
    ledger = rp.explain(net, x, [1], ["attnlrp"]).ledger["attnlrp"]
    assert ledger.error > 1e-3
    with pytest.raises(rp.RelpropError, match=f"does not close.*most at {op} in"):
        rp.attribute(net, x, 1, "attnlrp")
    with pytest.raises(rp.RelpropError, match=f"does not close.*most at {op} in"):
        rp.attribute(net.float(), x.float(), 1, "attnlrp")
