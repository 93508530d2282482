"""What to do next, for functions that relevance cannot pass."""

ENDS = "explain the logits: return the model's output before this function"
LEAVES = (
    "numbers leave torch here, and what is made of them cannot be followed; keep the step in torch, or remove "
    "the hook that reads them"
)
NOTHING_FINITE = (
    "it gives nothing finite for 0, so no part of it can be said to come from the input; a factor made of it takes no "
    "relevance where it is detached, x * y.detach(), or proved bounded, as torch.rsqrt(1 + y ** 2) is; for a logarithm "
    "torch.log1p has a rule"
)
PACKED = (
    "packed sequences and dropout between layers have no rule; call the layer, in eval mode, on a tensor of sequences "
    "of one length, those of one length at a time"
)
REMEDIES: dict[str, str] = {
    **dict.fromkeys(("log_softmax", "softmin", "gumbel_softmax"), ENDS),
    **dict.fromkeys(("item", "tolist", "numpy", "array", "float", "int", "index", "dlpack"), LEAVES),
    **dict.fromkeys(
        ("long", "int", "round", "floor", "ceil", "trunc"),
        "rounding has no rule; explain the model without it",
    ),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "_pack_padded_sequence", "_pad_packed_sequence"), PACKED),
    "logsumexp": "it has no rule; a maximum that is as near to it has one, torch.amax(x, dim), and so has a mean",
    **dict.fromkeys(
        ("sparse_mm", "_sparse_mm", "addmm_sparse", "smm"), "a sparse matrix has no rule; make it .to_dense()"
    ),
    **dict.fromkeys(
        ("_grouped_mm", "grouped_mm"),
        "matrices of several experts in one kernel have no rule; let the model multiply by one after the other, as "
        "transformers does after model.set_experts_implementation('eager')",
    ),
    "einsum": "dots and diagonals are not understood; name every axis once, or write it as matmul",
    **dict.fromkeys(("log", "log2", "log10", "rsqrt", "reciprocal"), NOTHING_FINITE),
}
OTHER = "no rule is known for it; write the step with ops that have one (`relprop plan` shows which), or report it"


def remedy(name: str) -> str:
    """One line of advice for a function of this name."""
    return REMEDIES.get(name, REMEDIES.get(name.strip("_"), OTHER))
