"""The closed table: what each torch function does with relevance, a line an op, keyed by the function object itself.

A function that is not in here becomes an opaque node, and relevance that would have to pass through it raises
`UnsupportedOp`: never a silent gradient, never a zero. To teach the engine an op, write how it hands relevance down in
the file of its kind, and a line here.

A line is what the engine knows, and the names of the functions, wherever torch has them (`ops.spellings`): "name?" may
be missing in some version of torch, ".name" is a property of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from relprop.ops import layer_norm as own
from relprop.ops.activation import activation, random_slopes
from relprop.ops.addition import addition, bounds_of_sum, not_two_terms, receiving_terms
from relprop.ops.attention import attention, bounds_of_mean, not_understood, the_values_alone
from relprop.ops.averaging import average, interpolation
from relprop.ops.bounds import (
    averaged,
    clamped,
    interpolated,
    kept_sign,
    of_inputs,
    of_numbers,
    of_power,
    of_power_of_constant,
    of_root,
    of_square,
    rectified,
    summed,
    with_fill,
    within,
)
from relprop.ops.embedding import embedding, rows_depend_on_input
from relprop.ops.expansions import in_parts_of
from relprop.ops.layer_norm import layer_norm, scaled
from relprop.ops.lines import (
    ACTIVATION,
    ADD,
    AVERAGE,
    BROADCAST,
    CONV,
    EPSILON,
    IMAGE,
    LAST,
    LAYER_NORM,
    LINEAR,
    MATRIX,
    MAXIMUM,
    MOVE,
    MOVED,
    NORM,
    PASS,
    PER_TOKEN,
    PRODUCT,
    REDUCED,
    SIGNAL,
    STAYS,
    STOPS,
    TAYLOR,
    WINNER,
    by_its_body,
    clamping,
    elementwise,
    made_of_others,
    moving,
    power,
    recurrent,
    scattering,
    two_matrices,
    winning,
    written_out,
)
from relprop.ops.mathematics import MATHEMATICS
from relprop.ops.maximum import maximum, pooled_with_winners
from relprop.ops.moves import (
    blank,
    by_a_value,
    cast,
    drops_at_random,
    move,
    nobody,
    of_finite_numbers,
    passing,
    put_once,
    stop,
    written_once,
)
from relprop.ops.normalization import batch_norm, merges, statistics_of_batch
from relprop.ops.product import (
    bounds_of_negative,
    bounds_of_product,
    product,
    receiving_factors,
)
from relprop.ops.quotient import bounds_of_quotient, quotient, receiving_numerator, variable_divisor
from relprop.ops.silent import SILENT
from relprop.ops.softmax import over_pictures, softmax
from relprop.ops.spellings import functions_named
from relprop.ops.sums import (
    leaves_out,
    of_running_sum,
    of_sampled,
    of_windows,
    sampled,
    the_first_alone,
    variable_grid,
)
from relprop.ops.weighted import variable_matrix, variable_weight, weighted
from relprop.ops.winners import bounds_of_two, no_scattered_winner, of_two, running_winner, scattered_winner
from relprop.rules.layer import Fixed, Kind
from relprop.tape.tape import Op, OwnersGo

LARGER = Op("maximum", MAXIMUM, of_two, WINNER, BROADCAST, bounds_of_two)
SMALLER = Op("minimum", MAXIMUM, of_two, WINNER, BROADCAST, bounds_of_two)
OF_TWO = {"max": LARGER, "min": SMALLER}

LINES: tuple[tuple[Op, str], ...] = (
    # Weighted: the composite must give the rule.
    (Op("conv1d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv1d"),
    (Op("conv2d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv2d"),
    (Op("conv3d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv3d"),
    (Op("conv_transpose1d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose1d"),
    (Op("conv_transpose2d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose2d"),
    (Op("conv_transpose3d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose3d"),
    (Op("linear", LINEAR, weighted, owners=LAST, refuse=variable_weight, of_two=written_out("linear")), "linear"),
    (
        Op(
            "matmul",
            LINEAR,
            weighted,
            owners=MATRIX,
            refuse=variable_matrix,
            of_two=two_matrices("matmul"),
            expand=in_parts_of("matmul"),  # vectors
        ),
        "matmul __matmul__ mm bmm mv sparse.mm",
    ),
    (Op("addmm", LINEAR, weighted, owners=LAST, refuse=variable_matrix, of_two=written_out("addmm")), "addmm"),
    # Normalisation.
    (Op("batch_norm", NORM, batch_norm, EPSILON, refuse=statistics_of_batch, merges=merges), "F.batch_norm"),
    (Op("local_response_norm", ACTIVATION, activation, PASS, IMAGE, kept_sign), "local_response_norm"),
    (
        Op("layer_norm", LAYER_NORM, layer_norm, EPSILON, LAST, refuse=own.depends_on_more),
        "F.layer_norm layer_norm",
    ),
    (Op("group_norm", LAYER_NORM, layer_norm, EPSILON, IMAGE, refuse=own.depends_on_more), "group_norm"),
    (Op("instance_norm", LAYER_NORM, layer_norm, EPSILON, IMAGE, refuse=own.depends_on_more), "F.instance_norm"),
    (Op("rms_norm", LAYER_NORM, scaled, Fixed("scale passes"), LAST, refuse=own.depends_on_more), "rms_norm?"),
    # Written in Python, of ops that have rules: what they call is recorded in their place.
    (Op("multi_head_attention_forward", Kind.OPAQUE, expand=by_its_body), "F.multi_head_attention_forward"),
    (Op("normalize", Kind.OPAQUE, expand=by_its_body), "F.normalize"),
    # Attention: weights are a gate.
    (Op("baddbmm", Kind.OPAQUE, expand=in_parts_of("baddbmm"), of_two=two_matrices("baddbmm")), "baddbmm"),
    (Op("softmax", Kind.SOFTMAX, softmax, TAYLOR, bounds=within(0, 1), refuse=over_pictures), "softmax"),
    (
        Op(
            "attention",
            Kind.ATTENTION,
            attention,
            EPSILON,
            OwnersGo.ATTENDED,
            bounds_of_mean,
            not_understood,
            the_values_alone,
        ),
        "scaled_dot_product_attention",
    ),
    # Averages and sums, whose weights are fixed.
    (
        Op("avg_pool", AVERAGE, average, EPSILON, IMAGE, averaged),
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    ),
    (Op("mean", AVERAGE, average, EPSILON, REDUCED, of_inputs), "mean"),
    (Op("sum", AVERAGE, average, EPSILON, REDUCED, summed), "sum"),
    (Op("nanmean", AVERAGE, average, EPSILON, REDUCED, of_inputs, leaves_out), "nanmean"),
    (Op("nansum", AVERAGE, average, EPSILON, REDUCED, summed, leaves_out), "nansum"),
    (Op("interpolate", AVERAGE, interpolation, EPSILON, IMAGE, interpolated), "interpolate upsample"),
    (Op("cumsum", AVERAGE, average, EPSILON, REDUCED, of_running_sum), "cumsum cumsum_"),
    (Op("fold", AVERAGE, average, EPSILON, OwnersGo.FIRST, of_windows), "F.fold"),
    (
        Op("grid_sample", AVERAGE, sampled, EPSILON, OwnersGo.FIRST, of_sampled, variable_grid, the_first_alone),
        "F.grid_sample",
    ),
    *scattering("scatter_add index_add"),
    # Maxima, won by one input.
    (Op("max_pool1d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs), "max_pool1d max_pool1d_with_indices?"),
    (
        Op("max_pool2d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs, run=pooled_with_winners),
        "max_pool2d max_pool2d_with_indices?",
    ),
    (Op("max_pool3d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs), "max_pool3d max_pool3d_with_indices?"),
    (
        Op("adaptive_max_pool1d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs),
        "adaptive_max_pool1d adaptive_max_pool1d_with_indices?",
    ),
    (
        Op("adaptive_max_pool2d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs),
        "adaptive_max_pool2d adaptive_max_pool2d_with_indices?",
    ),
    (
        Op("adaptive_max_pool3d", MAXIMUM, maximum, WINNER, IMAGE, of_inputs),
        "adaptive_max_pool3d adaptive_max_pool3d_with_indices?",
    ),
    *winning("max min amax amin aminmax median nanmedian kthvalue mode"),
    *winning("cummax cummin", running_winner),
    (
        Op(
            "scatter_reduce",
            MAXIMUM,
            scattered_winner,
            WINNER,
            OwnersGo.FIRST,
            refuse=no_scattered_winner,
            expand=in_parts_of("scatter_reduce"),  # sums and means
        ),
        "scatter_reduce scatter_reduce_",
    ),
    (LARGER, "maximum fmax"),
    (SMALLER, "minimum fmin"),
    # Additions and differences.
    (
        Op("add", ADD, addition, EPSILON, BROADCAST, bounds_of_sum, not_two_terms, receiving_terms),
        "add add_ __iadd__ __radd__ __add__",
    ),
    (
        Op("sub", ADD, addition, EPSILON, BROADCAST, bounds_of_sum, not_two_terms, receiving_terms),
        "sub sub_ subtract subtract_ __isub__ __sub__",
    ),
    (Op("rsub", ADD, addition, EPSILON, BROADCAST, bounds_of_sum, not_two_terms, receiving_terms), "rsub __rsub__"),
    # Products.
    (
        Op("mul", PRODUCT, product, SIGNAL, BROADCAST, bounds_of_product, receivers=receiving_factors),
        "mul mul_ multiply multiply_ __imul__ __mul__ __rmul__",
    ),
    (
        Op(
            "div",
            PRODUCT,
            quotient,
            SIGNAL,
            BROADCAST,
            bounds_of_quotient,
            refuse=variable_divisor,
            receivers=receiving_numerator,
            expand=in_parts_of("div"),  # rounded
        ),
        "div div_ divide divide_ true_divide true_divide_ __itruediv__ __truediv__",
    ),
    (Op("neg", PRODUCT, product, SIGNAL, bounds=bounds_of_negative), "neg neg_ negative negative_"),
    # Activations: never negative, with bounds of the call's own, and the others.
    elementwise("relu", rectified),
    elementwise("relu6", within(0, 6)),
    elementwise("sigmoid", within(0, 1), "sigmoid sigmoid_ expit"),
    elementwise("hardsigmoid", within(0, 1)),
    elementwise("hardtanh", clamped),
    *clamping("clamp clamp_min clip clamp_max"),
    elementwise("leaky_relu"),
    elementwise("elu"),
    elementwise("selu"),
    elementwise("celu"),
    elementwise("gelu"),
    elementwise("silu"),
    elementwise("mish"),
    elementwise("hardswish"),
    elementwise("tanh", within(-1, 1)),
    elementwise("softsign", within(-1, 1)),
    elementwise("softplus", within(0, math.inf)),
    elementwise("logsigmoid", within(-math.inf, 0)),
    elementwise("erf", within(-1, 1)),
    elementwise("hardshrink"),
    elementwise("softshrink"),
    elementwise("tanhshrink"),
    elementwise("prelu"),
    elementwise("threshold"),
    (Op("rrelu", ACTIVATION, activation, PASS, refuse=random_slopes), "rrelu rrelu_"),
    elementwise("exp", within(0, math.inf)),
    elementwise("exp2", within(0, math.inf)),
    elementwise("expm1", within(-1, math.inf)),
    elementwise("square", of_square),
    (power("pow", of_power), "pow pow_ __pow__ __ipow__? float_power float_power_"),
    (power("rpow", of_power_of_constant), "__rpow__?"),
    elementwise("sqrt", of_root),
    elementwise("abs", within(0, math.inf), "abs abs_ absolute absolute_ __abs__?"),
    elementwise("log1p"),
    elementwise("sin", within(-1, 1)),
    elementwise("cos", within(-1, 1)),
    elementwise("sinc", within(-0.2173, 1)),  # its least number is -0.21723...
    elementwise("atan", within(-1.5708, 1.5708), "atan atan_ arctan arctan_"),  # pi / 2, and how float32 rounds it
    elementwise("sinh"),
    elementwise("cosh", within(1, math.inf)),
    elementwise("tan"),
    elementwise("asin", within(-1.5708, 1.5708), "asin asin_ arcsin arcsin_"),
    elementwise("acos", within(0, 3.1416), "acos acos_ arccos arccos_"),
    elementwise("asinh", words="asinh asinh_ arcsinh arcsinh_"),
    elementwise("erfc", within(0, 2)),
    # Made of functions that have rules.
    *made_of_others("lerp addcmul addcdiv glu diff outer ger lp_pool1d lp_pool2d lp_pool3d"),
    *made_of_others("einsum tensordot inner cosine_similarity trapezoid dstack"),
    *recurrent("lstm gru rnn_tanh rnn_relu"),
    # Moves: relevance goes back the way the numbers came.
    *moving(
        "reshape flatten view unflatten squeeze unsqueeze squeeze_ unsqueeze_ ravel atleast_1d atleast_2d atleast_3d"
    ),
    *moving("permute transpose swapaxes swapdims movedim moveaxis t adjoint transpose_ t_"),
    *moving(".T .mT .H .mH", "transpose"),
    *moving("split chunk unbind tensor_split hsplit vsplit dsplit split_with_sizes"),
    *moving("__getitem__", "getitem"),
    *moving("narrow select index_select gather take_along_dim take masked_select diagonal topk sort"),
    *moving("expand broadcast_to repeat tile repeat_interleave roll flip fliplr flipud rot90"),
    *moving("cat concat concatenate stack hstack vstack"),
    *moving("pixel_shuffle pixel_unshuffle channel_shuffle"),
    *moving("unfold", bounds=with_fill, loses=True),  # Tensor.unfold takes windows along an axis, F.unfold pads as well
    *moving("expand_as view_as reshape_as", form=True),
    *moving(
        "pad where masked_fill masked_fill_ tril triu __setitem__ copy_ index_copy index_copy_ fill_diagonal_ "
        "masked_scatter masked_scatter_ index_fill index_fill_ select_scatter slice_scatter diagonal_scatter "
        "diag_embed max_unpool1d max_unpool2d max_unpool3d",
        bounds=with_fill,
        loses=True,
    ),
    (
        Op("scatter", MOVE, move, STAYS, MOVED, with_fill, written_once, loses=True),
        "scatter scatter_",
    ),
    (
        Op("index_put", MOVE, move, STAYS, MOVED, with_fill, written_once, loses=True),
        "index_put index_put_",
    ),
    (Op("put", MOVE, move, STAYS, MOVED, with_fill, put_once, loses=True), "put put_"),
    (Op("nan_to_num", MOVE, of_finite_numbers, STAYS, bounds=of_numbers), "nan_to_num nan_to_num_"),
    (
        Op("fill", MOVE, blank, STOPS, bounds=with_fill, refuse=by_a_value, receivers=nobody, loses=True),
        "zero_ fill_",
    ),
    (
        Op("contiguous", MOVE, passing, STAYS, bounds=of_inputs),
        "contiguous clone requires_grad_ alias_copy positive",
    ),
    (
        Op("to", MOVE, cast, STAYS, bounds=of_inputs, form=True),
        "to float double half bfloat16 type type_as cpu cuda",
    ),
    (
        Op("dropout", MOVE, passing, STAYS, bounds=of_inputs, refuse=drops_at_random),
        "dropout dropout1d? dropout2d? dropout3d? alpha_dropout feature_alpha_dropout",
    ),
    (
        Op("embedding", Kind.EMBEDDING, embedding, PER_TOKEN, OwnersGo.LOOKED_UP, refuse=rows_depend_on_input),
        "embedding",
    ),
    (Op("detach", Kind.STOP, stop, STOPS, bounds=of_inputs, receivers=nobody), "detach detach_ .data"),
    *MATHEMATICS,
    *SILENT,
)


def entered(lines: Iterable[tuple[Op, str]]) -> dict[Any, Op]:
    """The table by function.

    Raises:
        ValueError: a function stands in two lines, which is a mistake of ours.
    """
    table: dict[Any, Op] = {}
    for op, words in lines:
        for function in functions_named(words):
            if function in table:
                raise ValueError(f"{function} stands in two lines: {table[function].name} and {op.name}")
            table[function] = op
    return table


def op_of(function: Any, args: Any, kwargs: Any) -> Op | None:
    """What the table says of a call, None if nothing: torch.max(a, b) is torch.maximum(a, b)."""
    op = TABLE.get(function)
    if op is None or op.name not in OF_TWO:
        return op
    other = kwargs.get("other", args[1] if len(args) > 1 else None)
    return OF_TWO[op.name] if isinstance(other, Tensor) else op


TABLE: dict[Any, Op] = entered(LINES)
