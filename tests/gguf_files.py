"""A language model and its tokenizer written to one GGUF file, by the format's own library."""

import gguf
import numpy as np

from text_models import byte_level, model_of

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers.": "blk.",
}


def write_gguf(path):
    """Write a small LLaMA with a vocabulary of bytes; returns the model."""
    tokenizer = byte_level()
    model = model_of("llama", tokenizer)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    ids = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    kinds = [gguf.TokenType.CONTROL if index == 0 else gguf.TokenType.NORMAL for index in range(len(ids))]
    merges = tokenizer.backend_tokenizer.model.__getstate__()
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([piece for piece, _ in ids])
    writer.add_token_types(kinds)
    writer.add_token_merges(_merges(merges))
    writer.add_eos_token_id(0)
    for name, weight in model.state_dict().items():
        numbers = weight.numpy().astype(np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            numbers = _interleaved(numbers, heads)
        writer.add_tensor(_renamed(name), numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _renamed(name):
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _interleaved(numbers, heads):
    """The order of rows that the format wants for rotary pairs."""
    rows, width = numbers.shape
    halves = numbers.reshape(heads, 2, rows // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))


def _merges(state):
    """Pairs as the format writes them, from the state of a BPE model."""
    import json  # noqa: PLC0415

    found = json.loads(state)["merges"]
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in found]
