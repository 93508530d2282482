"""Tiny untrained language models of transformers' families, hidden size 32 and two layers, in float64."""

import pytest
import torch
from torch import nn

D = torch.float64
WORDS = 97
"""So many tokens they know."""


def transformers():
    """The library, quiet; tests skip where it is not installed."""
    found = pytest.importorskip("transformers")
    found.utils.logging.set_verbosity_error()
    return found


def made(name, dtype=D, **words):
    """A model by its name here, with weights that depend on the name alone, and biases that are not zero."""
    library = transformers()
    model, config, given = FAMILIES[name]
    torch.manual_seed(5)
    attention = words.pop("attn_implementation", None)
    built = getattr(library, config)(**given | words)
    if name != "mamba":
        built._attn_implementation = attention or ("eager" if name == "gemma2" else "sdpa")
    net = getattr(library, model)(built)
    for key, parameter in net.named_parameters():
        if key.endswith("bias"):
            nn.init.normal_(parameter, 0.0, 0.1)
        elif parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return net.to(dtype).eval()


GATED = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
ENCODER = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}
T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
T5 |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
CAPPED = {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0, "sliding_window": 4}
MIXED = {"num_local_experts": 4, "num_experts_per_tok": 2}
SCANNED = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "expand": 1}

FAMILIES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", GATED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", GATED),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", GATED | CAPPED),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", GATED),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "bert": ("BertForSequenceClassification", "BertConfig", ENCODER | {"num_labels": 5}),
    "bert, masked words": ("BertForMaskedLM", "BertConfig", ENCODER),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "t5 encoder": ("T5EncoderModel", "T5Config", T5),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", GATED | MIXED),
    "mamba": ("MambaForCausalLM", "MambaConfig", SCANNED),
}


def ids_of(*lengths):
    """Texts of these lengths, each (1, L), none of whose tokens is padding."""
    generator = torch.Generator().manual_seed(6)
    return [torch.randint(3, WORDS, (1, length), generator=generator) for length in lengths]


def padded(texts, side="right"):
    """They as one batch: ids and attention mask, with positions where padding comes first."""
    length = max(text.shape[1] for text in texts)
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, text in enumerate(texts):
        own = slice(0, text.shape[1]) if side == "right" else slice(length - text.shape[1], length)
        ids[k, own], mask[k, own] = text[0], 1
    batch = {"input_ids": ids, "attention_mask": mask}
    return batch if side == "right" else batch | {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
