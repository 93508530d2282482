"""``relprop reproduce``: the paper's study with one command, on what data there is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from relprop.commands.compare import grid, telling
from relprop.commands.console import waiting
from relprop.commands.study import Request, measure
from relprop.plots.heatmaps import render
from relprop.study import report as reports
from relprop.study import tables
from relprop.study.claims import Claim
from relprop.study.measured import load
from relprop.support.files import write_whole


@dataclass(frozen=True)
class Sources:
    """Where the paper's data and weights are, as typed; none: the embedded data and networks.

    Attributes:
        voc_root: PASCAL VOC 2007.
        voc_model, voc_weights: the network for it, by name, and its weights.
        voc_class_map: which outputs mean which class, where the network was not trained on VOC.
        imagenet_root: ImageNet's validation pictures.
        imagenet_weights: of VGG-16.
        imagenet_model: another network than VGG-16.
        imagenet_annotations, imagenet_index, imagenet_ground_truth, imagenet_synsets: as `relprop.data.imagenet`
            has them.
    """

    voc_root: Path | None = None
    voc_model: str = "caffenet"
    voc_weights: str | None = None
    voc_class_map: Path | None = None
    imagenet_root: Path | None = None
    imagenet_model: str = "vgg16"
    imagenet_weights: str | None = None
    imagenet_annotations: Path | None = None
    imagenet_index: Path | None = None
    imagenet_ground_truth: Path | None = None
    imagenet_synsets: Path | None = None


def requests(sources: Sources, base: Request) -> list[Request]:
    """The studies to run, each with the limits and the hardware of `base`, in a folder of its own in base.out."""
    found: list[Request] = []
    if sources.voc_root:
        voc = replace(base, data="voc", root=sources.voc_root, model=sources.voc_model, weights=sources.voc_weights)
        found.append(replace(voc, class_map=sources.voc_class_map, out=base.out / "voc2007"))
    if sources.imagenet_root:
        model, weights = sources.imagenet_model, sources.imagenet_weights
        imagenet = replace(base, data="imagenet", root=sources.imagenet_root, model=model, weights=weights)
        found.append(
            replace(
                imagenet,
                annotations=sources.imagenet_annotations,
                index=sources.imagenet_index,
                ground_truth=sources.imagenet_ground_truth,
                synsets=sources.imagenet_synsets,
                out=base.out / "imagenet",
            )
        )
    return found or [replace(base, model=model, out=base.out / model) for model in ("digits-shallow", "digits-deep")]


def reproduce(sources: Sources, base: Request, *, as_json: bool) -> None:
    """Measure, draw, report, and print Table I, the models' accuracy and what became of the claims."""
    folders: list[Path] = []
    out = base.out
    for request in requests(sources, base):
        task, _ = measure(request, request.out.name)
        with waiting("drawing heat maps"):
            for index in telling(task):
                drawn = render(grid(task, index), dpi=110)
                name = f"{request.out.name}-{task.data[index].id}".replace("/", "_")
                write_whole(out / "report" / reports.GRIDS / f"{name}.png", drawn)
        folders.append(request.out)
    with waiting("writing the report"):
        written = reports.report(folders, out / "report")
    if as_json:
        print(json.dumps(_as_data(written), indent=2))  # noqa: T201 - the result
        return
    for folder, (name, claims) in zip(folders, written.claims.items(), strict=True):
        study = load(folder)
        print(f"\n{name}\n")  # noqa: T201
        for table in (tables.accuracy(study), tables.localisation(study)):
            print(tables.markdown(table) + "\n")  # noqa: T201
        print("\n".join(_line(claim) for claim in claims))  # noqa: T201
    print(f"\nwrote {written.page} and {len(written.files) - 1} tables and figures beside it")  # noqa: T201


def _line(claim: Claim) -> str:
    verdict = {True: "held", False: "NOT held", None: "not measurable"}[claim.held]
    return f"{claim.number:2d}. {verdict}: {claim.text}\n    {claim.figures}"


def _as_data(written: reports.Report) -> dict[str, object]:
    return {
        "page": str(written.page),
        "files": [str(path) for path in written.files],
        "claims": {
            name: [{"number": c.number, "text": c.text, "held": c.held, "figures": c.figures} for c in claims]
            for name, claims in written.claims.items()
        },
    }
