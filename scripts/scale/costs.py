"""What a picture costs in a study, by what it is spent on: milliseconds of one core, nothing else of the machine.

    python -m scripts.scale.costs --networks squeezenet1_0 resnet50 vgg16 --number 4

Untrained networks of torchvision on photographs of 500 x 375 pixels made here, an object on each; all methods at once.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from relprop.data.folder import folder
from relprop.data.geometry import like
from relprop.data.preprocess import Preprocess
from relprop.study import runner
from relprop.study.task import Task

PAPER = ("cmp-alpha2-flat", "cmp-alpha2", "cmp-alpha1-flat", "cmp-alpha1", "lrp-alpha2", "lrp-alpha1", "lrp-z")
METHODS = {"cmp-alpha1-flat": ("cmp-alpha1-flat",), "the paper's eight": (*PAPER, "lrp-epsilon")}
BOX = (
    "<object><name>thing</name><bndbox><xmin>100</xmin><ymin>90</ymin><xmax>300</xmax><ymax>280</ymax></bndbox>"
    "</object>"
)


def photographs(place: Path, number: int) -> None:
    """Write pictures with a box each."""
    for k in range(number):
        small = np.random.default_rng(k).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC).save(place / f"{k}.jpg", quality=90)
        size = "<size><width>500</width><height>375</height><depth>3</depth></size>"
        (place / f"{k}.xml").write_text(f"<annotation>{size}{BOX}</annotation>", encoding="utf-8")


def main() -> None:
    """Print a row per network and choice of methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["squeezenet1_0", "resnet50", "vgg16"])
    parser.add_argument("--number", type=int, default=4, help="Pictures, all in one batch and one part.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # what the study's clock reads: of a busy machine only the time that is ours
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "pictures").mkdir()
        photographs(place / "pictures", asked.number)
        data = folder(place / "pictures", None)
        for network in asked.networks:
            torch.manual_seed(0)
            model = torchvision.models.get_model(network, weights=None).eval()
            model.preprocess = Preprocess(crop=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
            for called, methods in {"to warm up": ("lrp-z",), **METHODS}.items():
                task = Task(
                    name="costs",
                    data=data,
                    model=model,
                    model_name=network,
                    geometry=like(model.preprocess),
                    targets={"thing": (3,)},
                    methods=methods,
                    occlusion=False,
                )
                clock = runner.run(task, place / f"{network}-{len(methods)}", batch=asked.number)
                if called == "to warm up":
                    continue
                each = {what: 1000 * seconds / asked.number for what, seconds in clock.spent.items()}
                print(network, called, {what: round(ms, 1) for what, ms in each.items()}, flush=True)


if __name__ == "__main__":
    main()
