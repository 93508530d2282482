"""Networks that attend, beside the plain gradient and LXT's efficient form.

    python -m benchmarks.attending [--rounds 5] [--threads 1] [--device cpu]

Networks have the sizes of SmolLM2-135M (512 tokens) and DINOv2 ViT-S/14 (224 pixels) and random weights: what they have
learned does not change how long they take. LXT patches classes for good, and therefore runs in a process of its own,
in turns with the others.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import relprop as rp
from benchmarks.timing import Patience, interleaved

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TOKENS, SIDE, TARGETS = 512, 224, 10


def speaker() -> nn.Module:
    """A language model of the size of SmolLM2-135M."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - seconds

    sizes: dict[str, Any] = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    heads: dict[str, Any] = {"num_attention_heads": 9, "num_key_value_heads": 3}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=49152, max_position_embeddings=TOKENS, tie_word_embeddings=True, **sizes, **heads)
    model: Any = LlamaForCausalLM(config)
    lm: nn.Module = model.eval().requires_grad_(False)
    return lm


class Seer(nn.Module):
    """A vision transformer of the size of DINOv2 ViT-S/14, with a linear probe."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import Dinov2Config, Dinov2Model  # noqa: PLC0415 - seconds

        torch.manual_seed(0)
        sizes: dict[str, Any] = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
        self.backbone = Dinov2Model(Dinov2Config(image_size=SIDE, patch_size=14, **sizes))
        self.probe = nn.Linear(384, TARGETS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the probe on the CLS token."""
        logits: Tensor = self.probe(self.backbone(pixel_values=x).last_hidden_state[:, 0])
        return logits


def of_text(device: str) -> dict[str, Callable[[], object]]:
    """What is timed on 512 tokens."""
    lm: Any = speaker().to(device)
    ids = torch.randint(0, 49152, (1, TOKENS), device=device)
    x, several = {"input_ids": ids}, [rp.at(-1 - k) for k in range(TARGETS)]
    return {
        "forward": lambda: _without_gradient(lambda: lm(input_ids=ids)),
        "gradient": lambda: gradient(lm, ids),
        "attnlrp": lambda: rp.attribute(lm, x, None, "attnlrp"),
        "cp-lrp": lambda: rp.attribute(lm, x, None, "cp-lrp"),
        "attnlrp, ten targets": lambda: rp.explain(lm, x, several, ["attnlrp"]),
    }


def of_picture(device: str) -> dict[str, Callable[[], object]]:
    """What is timed on one picture."""
    net, x = Seer().eval().requires_grad_(False).to(device), torch.randn(1, 3, SIDE, SIDE, device=device)

    def of_pixels() -> Tensor:
        seen = x.clone().requires_grad_()
        found: Tensor = torch.autograd.grad(net(seen)[0, 1], seen)[0]
        return found

    return {
        "forward": lambda: _without_gradient(lambda: net(x)),
        "gradient": of_pixels,
        "attnlrp": lambda: rp.attribute(net, x, 1, "attnlrp"),
        "cp-lrp": lambda: rp.attribute(net, x, 1, "cp-lrp"),
        "attnlrp-vit": lambda: rp.attribute(net, x, 1, "attnlrp-vit"),
        "attnlrp, ten targets": lambda: rp.explain(net, x, [*range(TARGETS)], ["attnlrp"]),
        "attnlrp-vit, ten targets": lambda: rp.explain(net, x, [*range(TARGETS)], ["attnlrp-vit"]),
    }


def gradient(lm: Any, ids: Tensor) -> Tensor:
    """Gradient times embedded rows, of the largest logit at the last place."""
    rows = lm.get_input_embeddings()(ids).detach().requires_grad_()
    found: Tensor = torch.autograd.grad(lm(inputs_embeds=rows).logits[0, -1].max(), rows)[0]
    relevance: Tensor = (found * rows.detach()).sum(-1)
    return relevance


def _without_gradient(call: Callable[[], object]) -> object:
    with torch.no_grad():
        return call()


# -- LXT, in a process of its own -----------------------------------------------------------------------


class Asked(dict[str, Any]):
    """LXT puts a plain dict in the place of transformers' table of attention functions, which has this method now."""

    def get_interface(self, name: str, default: Any = None) -> Any:
        """The function of that name."""
        return self.get(name, default)


def serve(connection: Connection, threads: int, device: str) -> None:
    """Explain whenever something comes, until False comes."""
    torch.set_num_threads(threads)
    utils = importlib.import_module("transformers.pytorch_utils")
    if not hasattr(utils, "find_pruneable_heads_and_indices"):  # what LXT's BERT imports, and does not call
        utils.find_pruneable_heads_and_indices = None  # type: ignore[attr-defined]
    module: Any = importlib.import_module("transformers.models.llama.modeling_llama")
    rules = importlib.import_module("lxt.efficient.models.llama").attnLRP
    importlib.import_module("lxt.efficient").monkey_patch(module, rules)
    if type(module.ALL_ATTENTION_FUNCTIONS) is dict:
        module.ALL_ATTENTION_FUNCTIONS = Asked(module.ALL_ATTENTION_FUNCTIONS)
    lm = speaker().to(device)
    ids = torch.randint(0, 49152, (1, TOKENS), device=device)
    connection.send(True)
    while connection.recv():
        connection.send(bool(gradient(lm, ids).isfinite().all()))


def lxt(threads: int, device: str) -> Connection | None:
    """Start it; None where LXT is not installed."""
    if importlib.util.find_spec("lxt") is None:
        return None
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=serve, args=(there, threads, device), daemon=True).start()
    here.recv()
    return here


def asked(connection: Connection) -> Callable[[], object]:
    """One explanation by LXT."""

    def call() -> object:
        connection.send(True)
        return connection.recv()

    return call


def main() -> None:
    """Time them and print a table a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    synchronise = torch.cuda.synchronize if words.device != "cpu" else lambda: None
    peer = lxt(words.threads, words.device)
    for name, made in ((f"SmolLM2-135M, {TOKENS} tokens", of_text), (f"DINOv2 ViT-S/14, {SIDE} pixels", of_picture)):
        calls = made(words.device)
        if made is of_text and peer is not None:
            calls["LXT, efficient AttnLRP"] = asked(peer)
        runs = interleaved(calls, Patience(1e9, words.rounds, words.rounds), synchronise, _told)
        plain = statistics.median(runs["gradient"])
        print(f"\n{name}, {words.threads} threads, medians of {words.rounds} rounds\n")  # noqa: T201 - the result
        print("| what | seconds | gradients |\n|---|---:|---:|")  # noqa: T201
        for what, seconds in runs.items():
            print(f"| {what} | {statistics.median(seconds):.2f} | {statistics.median(seconds) / plain:.2f} |")  # noqa: T201

    if peer is not None:
        peer.send(False)


def _told(name: str, seconds: float) -> None:
    sys.stderr.write(f"{name}: {seconds:.2f} s\n")


if __name__ == "__main__":
    main()
