"""Functions without a value at 0, with the functions before them; complex numbers between real ones."""

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import D, assert_bounds, assert_definition, assert_equal, explained, nodes_of

SHIFT = torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=D)

CHAINS = {
    "log of more than 0": lambda y: torch.log(y.abs() + 1e-3),
    "log of a clamp": lambda y: y.clamp(min=0.1).log(),
    "log of a sigmoid": lambda y: torch.sigmoid(y).log(),
    "log2": lambda y: torch.log2(1 + y**2),
    "log10 of a constant beside": lambda y: torch.log10(y.square() + SHIFT),
    "logit of a sigmoid": lambda y: torch.logit(torch.sigmoid(2 * y + 1)),
    "logit with an end": lambda y: torch.logit(y.sigmoid(), eps=1e-3),
    "rsqrt": lambda y: torch.rsqrt(y.abs() + 1),
    "reciprocal": lambda y: torch.reciprocal(1 + torch.exp(-y)),
    "one over": lambda y: 1 / (1 + y.exp()),
    "a power below 0": lambda y: (y.abs() + 1) ** -0.5,
    "polygamma": lambda y: torch.polygamma(1, y.abs() + 1),
    "log of a reciprocal": lambda y: torch.log(1 / (1 + torch.exp(-y))),
    "past a clone": lambda y: torch.log((y.exp() + 1).clone()),
    "log of exp": lambda y: torch.log(torch.exp(y)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_one_function_of_each_number(name):
    f = CHAINS[name]

    def expected(y, R):
        nothing = f(torch.zeros_like(y))
        eps = 1e-6 * torch.where(f(y) >= 0, 1.0, -1.0) * bool(nothing.any())
        return R * (f(y) - nothing) / (f(y) + eps)

    assert_definition(f, expected, rtol=1e-9)


PAIRS = {
    "log of a sigmoid": (lambda y: torch.sigmoid(y).log(), F.logsigmoid),
    "a sigmoid by hand": (lambda y: 1 / (1 + torch.exp(-y)), torch.sigmoid),
    "a sigmoid by hand, turned": (lambda y: torch.reciprocal(1 + torch.exp(y)), lambda y: torch.sigmoid(-y)),
    "a softplus by hand": (lambda y: torch.log(1 + torch.exp(y)), F.softplus),
    "a logarithm of one more": (lambda y: torch.log(1 + y.abs()), lambda y: torch.log1p(y.abs())),
    "a root below": (lambda y: (1 + y**2) ** -0.5, lambda y: torch.rsqrt(1 + y.square())),
    "a constant over": (
        lambda y: SHIFT * torch.reciprocal(1 + y.square()),
        lambda y: (1 / (1 + y.square())) * SHIFT,
    ),
    "nothing at all": (lambda y: torch.logit(torch.sigmoid(y)), lambda y: y * 1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_function_gets_the_same_map(name):
    one, other = (explained(f) for f in PAIRS[name])
    assert one.relevance["it"].abs().max() > 0
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-8)


def test_the_chain_is_replayed():
    for f in (lambda y: torch.log(torch.where(y > 0, y, 0.1)), lambda y: torch.log((y > 0) * y.abs() + 0.3)):
        net = torch.nn.Sequential(torch.nn.Linear(5, 4)).to(D).eval()
        x = torch.randn(2, 5, dtype=D)
        try:
            e = rp.explain(lambda x, f=f, net=net: f(net(x)), x, [0], ["lrp-z"], check=True)
        except rp.UnsupportedOp as error:
            assert "nothing finite" in str(error)  # noqa: PT017 - a mask is no function of each number
        else:
            assert e.ledger["lrp-z"].error < 1e-12


REFUSED = {
    "of the numbers themselves": torch.log,
    "past a mean": lambda y: torch.log(y.abs().mean(2)),
    "past a write in place": lambda y: torch.log(y.clone().abs_()),
    "where it is infinite all along": lambda y: torch.log(torch.sigmoid(y) * y.abs()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_refused(name):
    with pytest.raises(rp.UnsupportedOp, match="nothing finite for 0"):
        explained(REFUSED[name])


def test_a_value_overwritten_later_is_read_as_it_was():
    def f(y):
        z = y * 2
        w = torch.log(z.abs() + 1)
        z.mul_(3)
        return w + z

    one = explained(f)
    other = explained(lambda y: torch.log1p((2 * y).abs()) + (2 * y) * 3)
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-10)


@pytest.mark.parametrize("name", CHAINS)
def test_bounds_of_chains_hold(name):
    assert_bounds(CHAINS[name])


def test_a_gate_stays_a_gate():
    for gate in (lambda y: 1 / (1 + y.exp()), lambda y: torch.rsqrt(1 + y**2)):
        assert [n.outputs[0].bounded for n in nodes_of(gate) if n.op.name in ("reciprocal", "rsqrt")] == [True]
        one = explained(lambda y, g=gate: y * g(-y))
        other = explained(lambda y, g=gate: y * g(-y).clamp(-9, 9))
        assert_equal(one.relevance["it"], other.relevance["it"], 1e-12)


# -- complex numbers -----------------------------------------------------------------------------------

FILTER = torch.tensor([1.0, 2j, 0.5 - 1j], dtype=torch.complex128)
WINDOW = torch.hann_window(4, dtype=D)


def linear(f):
    """R_i = y_i df/dy_i s for the function as it is."""

    def expected(y, R):
        leaf = y.clone().requires_grad_()
        out = f(leaf)
        s = torch.where(out == 0, 0.0, R / out).detach()
        return y * torch.autograd.grad(out, leaf, s)[0]

    return expected


SPECTRA = {
    "real part": lambda y: torch.fft.fft(y).real,
    "imaginary part": lambda y: torch.fft.rfft(y).imag + y[..., :3],
    "real, of torch": lambda y: torch.real(torch.fft.fft(y, dim=1)),
    "absolute": lambda y: torch.fft.rfft(y).abs(),
    "absolute, of torch": lambda y: torch.abs(torch.fft.fft2(y)),
    "both parts": lambda y: torch.view_as_real(torch.fft.rfft(y)).flatten(2),
    "filtered": lambda y: torch.fft.irfft(torch.fft.rfft(y) * FILTER, n=4),
    "filtered, a filter of two axes": lambda y: torch.fft.irfft2(torch.fft.rfft2(y) * FILTER[:, None], s=(3, 4)),
    "there and back": lambda y: torch.fft.ifft(torch.fft.fft(y)).real,
    "short times": lambda y: torch.stft(y.flatten(1), 4, window=WINDOW, return_complex=True).abs(),
    "made of two": lambda y: torch.complex(y, y.flip(1)).abs(),
    "moved": lambda y: torch.cat([torch.fft.fft(y)[..., 1:3], torch.fft.fft(y).flip(2)], 2).real,
    "a sum": lambda y: (torch.fft.fft(y) - 2 * torch.fft.fft(y.flip(1))).sum(1).real,
}


@pytest.mark.parametrize("name", SPECTRA)
def test_relevance_goes_past_complex_numbers(name):
    f = SPECTRA[name]
    if name == "imaginary part":  # a sum of two
        f = lambda y: torch.fft.rfft(y[..., [0, 1, 2, 3, 0]]).imag[..., 1:]  # noqa: E731 - the first is 0
    assert_definition(f, linear(f), rtol=1e-10)


def test_a_transform_is_a_product_with_its_matrix():
    basis = torch.fft.fft(torch.eye(4, dtype=torch.complex128)).real
    one = explained(lambda y: torch.fft.fft(y).real)
    other = explained(lambda y: y @ basis)
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-10)


def test_an_absolute_value_is_the_length_of_both_parts():
    one = explained(lambda y: torch.fft.rfft(y).abs())
    other = explained(lambda y: torch.hypot(torch.fft.rfft(y).real, torch.fft.rfft(y).imag))
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-9)


REFUSED_COMPLEX = {
    "a product of two": (lambda y: (torch.fft.fft(y) * torch.fft.fft(y)).real, "z.real and z.imag"),
    "an angle": (lambda y: torch.fft.fft(y).angle(), "z.real and z.imag"),
    "along the batch": (lambda y: torch.fft.fft(y, dim=0).real, "mixes the pictures"),
    "a constant part": (lambda y: torch.complex(y, torch.ones_like(y)).abs(), "constants stand among"),
    "one over": (lambda y: (1 / torch.complex(y, y)).real, "z.real and z.imag"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED_COMPLEX)
def test_other_complex_numbers_are_refused(name):
    f, message = REFUSED_COMPLEX[name]
    with pytest.raises(rp.UnsupportedOp, match=message):
        explained(f)


def test_the_remedy_for_complex_numbers_works():
    def squared(y):
        a, b = torch.fft.fft(y).real, torch.fft.fft(y).imag
        return a * a - b * b

    assert explained(squared).ledger["it"].error < 1e-10
