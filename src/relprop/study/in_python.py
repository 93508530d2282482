"""A study from Python, as `relprop study` and `relprop report` make it: what `rp.study` is for users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from relprop.data.entries import Dataset
from relprop.data.geometry import Geometry, like
from relprop.data.preprocess import Preprocess
from relprop.study import runner
from relprop.study.claims import claims
from relprop.study.report import Report, report
from relprop.study.results import Study, read_study
from relprop.study.task import Task, class_targets
from relprop.study.verdict import Claim
from relprop.support.errors import InputError


def run(
    model: nn.Module,
    data: Dataset,
    folder: Path | str,
    methods: Sequence[str] = (),
    *,
    class_map: Mapping[str, Sequence[int]] | None = None,
    geometry: Geometry | None = None,
    name: str = "",
    batch: int = 16,
    shard: tuple[int, int] = (1, 1),
    device: str = "cpu",
    workers: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
    **settings: Any,
) -> Study:
    """Measure how well methods find the objects of a data set, or continue, and return what is there.

    Args:
        model: with `.preprocess` and `.classes`, as `relprop.models.load` returns it.
        data: pictures with boxes, such as `relprop.data.embedded.embedded(number=100)` or
            `relprop.data.folder.folder(root, annotations)`.
        folder: of the study, begun here or continued: see `relprop.study.store`.
        methods: names as `rp.methods()` lists them; none: the paper's and what they are compared with.
        class_map: for each class of the data the model's outputs that mean it; None: classes of the same name.
        geometry: how picture and boxes are brought to the network's input; None: as the model's own `.preprocess` does.
            The paper's ways are `relprop.data.geometry.warp` and `shortest_side`.
        name: what the network is called in `run.json` and reports; without it as its class.
        batch: pictures at once.
        shard: (i, n): the i-th of n shares, for several processes.
        device: where to compute.
        workers: processes that read pictures ahead; None: as many as seem worth it (`relprop.data.prefetch.chosen`).
        progress: called first with the number of pictures that earlier runs have measured, then with each batch's.
        **settings: further fields of `relprop.study.task.Task`, such as `limit`, `occlusion`, `profile` and `seed`.

    Raises:
        InputError: the model says nothing of its preprocessing or classes, or they are not the data's.
        StudyError: the folder holds another study, or cannot be written to.

    Example:
        >>> import relprop as rp
        >>> from relprop.data.embedded import embedded
        >>> model, data = rp.models.load("digits-shallow"), embedded(number=4)
        >>> study = rp.study.run(model, data, "results", ["cmp-alpha2-flat", "uniform"], measures=[])
        >>> len(study.indices), study.methods
        (4, ('cmp-alpha2-flat', 'uniform'))
    """
    preprocess, classes = getattr(model, "preprocess", None), getattr(model, "classes", None)
    if not isinstance(preprocess, Preprocess) or classes is None:
        raise InputError(
            f"{type(model).__name__} has no .preprocess or no .classes; load it with relprop.models.load, or set both"
        )
    called = name or type(model).__name__
    task = Task(
        name=f"{called} on {data.name}",
        data=data,
        model=model,
        model_name=called,
        geometry=like(preprocess) if geometry is None else geometry,
        targets=class_targets(data.classes, classes, class_map),
        methods=tuple(methods),
        **settings,
    )
    runner.run(task, Path(folder), batch=batch, shard=shard, device=device, workers=workers, progress=progress)
    return read_study(Path(folder))


def read(folder: Path | str) -> Study:
    """Return a study from its folder, whoever measured it.

    Raises:
        StudyError: there is none, nothing is measured yet, or a file is damaged.

    Example:
        >>> import relprop as rp
        >>> study = rp.study.read("results")  # as `run` left them there
        >>> study.methods
        ('cmp-alpha2-flat', 'uniform')
    """
    return read_study(Path(folder))


def judge(study: Study, other: Study | None = None) -> list[Claim]:
    """Return what becomes of the paper's eleven claims on this data: each has a `verdict`, and the figures for it.

    Args:
        study: as `run` and `read` return it.
        other: of a network of another depth, on the same methods, which the sixth claim needs.

    Example:
        >>> import relprop as rp
        >>> claims = rp.study.judge(rp.study.read("results"))
        >>> len(claims), str(claims[2].verdict)  # of four pictures
        (11, 'not measurable')
    """
    return claims(study, other)


def write_report(folders: Path | str | Sequence[Path | str], out: Path | str, by: str | None = None) -> Report:
    """Write tables, figures and the page of a study or several, and return where they are.

    Args:
        folders: of the studies; on a second network of another depth the sixth claim can be told.
        out: where to.
        by: ``"sign"`` to split Table I on the page by the sign of the logit.

    Raises:
        StudyError: there is no study, or nothing is measured yet.
        InputError: tables cannot be split by that.

    Example:
        >>> import relprop as rp
        >>> written = rp.study.write_report("results", "report")
        >>> written.page.name
        'report.html'
    """
    several = [folders] if isinstance(folders, (str, Path)) else folders
    return report([Path(each) for each in several], Path(out), by)
