"""Run `relprop.check` on the networks of torchvision and timm: replay, ledger, cost; a line a network, and a summary.

    uv run python scripts/check_networks.py                     # all of torchvision's, and sixty of timm's
    uv run python scripts/check_networks.py --only resnet --side 96

Weights are random, BatchNorm statistics are not trivial. The figures of docs/exactness.md come from here.
"""

# ruff: noqa: INP001, T201 - a script: no package, and it prints

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator

import timm
import torch
import torchvision
from torch import nn

import relprop as rp

METHOD = "cmp-alpha2-flat"


def shaken(model: nn.Module) -> nn.Module:
    """Biases and BatchNorm statistics as awkward as trained ones."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the base of all of them
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def networks(only: str, count: int) -> Iterator[tuple[str, nn.Module]]:
    """Name and network; of timm one or more a family, until there are enough."""
    for name in torchvision.models.list_models(torchvision.models):
        if only in name:
            yield f"torchvision {name}", shaken(torchvision.models.get_model(name, weights=None))
    families = sorted({name.split("_")[0]: name for name in reversed(timm.list_models())}.items())
    for _, name in families[:: max(len(families) // count, 1)]:
        if only in name:
            yield f"timm {name}", shaken(timm.create_model(name, pretrained=False))


def side_of(model: nn.Module, side: int) -> int:
    """What a network's pictures measure: as asked for, unless it takes one size alone."""
    config = getattr(model, "pretrained_cfg", {})
    return int(config["input_size"][1]) if config.get("fixed_input_size") else side


def line(name: str, model: nn.Module, side: int) -> tuple[str, str]:
    """What became of one network, and the line that tells it."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, side, side)
    try:
        start = time.perf_counter()
        found = rp.check(model, x, METHOD)
        checked = time.perf_counter() - start
    except rp.RelpropError as error:
        return "refused", f"{name}: refused: {str(error).splitlines()[0][:100]}"
    except Exception as error:  # noqa: BLE001 - the network's own failure on this size
        return "its own error", f"{name}: fails by itself: {type(error).__name__}: {str(error)[:80]}"
    if found.replay is None:
        return "refused", f"{name}: refused: {' '.join(found.refused.split())[:110]}"
    start = time.perf_counter()
    rp.explain(model, x, None, [METHOD])
    once = time.perf_counter() - start
    exact = found.replay.on_input == found.replay.on_noise == 0.0
    outcome = "exactly 0" if exact and found.ok else "ok" if found.ok else "NOT OK"
    told = f"replay {found.replay.on_input:.1g} {found.replay.on_noise:.1g}, ledger {found.ledger or 0:.1g}"
    return outcome, f"{name}: {outcome}: {told}, check {checked:.2f} s, one map {once:.2f} s"


def main() -> None:
    """Parse, check, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", default="", help="names that hold this")
    add("--side", type=int, default=128, help="height and width of the picture (%(default)s)")
    add("--timm", type=int, default=60, help="how many of timm's families (%(default)s)")
    options = parser.parse_args()
    outcomes: Counter[tuple[str, str]] = Counter()
    for name, model in networks(options.only, options.timm):
        outcome, told = line(name, model, side_of(model, options.side))
        outcomes[name.split()[0], outcome] += 1
        print(told, flush=True)
    print()
    for (library, outcome), count in sorted(outcomes.items()):
        print(f"{library:12} {outcome:14} {count}")


if __name__ == "__main__":
    main()
