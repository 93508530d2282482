"""Small models of texts in folders, as `save_pretrained` leaves them, each with a tokenizer made of a few sentences."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

SENTENCES = [
    "The capital of France is Paris",
    "The capital of England is London",
    "Paris is the city of light, and London is the city of rain",
    "The cat sat on the mat because it was warm",
]
REAL = Path(__file__).parents[2] / "shared" / "real"
"""Where the trained LLaMA of 260,000 parameters lies."""


def transformers():
    found = pytest.importorskip("transformers")
    found.utils.logging.disable_progress_bar()
    return found


def byte_level(padding_side="right", **special):
    """A vocabulary of bytes, as GPT-2's: "Ġ" is a space."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)
    kind = transformers().PreTrainedTokenizerFast
    return kind(tokenizer_object=made, eos_token="<|end|>", padding_side=padding_side, **special)


def words(padding_side="right"):
    """A vocabulary of whole words between [CLS] and [SEP], as BERT's."""
    tokenizers = pytest.importorskip("tokenizers")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.train_from_iterator(SENTENCES, tokenizers.trainers.WordLevelTrainer(special_tokens=marks, show_progress=False))
    ends = [(mark, made.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {f"{name}_token": mark for name, mark in zip(("pad", "unk", "cls", "sep", "mask"), marks, strict=True)}
    return transformers().PreTrainedTokenizerFast(tokenizer_object=made, padding_side=padding_side, **names)


def model_of(kind, tokenizer, **more):
    """A model with random weights, large enough that relevance is no rounding."""
    hf = transformers()
    size = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **more}
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 48,
    }
    torch.manual_seed(3)
    if kind == "llama":
        made = hf.LlamaForCausalLM(hf.LlamaConfig(**size, **small, num_key_value_heads=1, initializer_range=0.3))
    elif kind == "gpt2":
        config = hf.GPT2Config(**size, n_embd=16, n_layer=2, n_head=2, n_positions=48, initializer_range=0.3)
        made = hf.GPT2LMHeadModel(config)
    elif kind == "gpt2 classifier":
        config = hf.GPT2Config(**size, n_embd=16, n_layer=2, n_head=2, n_positions=48, initializer_range=0.3)
        made = hf.GPT2ForSequenceClassification(config)
    else:
        config = hf.BertConfig(**size, **small, initializer_range=0.3)
        made = getattr(hf, {"masked": "BertForMaskedLM", "classifier": "BertForSequenceClassification"}[kind])(config)
    return made.eval()


def save(folder, kind, padding_side="right", **more):
    """Save a model of a kind with its tokenizer; returns the model."""
    tokenizer = words(padding_side) if kind in ("masked", "classifier") else byte_level(padding_side)
    made = model_of(kind, tokenizer, **more)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return made


def save_stories(folder):
    """Save the trained LLaMA of 260,000 parameters, whose vocabulary is SentencePiece's, with its tokenizer."""
    if not (REAL / "stories.py").exists():
        pytest.skip("no shared/real beside the repository: no trained language model")
    hf = transformers()
    tokenizers = pytest.importorskip("tokenizers")
    sys.path.insert(0, str(REAL))
    try:
        stories = importlib.import_module("stories")
    finally:
        sys.path.remove(str(REAL))
    stories.model().save_pretrained(folder)
    pieces = [piece.strip("\n") if index in (1, 2) else piece for index, piece in enumerate(stories.vocabulary())]
    spelt = [piece.replace(" ", "▁") for piece in pieces]
    rank = {piece: index for index, piece in reversed(list(enumerate(spelt)))}
    joined = [piece for piece in spelt if len(piece) > 1 and not piece.startswith("<")]
    merges = [
        (piece[:k], piece[k:])
        for piece in joined
        for k in range(1, len(piece))
        if {piece[:k], piece[k:]} <= rank.keys()
    ]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(rank, merges, unk_token=spelt[0], byte_fallback=True))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    begin = spelt[1]
    made.post_processor = tokenizers.processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, 1)])
    names = {"unk_token": spelt[0], "bos_token": begin, "eos_token": spelt[2]}
    hf.PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
