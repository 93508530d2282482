"""``relprop reproduce``: the paper's study with one command, on what data there is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from relprop.commands.compare import looked_at, with_several_classes
from relprop.commands.console import waiting
from relprop.commands.requests import ReproduceRequest, StudyRequest
from relprop.commands.study import measure
from relprop.plots.heatmaps import render
from relprop.study import report as reports
from relprop.study import tables
from relprop.study.results import read_study
from relprop.study.verdict import Claim, Verdict
from relprop.support.files import write_whole
from relprop.support.tables import folded

EMBEDDED_NETWORKS = ("digits-shallow", "digits-deep")


def studies(request: ReproduceRequest) -> list[StudyRequest]:
    """The studies to run, each with the limits and the hardware of the request, in a folder of its own in its `out`."""
    whole = (1, 1)  # whatever the surroundings say: the report is of all
    base = StudyRequest(
        shard=whole, limit=request.limit, batch=request.batch, device=request.device, threads=request.threads
    )
    found: list[StudyRequest] = []
    if request.voc_root:
        found.append(
            replace(
                base,
                data="voc",
                root=str(request.voc_root),
                model=request.voc_model,
                weights=request.voc_weights,
                class_map=request.voc_class_map,
                out=request.out / "voc2007",
            )
        )
    if request.imagenet_root:
        found.append(
            replace(
                base,
                data="imagenet",
                root=str(request.imagenet_root),
                model=request.imagenet_model,
                weights=request.imagenet_weights,
                annotations=str(request.imagenet_annotations) if request.imagenet_annotations else None,
                index=request.imagenet_index,
                ground_truth=request.imagenet_ground_truth,
                synsets=request.imagenet_synsets,
                out=request.out / "imagenet",
            )
        )
    return found or [replace(base, model=model, out=request.out / model) for model in EMBEDDED_NETWORKS]


def run(request: ReproduceRequest) -> None:
    """Measure, draw, report, and print Table I, the models' accuracy and what became of the claims."""
    folders: list[Path] = []
    out = request.out
    for study in studies(request):
        task, _ = measure(study, study.out.name)
        with waiting("drawing heat maps"):
            for index in with_several_classes(task):
                looked = looked_at(task, index)
                name = f"{study.out.name}-{task.data[index].id}".replace("/", "_")
                place = out / "report" / reports.GRIDS / name
                write_whole(Path(f"{place}.png"), render(looked.figure(), dpi=110))
                if held := looked.closer(name):
                    write_whole(Path(f"{place}.html"), held.encode())
        folders.append(study.out)
    with waiting("writing the report"):
        written = reports.report(folders, out / "report")
    if request.json:
        print(json.dumps(_as_data(written), indent=2))  # noqa: T201 - the result
        return
    for folder, (name, claims) in zip(folders, written.claims.items(), strict=True):
        results = read_study(folder)
        print(f"\n{name}\n")  # noqa: T201
        for table in (tables.accuracy(results), tables.localisation(results)):
            print(f"{tables.shown(table)}\n\n{folded(table.caption)}\n\n")  # noqa: T201
        print("\n".join(map(_line, claims)))  # noqa: T201
    print(f"\nwrote {written.page} and {len(written.files) - 1} tables and figures beside it")  # noqa: T201


def _line(claim: Claim) -> str:
    verdict = "NOT held" if claim.verdict is Verdict.NOT_HELD else claim.verdict
    return folded(f"{claim.number:2d}. {verdict}: {claim.text}\n    {claim.figures}")


def _as_data(written: reports.Report) -> dict[str, object]:
    return {
        "page": str(written.page),
        "files": [str(path) for path in written.files],
        "unfinished": written.unfinished,
        "claims": {name: [claim.as_data() for claim in claims] for name, claims in written.claims.items()},
    }
