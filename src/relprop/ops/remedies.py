"""What to do next, for functions that relevance cannot pass."""

ENDS = "explain the logits: return the model's output before this function"
LEAVES = (
    "numbers leave torch here, and what is made of them cannot be followed; keep the step in torch, or remove "
    "the hook that reads them"
)
NOTHING_FINITE = (
    "it gives nothing finite for 0, so no part of it can be said to come from the input; of y.clamp(min=1e-6), "
    "y.abs() + 1e-6 or another function of each number that gives a positive one for 0 it has a rule, and a factor "
    "made of it takes no relevance where it is detached, x * y.detach()"
)
COMPLEX = (
    "complex numbers carry no relevance: they pass transforms, sums, moves and products with constants, to a real or "
    "imaginary part, an absolute value or a transform back; write what else is made of them with z.real and z.imag"
)
PACKED = (
    "packed sequences and dropout between layers have no rule; call the layer, in eval mode, on a tensor of sequences "
    "of one length, those of one length at a time"
)
REMEDIES: dict[str, str] = {
    "gumbel_softmax": ENDS,
    **dict.fromkeys(("item", "tolist", "numpy", "array", "float", "int", "index", "dlpack"), LEAVES),
    **dict.fromkeys(
        ("long", "int", "short", "char", "byte"),
        "whole numbers carry no relevance; round numbers with torch.trunc, which has a rule",
    ),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "_pack_padded_sequence", "_pad_packed_sequence"), PACKED),
    **dict.fromkeys(("addmm_sparse", "smm"), "a sparse matrix has no rule here; write it as matrix @ x"),
    **dict.fromkeys(
        (
            "complex",
            "view_as_complex",
            "stft",
            "polar",
            "angle",
            *(f"fft_{kind}fft{n}" for kind in ("", "i", "r") for n in ("", "2", "n")),
        ),
        COMPLEX,
    ),
    **dict.fromkeys(
        ("_grouped_mm", "grouped_mm"),
        "matrices of several experts in one kernel have no rule; let the model multiply by one after the other, as "
        "transformers does after model.set_experts_implementation('eager')",
    ),
    "heaviside": "a step carries no relevance; as a factor it is a mask, y * (x > 0)",
    "einsum": "dots and diagonals are not understood; name every axis once, or write it as matmul",
}
OTHER = "no rule is known for it; write the step with ops that have one (`relprop plan` shows which), or report it"


def remedy(name: str) -> str:
    """One line of advice for a function of this name."""
    return REMEDIES.get(name, REMEDIES.get(name.strip("_"), OTHER))
