"""Recurrent layers give the maps of their cells' formulas, written out by single gates, and torch's own outputs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp

D = torch.float64
METHODS = ["lrp-z", "lrp-epsilon", "lrp-alpha2"]


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make().to(D).eval().requires_grad_(requires_grad=False)


class Reads(nn.Module):
    """(B, T, 3) -> a recurrent layer -> logits (B, 4) of its last output, and of the sum of its last states."""

    def __init__(self, layer, **more):
        super().__init__()
        self.layer = layer(3, 5, **more)
        self.first = more.get("batch_first", False)
        width = more.get("proj_size") or 5
        self.end = nn.Linear(width * (1 + more.get("bidirectional", False)), 4)
        self.of_state = nn.Linear(width, 4)

    def run(self, x):
        return self.layer(x)

    def forward(self, x):
        y, state = self.run(x if self.first else x.transpose(0, 1))
        h = state[0] if isinstance(state, tuple) else state
        y = y if self.first else y.transpose(0, 1)
        return self.end(y[:, 1]) + self.of_state(h.sum(0))


def by_hand(kind):
    """One layer, forwards and batch last, gate by gate."""

    def run(self, x):
        layer, n = self.layer, 5
        w, u, b, c = (getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

        def gate(k, x, h, state=1.0):
            rows = slice(k * n, (k + 1) * n)
            return F.linear(x, w[rows], b[rows]) + state * F.linear(h, u[rows], c[rows])

        h = cell = x.new_zeros(x.shape[1], n)
        found = []
        for each in x:
            if kind == "lstm":
                i, f, g, o = (gate(k, each, h) for k in range(4))
                cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
                h = o.sigmoid() * cell.tanh()
            elif kind == "gru":
                r, z = (torch.sigmoid(gate(k, each, h)) for k in range(2))
                h = (1 - z) * torch.tanh(gate(2, each, h, r)) + z * h
            else:
                h = getattr(torch, kind)(gate(0, each, h))
            found.append(h)
        return torch.stack(found), h[None]

    return run


KINDS = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_its_cells_formulas(kind):
    layer, more = KINDS[kind]
    net = seeded(lambda: Reads(layer, **more))
    other = seeded(lambda: Reads(layer, **more))
    other.run = by_hand(kind).__get__(other)
    x = torch.randn(2, 4, 3, dtype=D)
    torch.testing.assert_close(net(x), other(x), rtol=1e-12, atol=1e-14)
    a, b = rp.explain(net, x, [0, 3], METHODS), rp.explain(other, x, [0, 3], METHODS)
    for method in METHODS:
        scale = b.relevance[method].abs().max()
        assert (a.relevance[method] - b.relevance[method]).abs().max() < 1e-9 * scale
        assert scale > 0


SETTINGS = {
    "batch first": {"batch_first": True},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "all": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no bias": {"bias": False, "num_layers": 2},
    "dropout in eval": {"num_layers": 2, "dropout": 0.5},
}
ALL = {
    **{
        f"{kind}, {name}": (layer, {**more, **s})
        for kind, (layer, more) in KINDS.items()
        for name, s in SETTINGS.items()
    },
    "lstm, projected": (nn.LSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
}


@pytest.mark.parametrize("name", ALL)
def test_every_setting_gives_torchs_outputs_and_closes_the_ledger(name):
    layer, more = ALL[name]
    net = seeded(lambda: Reads(layer, **more))
    x = torch.randn(2, 4, 3, dtype=D)
    e = rp.explain(net, x, [1], METHODS)
    torch.testing.assert_close(e.outputs, net(x), rtol=1e-12, atol=1e-14)
    assert max(ledger.error for ledger in e.ledger.values()) < 1e-9
    assert e.relevance["lrp-z"].abs().max() > 0
    singles = torch.cat([rp.attribute(net, x[b : b + 1], 1, "lrp-epsilon") for b in range(2)])
    torch.testing.assert_close(e.relevance["lrp-epsilon"][0], singles, rtol=1e-8, atol=1e-12)
    assert rp.check(net, x, target=1).ok


def test_a_state_that_is_given_takes_its_share():
    net, cell = seeded(lambda: nn.LSTM(3, 5, batch_first=True)), seeded(lambda: nn.LSTMCell(3, 5))
    for name, value in cell.named_parameters():
        value.copy_(getattr(net, f"{name}_l0"))
    x, h, c = torch.randn(2, 4, 3, dtype=D), torch.randn(2, 5, dtype=D), torch.randn(2, 5, dtype=D)

    def loop(x, h, c):
        for each in x.unbind(1):
            h, c = cell(each, (h, c))
        return h

    e = rp.explain(lambda x, h, c: net(x, (h[None], c[None]))[0][:, -1], (x, h, c), [0], ["lrp-z"])
    assert e.ledger["lrp-z"].error < 1e-9
    for one, other in zip(e.relevance["lrp-z"], rp.attribute(loop, (x, h, c), 0, "lrp-z"), strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one[0], other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_every_layer_and_direction_starts_from_its_own_state(kind):
    net = seeded(lambda: KINDS[kind][0](3, 5, num_layers=2, bidirectional=True, batch_first=True))
    x, states = torch.randn(2, 4, 3, dtype=D), torch.randn(2, 4, 2, 5, dtype=D)

    def f(x):
        each = states[:, :, : len(x)]
        return net(x, tuple(each) if kind == "lstm" else each[0])[0][:, -1]

    e = rp.explain(f, x, [0], ["lrp-z"])
    torch.testing.assert_close(e.outputs, f(x), rtol=1e-12, atol=1e-14)
    assert e.ledger["lrp-z"].error < 1e-9


CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "tanh": nn.RNNCell}


@pytest.mark.parametrize("kind", CELLS)
def test_cells_in_a_loop_are_the_layer(kind):
    cell, layer = seeded(lambda: CELLS[kind](3, 5)), seeded(lambda: KINDS[kind][0](3, 5, batch_first=True))
    for name, value in cell.named_parameters():
        getattr(layer, f"{name}_l0").copy_(value)

    def loop(x):
        state = None
        for each in x.unbind(1):
            state = cell(each, state)
        return state[0] if kind == "lstm" else state

    x = torch.randn(2, 4, 3, dtype=D)
    one = rp.attribute(loop, x, 2, "lrp-epsilon")
    torch.testing.assert_close(
        one, rp.attribute(lambda x: layer(x)[0][:, -1], x, 2, "lrp-epsilon"), rtol=1e-9, atol=1e-12
    )


def test_packed_sequences_are_refused_and_the_remedy_works():
    net = seeded(lambda: nn.GRU(3, 5, batch_first=True))
    x = torch.randn(2, 4, 3, dtype=D)

    def packed(x):
        return net(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 4]), batch_first=True))[1][0]

    with pytest.raises(rp.UnsupportedOp, match="sequences of one length"):
        rp.attribute(packed, x, 0, "lrp-z")
    assert rp.attribute(lambda x: net(x)[1][0], x, 0, "lrp-z").abs().max() > 0


def test_long_sequences_are_explained():
    net = seeded(lambda: nn.LSTM(3, 5, batch_first=True))
    e = rp.explain(lambda x: net(x)[0][:, -1], torch.randn(1, 400, 3, dtype=D), [0], ["lrp-epsilon"])
    assert e.ledger["lrp-epsilon"].error < 1e-8
    assert e.relevance["lrp-epsilon"][0, 0, -1].abs().max() > 0


def test_dropout_that_is_switched_on_is_refused():
    net = seeded(lambda: nn.LSTM(4, 3, num_layers=2, dropout=0.5, batch_first=True))

    def f(x):
        start = x.new_zeros(2, len(x), 3)
        return torch.lstm(x, (start, start), net._flat_weights, True, 2, 0.5, True, False, True)[0][:, -1]

    with pytest.raises(rp.UnsupportedOp, match="lstm"):
        rp.attribute(f, torch.randn(3, 5, 4, dtype=D), 0, "lrp-z")
