"""The closed table: what each torch function does with relevance, a line an op, keyed by the function object itself.

A function that is not in here becomes an opaque node, and relevance that would have to pass through it raises
`UnsupportedOp`: never a silent gradient, never a zero. To teach the engine an op, write how it hands relevance down in
the file of its kind, and a line here.

A line is what the engine knows, and the names of the functions, wherever torch has them (`ops.spellings`): "name?" may
be missing in some version of torch, ".name" is a property of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relprop.ops.activation import activation, bounded_by_zero, depends_on_more, random_slopes
from relprop.ops.addition import addition, nonneg_sum, not_two_terms
from relprop.ops.averaging import average, interpolation, nonneg_average
from relprop.ops.maximum import maximum, not_along_one_axis, pooled_with_winners
from relprop.ops.moves import cast, drops_at_random, move, nobody, passing, stop
from relprop.ops.nonneg import always, where_inputs_are
from relprop.ops.normalization import batch_norm, merges, statistics_of_batch
from relprop.ops.product import nonneg_product, product, receiving_factors, variable_divisor
from relprop.ops.spellings import functions_named
from relprop.ops.weighted import variable_matrix, variable_weight, weighted
from relprop.rules.layer import Fixed, Kind
from relprop.rules.lrp import Epsilon, Pass
from relprop.tape.tape import Op, OwnersGo, never

CONV, LINEAR, ADD, NORM, PRODUCT = Kind.CONV, Kind.LINEAR, Kind.ADD, Kind.NORM, Kind.PRODUCT
AVERAGE, MAXIMUM, ACTIVATION, MOVE = Kind.AVG_POOL, Kind.MAX_POOL, Kind.ACTIVATION, Kind.MOVE
IMAGE, LAST, MATRIX = OwnersGo.IMAGE, OwnersGo.LAST, OwnersGo.MATRIX
MOVED, REDUCED, BROADCAST = OwnersGo.MOVED, OwnersGo.REDUCED, OwnersGo.BROADCAST

EPSILON, PASS = Epsilon(), Pass()
WINNER, SIGNAL = Fixed("winner takes all"), Fixed("signal takes all")
STAYS, STOPS = Fixed("moved"), Fixed("stopped")


def _activation(name: str, nonneg: Any = never, words: str = "") -> tuple[Op, str]:
    """An activation with constant bounds or slopes, of which torch may have a form that works in place."""
    return Op(name, ACTIVATION, activation, PASS, nonneg=nonneg, refuse=depends_on_more), words or f"{name} {name}_?"


def _move(
    words: str, name: str = "", *, nonneg: Any = where_inputs_are, loses: bool = False, form: bool = False
) -> list[tuple[Op, str]]:
    """Ops that move numbers, each under its own name unless one is given; owners move with them."""
    names = [(name or word.strip("_?."), word) for word in words.split()]
    return [(Op(op, MOVE, move, STAYS, MOVED, nonneg, loses=loses, form=form), word) for op, word in names]


def _silent(kind: Kind, words: str) -> list[tuple[Op, str]]:
    """Functions that carry no relevance."""
    return [(Op("property" if word[0] == "." else word.strip("_?"), kind), word) for word in words.split()]


LINES: tuple[tuple[Op, str], ...] = (
    # Weighted: the composite must give the rule.
    (Op("conv1d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv1d"),
    (Op("conv2d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv2d"),
    (Op("conv3d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv3d"),
    (Op("conv_transpose1d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose1d"),
    (Op("conv_transpose2d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose2d"),
    (Op("conv_transpose3d", CONV, weighted, owners=IMAGE, refuse=variable_weight), "conv_transpose3d"),
    (Op("linear", LINEAR, weighted, owners=LAST, refuse=variable_weight), "linear"),
    (Op("matmul", LINEAR, weighted, owners=MATRIX, refuse=variable_matrix), "matmul __matmul__ mm"),
    (Op("addmm", LINEAR, weighted, owners=LAST, refuse=variable_matrix), "addmm"),
    # Normalisation.
    (Op("batch_norm", NORM, batch_norm, EPSILON, refuse=statistics_of_batch, merges=merges), "F.batch_norm"),
    (Op("local_response_norm", ACTIVATION, activation, PASS, IMAGE, where_inputs_are), "local_response_norm"),
    # Averages and sums, whose weights are fixed.
    (
        Op("avg_pool", AVERAGE, average, EPSILON, IMAGE, nonneg_average),
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    ),
    (Op("mean", AVERAGE, average, EPSILON, REDUCED, where_inputs_are), "mean"),
    (Op("sum", AVERAGE, average, EPSILON, REDUCED, where_inputs_are), "sum"),
    (Op("interpolate", AVERAGE, interpolation, EPSILON, IMAGE), "interpolate upsample"),
    # Maxima, won by one input.
    (Op("max_pool1d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are), "max_pool1d max_pool1d_with_indices?"),
    (
        Op("max_pool2d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are, run=pooled_with_winners),
        "max_pool2d max_pool2d_with_indices?",
    ),
    (Op("max_pool3d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are), "max_pool3d max_pool3d_with_indices?"),
    (
        Op("adaptive_max_pool1d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are),
        "adaptive_max_pool1d adaptive_max_pool1d_with_indices?",
    ),
    (
        Op("adaptive_max_pool2d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are),
        "adaptive_max_pool2d adaptive_max_pool2d_with_indices?",
    ),
    (
        Op("adaptive_max_pool3d", MAXIMUM, maximum, WINNER, IMAGE, where_inputs_are),
        "adaptive_max_pool3d adaptive_max_pool3d_with_indices?",
    ),
    (Op("max", MAXIMUM, maximum, WINNER, REDUCED, where_inputs_are, refuse=not_along_one_axis), "max"),
    # Additions and differences.
    (
        Op("add", ADD, addition, EPSILON, BROADCAST, nonneg_sum, refuse=not_two_terms),
        "add add_ __iadd__ __radd__ __add__",
    ),
    (
        Op("sub", ADD, addition, EPSILON, BROADCAST, refuse=not_two_terms),
        "sub sub_ subtract subtract_ __isub__ __sub__",
    ),
    (Op("rsub", ADD, addition, EPSILON, BROADCAST, refuse=not_two_terms), "rsub __rsub__"),
    # Products.
    (
        Op("mul", PRODUCT, product, SIGNAL, BROADCAST, nonneg_product, receivers=receiving_factors),
        "mul mul_ multiply multiply_ __imul__ __mul__ __rmul__",
    ),
    (
        Op("div", PRODUCT, product, SIGNAL, BROADCAST, refuse=variable_divisor),
        "div div_ divide divide_ true_divide true_divide_ __itruediv__ __truediv__",
    ),
    (Op("neg", PRODUCT, product, SIGNAL), "neg neg_ negative negative_"),
    # Activations: never negative, with bounds of the call's own, and the others.
    _activation("relu", always),
    _activation("relu6", always),
    _activation("sigmoid", always, "sigmoid sigmoid_ expit"),
    _activation("hardsigmoid", always),
    _activation("hardtanh", bounded_by_zero),
    _activation("clamp", bounded_by_zero),
    _activation("clamp_min", bounded_by_zero),
    _activation("clip", bounded_by_zero),
    _activation("clamp_max"),
    _activation("leaky_relu"),
    _activation("elu"),
    _activation("selu"),
    _activation("celu"),
    _activation("gelu"),
    _activation("silu"),
    _activation("mish"),
    _activation("hardswish"),
    _activation("tanh"),
    _activation("softsign"),
    _activation("softplus"),
    _activation("logsigmoid"),
    _activation("hardshrink"),
    _activation("softshrink"),
    _activation("tanhshrink"),
    _activation("prelu"),
    _activation("threshold"),
    (Op("rrelu", ACTIVATION, activation, PASS, refuse=random_slopes), "rrelu rrelu_"),
    # Moves: relevance goes back the way the numbers came.
    *_move(
        "reshape flatten view unflatten squeeze unsqueeze squeeze_ unsqueeze_ ravel atleast_1d atleast_2d atleast_3d"
    ),
    *_move("permute transpose swapaxes swapdims movedim moveaxis t adjoint transpose_ t_"),
    *_move(".T .mT .H .mH", "transpose"),
    *_move("split chunk unbind tensor_split hsplit vsplit dsplit split_with_sizes"),
    *_move("__getitem__", "getitem"),
    *_move("narrow select index_select gather take_along_dim masked_select diagonal topk sort"),
    *_move("expand broadcast_to repeat tile repeat_interleave roll flip fliplr flipud rot90"),
    *_move("cat concat concatenate stack hstack vstack"),
    *_move("pixel_shuffle pixel_unshuffle channel_shuffle"),
    *_move("unfold", loses=True),  # Tensor.unfold takes windows along an axis, F.unfold pads as well
    *_move("expand_as view_as reshape_as", form=True),
    *_move(
        "pad where masked_fill masked_fill_ tril triu __setitem__ copy_ index_copy fill_diagonal_",
        nonneg=never,
        loses=True,
    ),
    (
        Op("contiguous", MOVE, passing, STAYS, nonneg=where_inputs_are),
        "contiguous clone requires_grad_ alias_copy positive",
    ),
    (
        Op("to", MOVE, cast, STAYS, nonneg=where_inputs_are, form=True),
        "to float double half bfloat16 type type_as cpu cuda",
    ),
    (
        Op("dropout", MOVE, passing, STAYS, nonneg=where_inputs_are, refuse=drops_at_random),
        "dropout dropout1d? dropout2d? dropout3d? alpha_dropout feature_alpha_dropout",
    ),
    (Op("detach", Kind.STOP, stop, STOPS, nonneg=where_inputs_are, receivers=nobody), "detach detach_ .data"),
    # What carries no relevance: the form of a value, comparisons and indices, new constants.
    *_silent(
        Kind.GETTER,
        ".shape .device .dtype .layout .ndim .is_cuda .is_cpu .is_sparse .is_quantized .is_meta .is_leaf "
        ".requires_grad .grad .grad_fn .names .itemsize .nbytes ._version ._base "
        ".is_mps .is_mkldnn .is_xpu .is_nested .is_vulkan .output_nr .retains_grad",
    ),
    *_silent(
        Kind.GETTER,
        "size? dim? ndimension? numel? nelement? element_size? stride? storage_offset? get_device? is_contiguous? "
        "is_floating_point? is_complex? is_signed? is_inference? is_conj? is_neg? is_pinned? is_shared? is_same_size? "
        "is_set_to? is_nonzero? __len__? __repr__? __format__? __bool__? __hash__? has_names? dense_dim? sparse_dim? "
        "result_type? can_cast? is_tensor? is_storage? register_hook?",
    ),
    *_silent(
        Kind.GETTER,
        "eq? ne? lt? le? gt? ge? equal? greater? greater_equal? less? less_equal? not_equal? isnan? isinf? isfinite? "
        "isposinf? isneginf? isclose? allclose? all? any? logical_and? logical_or? logical_not? logical_xor? __eq__? "
        "__ne__? __lt__? __le__? __gt__? __ge__? argmax? argmin? argsort? signbit? count_nonzero? nonzero? "
        "searchsorted? bucketize?",
    ),
    *_silent(
        Kind.CONSTANT,
        "zeros_like? ones_like? empty_like? full_like? rand_like? randn_like? new_zeros? new_ones? new_empty? "
        "new_full? new_tensor?",
    ),
    # What takes numbers out of torch, from where they could come back as anything: errors.
    *_silent(
        Kind.ESCAPE,
        "item? tolist? numpy? __array__? __float__? __int__? __index__? __complex__? __long__? __reduce_ex__? "
        "__deepcopy__? __dlpack__? __contains__? set_? resize_? apply_? map_? data_ptr? untyped_storage? storage?",
    ),
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


TABLE: dict[Any, Op] = entered(LINES)
