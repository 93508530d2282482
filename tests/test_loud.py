"""What the engine does not know raises, and says what, where and what to do next: an error, never a map."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import Calls
from relprop.ops.activation import activation
from relprop.ops.table import LINES, TABLE, entered
from relprop.record.prepare import recorded
from relprop.rules import Kind
from relprop.tape.tape import Op


def explained(model, x=None, method="lrp-epsilon", **options):
    return rp.explain(model.eval(), torch.randn(2, 3, 8, 8) if x is None else x, methods=[method], **options)


def through_numpy(y):
    return torch.from_numpy(np.maximum(y.detach().numpy(), 0))


def numpy_beside(y):
    return y + torch.from_numpy(y.numpy())


def write_through_a_view(y):
    y[:, 0].mul_(2)
    return torch.relu(y)


def write_through_a_view_afterwards(y):
    z = y * 1
    out = torch.relu(z)
    torch.relu(z)
    z.view(-1).zero_()
    return out


def write_through_data(y):
    y.data.mul_(2)
    return torch.relu(y)


def write_into_a_view_of_a_buffer(y):
    buffer = torch.zeros(2, 4, 8, 8)
    buffer[0][:] = y[0]
    return buffer


def in_another_thread(y):
    out = []
    thread = threading.Thread(target=lambda: out.append(torch.relu(y)))
    thread.start()
    thread.join()
    return out[0]


def number_comes_back(y):
    return y * y.std().item()


CANNOT_PASS = {
    "an unlisted torch function": (torch.lgamma, "lgamma: no rule is known"),
    "a C++ op": (torch.ops.aten.relu, "relu: no rule is known"),
    "a C++ op with an overload": (torch.ops.aten.relu.default, "no rule is known"),
    "a trip through NumPy": (through_numpy, "numpy: numbers leave torch"),
    "a trip through NumPy beside the path": (numpy_beside, "numpy: numbers leave torch"),
    "a number that leaves and comes back": (number_comes_back, "item: numbers leave torch"),
    "a write through a view": (write_through_a_view, "overwritten through a view"),
    "a write through a view, afterwards": (write_through_a_view_afterwards, "overwritten through a view"),
    "a write through .data": (write_through_data, "overwritten through a view"),
    "a write into a view of a buffer": (write_into_a_view_of_a_buffer, "no recorded op"),
    "another thread": (in_another_thread, "no recorded op"),
    "attention that drops weights": (lambda y: F.scaled_dot_product_attention(y, y, y, dropout_p=0.5), "dropout_p=0.0"),
    "a product of a vector and a matrix": (lambda y: y * (y @ y[0, 0, 0])[..., None], "give the vector an axis"),
    "a division by a recorded value": (lambda y: y / (y + 1), "divide by a constant"),
    "an exponential of matrices": (torch.matrix_exp, "no rule is known"),
    "a LayerNorm of weights made from the input": (
        lambda y: F.layer_norm(y, y.shape[1:], y[0]),
        "only constant ones have a rule",
    ),
    "whole numbers": (lambda y: y.to(torch.long).float(), "whole numbers"),
    "dropout that is switched on": (F.dropout, "dropout: the model draws random numbers"),
    "batch statistics": (
        lambda y: F.batch_norm(y, None, None, training=True),
        "statistics of this very batch",
    ),
    "pictures that mix": (lambda y: y - y.mean(0), "mixes the pictures"),
    "a dynamic weight": (
        lambda y: F.conv2d(y, y[:1].expand(4, 4, 8, 8), padding=4)[..., :8, :8],
        "weight depends",
    ),
    "out=": (lambda y: torch.add(y, 1, out=torch.empty_like(y)), "writes into its arguments"),
}


@pytest.mark.parametrize("case", CANNOT_PASS)
def test_what_relevance_cannot_pass_is_an_error(case):
    middle, message = CANNOT_PASS[case]
    with pytest.raises(rp.UnsupportedOp, match=message):
        explained(Calls(middle))


class Unknown(nn.Module):
    """A function that the table does not know."""

    def forward(self, y):
        return torch.special.i1(y) if y.shape[1] > 3 else torch.special.i0e(y)


def test_every_unsupported_op_is_named_at_once_with_its_path():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Unknown(), nn.Conv2d(4, 3, 3), Unknown(), nn.Flatten())
    with pytest.raises(rp.UnsupportedOp) as error:
        explained(model)
    assert all(part in str(error.value) for part in ("i1", "'1'", "(2, 4, 6, 6)", "i0", "'3'"))


def test_a_kernel_that_bypasses_torch_functions_is_found():
    def middle(y):
        with torch._C.DisableTorchFunction():
            return torch.relu(y)

    with pytest.raises(rp.UnsupportedOp, match="without passing a torch function"):
        explained(Calls(middle))


def test_an_output_that_does_not_depend_on_the_input_is_an_error():
    constant = torch.randn(2, 256)
    with pytest.raises(rp.UnsupportedOp, match="the output: no recorded op made it from the input"):
        explained(Calls(lambda y: constant))


def test_a_model_that_draws_at_random_is_an_error():
    with pytest.raises(rp.UnsupportedOp, match="draws random numbers"):
        explained(Calls(lambda y: y + torch.randn(2, 4, 8, 8)))


def test_what_only_looks_does_no_harm(capsys):
    def middle(y):
        print(y.std(), f"{y.std():.3f}", y.shape, bool(y.std() > 0))
        return torch.relu(y)

    plain, looking = Calls(torch.relu), Calls(middle)
    looking.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(explained(looking, x).relevance, explained(plain, x).relevance, rtol=0, atol=0)
    assert "True" in capsys.readouterr().out


def test_detach_is_reported_by_the_ledger():
    ledger = explained(Calls(lambda y: torch.relu(y) + torch.tanh(y).detach())).ledger["lrp-epsilon"]
    (row,) = (row for row in ledger if row.op == "detach")
    torch.testing.assert_close(row.lost, row.relevance_in)
    assert row.lost.abs().min() > 0
    assert ledger.error < 1e-6


def test_a_detach_that_all_relevance_comes_to_is_an_error():
    with pytest.raises(rp.UnsupportedOp, match="no relevance reaches the input, it stops at detach"):
        explained(Calls(lambda y: torch.relu(y).detach()))


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(rp.InputError, match=r"eval\(\)"):
        rp.attribute(Calls(torch.relu).train(), torch.randn(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_models_whose_ops_cannot_be_seen_are_refused():
    plain = nn.Sequential(nn.Linear(3, 2)).eval()
    scripted = torch.jit.trace(plain, torch.randn(1, 3))
    for model, word in (
        (scripted, "TorchScript"),
        (torch.compile(plain), "compiled"),
        (nn.DataParallel(plain), ".module"),
    ):
        with pytest.raises(rp.InputError, match=word):
            rp.attribute(model.eval(), torch.randn(1, 3))


BAD_INPUT = {
    "NaN": (torch.full((2, 3, 8, 8), torch.nan), "NaN"),
    "infinity": (torch.full((2, 3, 8, 8), torch.inf), "infinite"),
    "whole numbers": (torch.ones(2, 3, 8, 8, dtype=torch.long), "floating-point"),
    "no picture": (torch.ones(0, 3, 8, 8), "at least one"),
    "no batch": (torch.ones(3), r"x\[None\]"),
    "no tensor": (np.ones((2, 3, 8, 8)), "tensor"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_an_input_that_cannot_be_explained_is_refused(case):
    x, message = BAD_INPUT[case]
    with pytest.raises(rp.InputError, match=message):
        explained(Calls(torch.relu), x)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(rp.InputError, match="logits"):
        explained(Calls(lambda y: y * torch.inf))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda y: y.sum(), "one row of logits"),
        (lambda y: y[:, None], "one row of logits"),
        (lambda y: (y.sum(1), 7), r"tuple of Tensor \(2,\), int"),
    ],
)
def test_an_output_that_is_no_row_of_logits_is_refused(output, message):
    with pytest.raises(rp.InputError, match=message):
        explained(nn.Sequential(nn.Flatten(), nn.Linear(192, 5), Lambda(output)))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "target", [5, -1, 1.0, True, "cat", torch.tensor([1]), torch.tensor([0.0, 1.0]), torch.tensor([0, 9])]
)
def test_a_target_that_is_no_class_is_refused(target):
    with pytest.raises(rp.InputError, match="target"):
        explained(Calls(torch.relu), targets=[target])


@pytest.mark.parametrize("options", ["", ":layers=3", ":layers=stack"])
def test_named_methods_leave_flat_out_where_the_input_layer_is_fully_connected(options):
    model, x = (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, 5)).eval(),
        torch.randn(2, 3, 8, 8),
    )
    for method in ("cmp-alpha1-flat", "cmp-alpha2-flat"):
        assert torch.equal(rp.attribute(model, x, 0, method + options), rp.attribute(model, x, 0, "lrp-epsilon"))
        assert {step.why for step in rp.plan(model, x, method + options) if step.op == "linear"} == {"on.head"}
    composite = rp.Composite([(rp.on.first(1), rp.rules.Flat()), (rp.on.weighted, rp.rules.Epsilon())])
    with pytest.raises(rp.RuleError, match="lrp-epsilon"):
        rp.attribute(model, x, 0, composite)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("cmp-alpha1-flt", "did you mean cmp-alpha1-flat"),
        ("cmp-alpha1-flat:layer=3", "did you mean layers"),
        ("cmp-alpha1-flat:layers=some", "'stack'"),
        ("lrp-epsilon:eps=-1", "at least 0"),
        ("lrp-z:eps=1", "no option 'eps'"),
    ],
)
def test_a_wrong_name_of_a_method_suggests_the_near_one(method, message):
    with pytest.raises(rp.InputError, match=message):
        explained(Calls(torch.relu), method=method)


def test_zbox_without_bounds_says_where_to_get_them():
    with pytest.raises(rp.RuleError, match="low"):
        explained(Calls(torch.relu), method="cmp-alpha1-zbox")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: rp.rules.Epsilon(-1),
        lambda: rp.rules.AlphaBeta(2, -2),
        lambda: rp.rules.Gamma(-0.1),
        lambda: rp.rules.ZBox(None, 1),
        lambda: rp.rules.Flat(padding="imaginary"),
    ],
)
def test_rules_with_impossible_numbers_are_refused(wrong):
    with pytest.raises(rp.RuleError):
        wrong()


def test_unknown_profile_and_start_are_refused():
    with pytest.raises(rp.InputError, match="did you mean zennit"):
        explained(Calls(torch.relu), profile="zenit")
    with pytest.raises(rp.InputError, match="'logit' or 'one'"):
        explained(Calls(torch.relu), start="logits")


# -- what developers are told -------------------------------------------------------------------------


def test_a_recorded_pass_is_walked_once():
    tape = recorded(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval(), torch.randn(1, 3, 8, 8))
    assert [node.op.name for node in tape.consume()] == ["linear", "flatten"]
    with pytest.raises(rp.RelpropError, match="record it again"):
        next(tape.consume())


@pytest.mark.parametrize("words", ["relu", "F.relu", "lgamma relu_"])
def test_a_function_that_stands_in_two_lines_is_refused(words):
    assert entered(LINES) == TABLE
    with pytest.raises(ValueError, match="stands in two lines: relu and another"):
        entered([*LINES, (Op("another", Kind.ACTIVATION, activation), words)])


def test_a_name_that_torch_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no function named rely"):
        entered([(Op("rely", Kind.ACTIVATION, activation), "rely")])
    assert entered([(Op("rely", Kind.ACTIVATION, activation), "rely?")]) == {}
