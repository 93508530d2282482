"""Fit the patterns that the embedded networks come with.

    python scripts/fit_patterns.py

writes ``<network>.patterns.safetensors`` beside the weights in ``src/relprop/models/weights``: for Pattern
Attribution and PatternNet, from pictures of the training split, half with one digit and half with up to three. The
held-out digits play no part. Both networks take three minutes on one core, most of which is the drawing of pictures.
To be run again whenever the weights change; patterns of other weights are refused.

    python scripts/fit_patterns.py --label

fits nothing, but writes the present hash of each network into its file, for when the hash is made in another way
(`relprop.support.fingerprint`). It is refused where the file's own label is not of this network: neither by the
present hash nor by the former one, of weights alone. The patterns stay as they are, bit for bit.
"""  # noqa: INP001 - a script beside the package, no part of one

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from relprop.catalogue.pattern_fit import Fitter
from relprop.catalogue.patterns import ESTIMATORS, WITH_BIAS, Patterns
from relprop.data.clutter import Clutter
from relprop.models.families.embedded import trained
from relprop.models.networks.digits import MEAN, NAMES, STD
from relprop.support.fingerprint import weights_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

WEIGHTS = Path(__file__).resolve().parent.parent / "src/relprop/models/weights"


def batches(number: int, size: int, seed: int) -> Iterator[Tensor]:
    """The first pictures of the training split as the networks take them, (B, 3, 64, 64)."""
    sources = (Clutter("train", "single", seed), Clutter("train", "multi", seed))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    for start in range(0, number, size):
        samples = [sources[i % 2].sample(i // 2) for i in range(start, min(start + size, number))]
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        yield (images / 255 - mean) / std


def resident() -> str:
    """How much memory this process holds, where the system tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("VmRSS")), "?")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=int, default=10_000, help="training pictures (%(default)s)")
    add("--batch", type=int, default=40, help="pictures at once (%(default)s)")
    add("--seed", type=int, default=0, help="of the pictures (%(default)s)")
    add("--estimator", choices=ESTIMATORS, default=WITH_BIAS, help="see relprop.catalogue.pattern_fit (%(default)s)")
    add("--threads", type=int, default=1, help="(%(default)s)")
    add("--out", type=Path, default=WEIGHTS, help="folder to write to (the package's)")
    add("--label", action="store_true", help="write the networks' present hash into the files, and nothing else")
    return parser.parse_args()


def hash_of_weights(network: nn.Module) -> str:
    """The label of files that were written before the hash told code apart: of parameters and saved buffers alone."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def label(name: str, folder: Path) -> None:
    """Write a network's present hash into its file of patterns."""
    path, network = folder / f"{name}.patterns.safetensors", trained(name)
    old, label = Patterns.load(path), weights_hash(network)
    if old.model_sha256 not in (label, hash_of_weights(network)):
        sys.exit(f"{path}: its patterns are of another network; fit them anew, without --label")
    dtypes = {pattern.a.dtype for pattern in old.layers.values()}
    replace(old, model_sha256=label).save(path, *dtypes)
    if Patterns.load(path).digest != old.digest:
        sys.exit(f"{path}: its patterns have changed, which is a mistake; get the old file back")
    sys.stdout.write(f"{path}: {old.model_sha256[:12]} is now {label[:12]}; patterns as they were, {old.digest[:12]}\n")


def main() -> None:
    """Draw each picture once, for both networks; write."""
    settings = options()
    if settings.label:
        for name in NAMES:
            label(name, settings.out)
        return
    torch.set_num_threads(settings.threads)
    fitters = {name: Fitter(trained(name), settings.estimator) for name in NAMES}
    tenth = max(1, settings.pictures // 10)
    done = 0
    for x in batches(settings.pictures, settings.batch, settings.seed):
        for fitter in fitters.values():
            fitter.add(x)
        if done // tenth < (done + len(x)) // tenth or not done:
            sys.stderr.write(f"{done + len(x)} pictures, {resident()} of memory\n")
        done += len(x)
    for name, fitter in fitters.items():
        patterns = fitter.patterns()
        path = settings.out / f"{name}.patterns.safetensors"
        patterns.save(path, torch.float16)  # maps differ from those of float32 by 3e-4
        sys.stdout.write(f"{path}: {len(patterns.layers)} layers, {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
