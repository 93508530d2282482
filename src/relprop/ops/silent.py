"""What carries no relevance: the form of a value, comparisons and indices, new constants, and what leaves torch."""

from __future__ import annotations

from relprop.rules.layer import Kind
from relprop.tape.tape import Op


def _silent(kind: Kind, words: str) -> list[tuple[Op, str]]:
    """Functions that carry no relevance."""
    return [(Op("property" if word[0] == "." else word.strip("_?"), kind), word) for word in words.split()]


SILENT: tuple[tuple[Op, str], ...] = (
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
"""Lines of the table, as those of `ops.table`."""
