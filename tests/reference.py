"""The paper's rules on an explicit matrix: the judge the engine is held against.

A layer is `z_j = sum_i z_ij + b_j` with `z_ij = x_i w_ij`, `w_ij` an explicit matrix. A rule is the share of
`R_j` that input `i` receives, so that `R_i = sum_j share_ij R_j`. Everything is float64, slow, and as near to
the formulas of Kohlbrenner et al. (2020) as Python comes. Shapes: x is (B, i), a share (B, i, j).
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Dense:
    """An affine layer written out: weights `w` (i, j), biases `b` (j,), `real` (i, j): 1 where j reads i."""

    w: Tensor
    b: Tensor
    real: Tensor


def dense_matrix(layer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Push the unit vectors of an input of this shape through an affine layer: its w (i, j) and b (j,)."""
    n = torch.Size(shape).numel()
    with torch.no_grad():
        b = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten(1)
        w = layer(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).flatten(1) - b
    return w, b[0]


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Dense:
    """Write a layer out. What a unit reads, even through a weight of zero, shows when every weight is one."""
    ones = deepcopy(layer).requires_grad_(requires_grad=False)
    for name, parameter in ones.named_parameters():
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    w, b = dense_matrix(layer, shape)
    return Dense(w, b, (dense_matrix(ones, shape)[0] != 0).double())


def positive(t: Tensor) -> Tensor:
    """t^+."""
    return t.clamp(min=0)


def negative(t: Tensor) -> Tensor:
    """t^-."""
    return t.clamp(max=0)


def sum_i(z_ij: Tensor) -> Tensor:
    """Sum over the inputs i."""
    return z_ij.sum(1, keepdim=True)


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide exactly; where the denominator is nothing, hand down nothing."""
    return torch.where(denominator == 0, 0.0, numerator / denominator)


def z(x: Tensor, layer: Dense) -> Tensor:
    """z_ij / z_j."""
    z_ij = x[:, :, None] * layer.w
    return divide(z_ij, sum_i(z_ij) + layer.b)


def epsilon(x: Tensor, layer: Dense, eps: float) -> Tensor:
    """z_ij / (z_j + eps sign(z_j)), with sign(0) = 1."""
    z_ij = x[:, :, None] * layer.w
    z_j = sum_i(z_ij) + layer.b
    return z_ij / torch.where(z_j >= 0, z_j + eps, z_j - eps)


def alpha_beta(x: Tensor, layer: Dense, alpha: float, beta: float, *, bias: bool = True) -> Tensor:
    """Alpha z_ij^+ / z_j^+ + beta z_ij^- / z_j^-; b^+ joins z^+ and b^- joins z^-."""
    z_ij, b = x[:, :, None] * layer.w, layer.b * bias
    z_j_positive = sum_i(positive(z_ij)) + positive(b)
    z_j_negative = sum_i(negative(z_ij)) + negative(b)
    return alpha * divide(positive(z_ij), z_j_positive) + beta * divide(negative(z_ij), z_j_negative)


def alpha_beta_whole_bias(x: Tensor, layer: Dense, alpha: float, beta: float) -> Tensor:
    """Alpha z_ij^+ / (z_j^+ + b_j) + beta z_ij^- / (z_j^- + b_j), as iNNvestigate has it."""
    z_ij, b = x[:, :, None] * layer.w, layer.b
    z_j_positive = sum_i(positive(z_ij)) + b
    z_j_negative = sum_i(negative(z_ij)) + b
    return alpha * divide(positive(z_ij), z_j_positive) + beta * divide(negative(z_ij), z_j_negative)


def gamma(x: Tensor, layer: Dense, gamma: float) -> Tensor:
    """(z_ij + gamma z_ij^s) / (z_j + gamma (sum_i z_ij^s + b_j^s)), s the sign of z_j."""
    z_ij = x[:, :, None] * layer.w
    z_j = sum_i(z_ij) + layer.b
    z_ij_s = torch.where(z_j >= 0, positive(z_ij), negative(z_ij))
    b_s = torch.where(z_j >= 0, positive(layer.b), negative(layer.b))
    return divide(z_ij + gamma * z_ij_s, z_j + gamma * (sum_i(z_ij_s) + b_s))


def flat(x: Tensor, layer: Dense) -> Tensor:
    """1 / (number of inputs of j)."""
    return divide(layer.real, sum_i(layer.real[None])).expand(len(x), -1, -1)


def w_square(x: Tensor, layer: Dense) -> Tensor:
    """w_ij^2 / sum_i w_ij^2."""
    return divide(layer.w**2, sum_i(layer.w[None] ** 2)).expand(len(x), -1, -1)


def z_box(x: Tensor, layer: Dense, low: Tensor | float, high: Tensor | float) -> Tensor:
    """(x_i w_ij - l_i w_ij^+ - h_i w_ij^-) / (sum_i of the same); low and high are numbers or (i,)."""
    low, high = (torch.as_tensor(bound, dtype=x.dtype).expand(x.shape[1])[:, None] for bound in (low, high))
    z_ij = x[:, :, None] * layer.w - low * positive(layer.w) - high * negative(layer.w)
    return divide(z_ij, sum_i(z_ij))


def winner(x: Tensor, reads: Tensor) -> Tensor:
    """Max-pooling: all to the largest input that j reads (i, j), to the first of equals."""
    x_ij = torch.where(reads != 0, x[:, :, None], -torch.inf)
    largest = x_ij == x_ij.amax(1, keepdim=True)
    return (largest & (largest.cumsum(1) == 1)).to(x.dtype)
