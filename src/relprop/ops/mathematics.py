"""Lines of the table for functions that few networks have: logarithms, lengths, roundings, linear algebra."""

from __future__ import annotations

import math

from relprop.ops.bilinear import bilinear, of_constant_weights
from relprop.ops.bounds import of_inverse, of_inverse_root, of_remainder, of_sign, rounded, within
from relprop.ops.homogeneous import (
    bounds_of_product_along,
    mixed_matrices,
    no_length,
    of_degree,
    order_of_matrix,
    product_along,
    running_product,
)
from relprop.ops.lines import (
    ALIKE,
    BROADCAST,
    EPSILON,
    LAST,
    REDUCED,
    at_the_end,
    beside_constants,
    elementwise,
    made_of_others,
    written_out,
)
from relprop.ops.log_sums import log_of_two, log_softmax, log_sum, of_log_of_two, of_log_sum, running_log_sum
from relprop.ops.product import receiving_factors
from relprop.ops.softmax import over_pictures
from relprop.rules.layer import Kind
from relprop.tape.tape import Op, OwnersGo

FUNCTION = Kind.FUNCTION
FIRST = OwnersGo.FIRST
NONNEG, NONPOS = within(0, math.inf), within(-math.inf, 0)

MATHEMATICS: tuple[tuple[Op, str], ...] = (
    # Products and sums of products.
    (
        Op("bilinear", FUNCTION, bilinear, EPSILON, LAST, refuse=of_constant_weights, receivers=receiving_factors),
        "bilinear",
    ),
    (Op("prod", FUNCTION, product_along, ALIKE, REDUCED, bounds_of_product_along), "prod"),
    (Op("cumprod", FUNCTION, running_product, ALIKE, REDUCED, bounds_of_product_along), "cumprod cumprod_"),
    # Logarithms of sums of exponentials: Taylor's expansion at x.
    (Op("logsumexp", FUNCTION, log_sum, EPSILON, REDUCED, of_log_sum), "logsumexp"),
    (Op("logcumsumexp", FUNCTION, running_log_sum, EPSILON, REDUCED, of_log_sum), "logcumsumexp"),
    (Op("log_softmax", FUNCTION, log_softmax, EPSILON, bounds=NONPOS, refuse=over_pictures), "log_softmax"),
    (Op("logaddexp", FUNCTION, log_of_two, EPSILON, BROADCAST, of_log_of_two), "logaddexp"),
    (Op("logaddexp2", FUNCTION, log_of_two, EPSILON, BROADCAST, of_log_of_two), "logaddexp2"),
    # What grows by c^d where its input grows by c: Euler's identity.
    (
        Op("norm", FUNCTION, of_degree(1), EPSILON, REDUCED, NONNEG, no_length),
        "norm linalg.norm linalg.vector_norm",
    ),
    (Op("matrix_norm", FUNCTION, of_degree(1), EPSILON, REDUCED, NONNEG), "linalg.matrix_norm"),
    (Op("var", FUNCTION, of_degree(2), EPSILON, REDUCED, NONNEG), "var"),
    (Op("std", FUNCTION, of_degree(1), EPSILON, REDUCED, NONNEG), "std"),
    (Op("var_mean", FUNCTION, of_degree(2, 1), EPSILON, REDUCED), "var_mean"),
    (Op("std_mean", FUNCTION, of_degree(1, 1), EPSILON, REDUCED), "std_mean"),
    (Op("det", FUNCTION, of_degree(order_of_matrix), EPSILON, FIRST, refuse=mixed_matrices), "det linalg.det"),
    (Op("svdvals", FUNCTION, of_degree(1), EPSILON, FIRST, NONNEG, mixed_matrices), "linalg.svdvals"),
    (Op("cholesky", FUNCTION, of_degree(0.5), EPSILON, FIRST, refuse=mixed_matrices), "cholesky linalg.cholesky"),
    # Functions of each number.
    elementwise("i0", within(1, math.inf)),
    elementwise("floor", rounded(math.floor)),
    elementwise("ceil", rounded(math.ceil)),
    elementwise("trunc", rounded(math.trunc), "trunc trunc_ fix fix_"),
    elementwise("round", rounded(round)),
    elementwise("frac", within(-1, 1)),
    elementwise("sign", of_sign, "sign sign_ sgn sgn_"),
    beside_constants("remainder", of_remainder, "remainder remainder_ __mod__"),
    beside_constants("fmod", of_remainder),
    beside_constants("copysign"),
    beside_constants("atan2", within(-3.1416, 3.1416), "atan2 atan2_ arctan2 arctan2_"),
    # Those that give nothing finite for 0.
    at_the_end("rsqrt", of_inverse_root),
    at_the_end("reciprocal", of_inverse),
    at_the_end("log"),
    at_the_end("log2"),
    at_the_end("log10"),
    at_the_end("logit"),
    at_the_end("polygamma"),
    # Made of functions that have rules.
    *made_of_others("chain_matmul kron cross pairwise_distance cdist hypot quantile msort softmin affine_grid"),
    *made_of_others("gradient cumulative_trapezoid"),
    (written_out("multi_dot"), "linalg.multi_dot"),
    (written_out("linalg_cross"), "linalg.cross"),
    (written_out("rdiv"), "__rdiv__"),
    (written_out("floor_divide"), "floor_divide floor_divide_ __floordiv__"),
)
"""Lines of the table, as those of `ops.table`."""
