"""``relprop explain``: a picture in, its heat maps out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from relprop.commands.asked import Explained, opened, region
from relprop.commands.console import waiting
from relprop.commands.look import accounts, look
from relprop.commands.named import OF_THE_SAMPLE
from relprop.commands.options import read_region
from relprop.commands.picture_requests import PictureRequest
from relprop.commands.preparation import in_words
from relprop.data.pictures import open_picture
from relprop.plots.heatmaps import FORMATS, heatmaps, render
from relprop.plots.outlines import demand_within
from relprop.support.account import noted
from relprop.support.arrays import array_path, npy
from relprop.support.errors import InputError
from relprop.support.files import WriteError, demand_other, write_whole

TOP = 5
"""How many of the highest logits are reported."""


def run(request: PictureRequest, highest: int = 1, done: str = "explained") -> None:
    """Explain, write the files, and print what was found, even where a file could not be written.

    Args:
        request: the picture, the network, the methods and the rest.
        highest: how many of the highest classes are explained where none is named.
        done: what names the files: "explained" or "compared".

    Raises:
        RelpropError: with one line that says what to mend.
    """
    figure_path = figure_path_of(request, done)
    demand_other(figure_path, [Path(source) for source in (request.picture, request.weights) if source])
    explained, prepared = _explained(request, highest)
    with waiting("drawing"):
        files = _files(request, explained, figure_path)
    report = _report(request, explained, prepared)
    try:
        for path, content in files.items():
            write_whole(path, content)
            report["files"].append(str(path))
    finally:
        print(json.dumps(report, indent=2) if request.json else _as_text(report))  # noqa: T201 - the result


def _explained(request: PictureRequest, highest: int) -> tuple[Explained, str]:
    """Load the picture and the network, and explain; how the picture was prepared comes with it, in words."""
    image = _picture(request.picture)
    asked = opened(request, highest)
    x = asked.preprocess(image)[None].to(asked.device)
    with waiting("explaining"):
        (explained,) = asked.explain(x, [np.asarray(asked.preprocess.picture(image))])
    explained.demand_finite(request.model)
    return explained, in_words(asked.preprocess)


def _picture(path: Path | None) -> Image.Image:
    if path is not None:
        return open_picture(path)
    from relprop.data.clutter import sample_picture  # noqa: PLC0415 - scikit-learn is slow to import

    return Image.fromarray(sample_picture().image)


def kind_of(request: PictureRequest) -> str:
    """What kind of figure is written where no file is named.

    Raises:
        WriteError: there is no such one.
    """
    kind = (request.format or "png").lower()
    if kind not in FORMATS:
        raise WriteError(f"--format {request.format}: no kind of figure that can be written: {', '.join(FORMATS)}")
    return kind


def figure_path_of(request: PictureRequest, done: str = "explained") -> Path:
    """Where the figure goes: `out` if that names a file, or else into the folder that it names."""
    kind = kind_of(request)
    name = f"{request.picture.stem}-{done}.{kind}" if request.picture else f"{OF_THE_SAMPLE[done]}.{kind}"
    out = request.out or Path()
    if out.is_dir() or not (out.suffix or out.exists()):
        return out / name
    if out.suffix and out.suffix[1:].lower() not in FORMATS:
        raise WriteError(f"{out}: not a kind of figure that can be written; end it with .{', .'.join(FORMATS)}")
    return out


def _files(request: PictureRequest, explained: Explained, figure_path: Path) -> dict[Path, bytes]:
    """Content by path: the figure, and the maps if they are wanted."""
    files = {figure_path: drawn(request, explained, figure_path.suffix[1:].lower() or "png")}
    return files | (arrays(explained, figure_path) if request.raw else {})


def drawn(request: PictureRequest, explained: Explained, kind: str = "png") -> bytes:
    """The figure of a picture: a row for each class, a column for each method, colour bars.

    Raises:
        InputError: a box lies beside the picture.
    """
    titles = [_title(explained, index) for index in explained.targets]
    boxes = [read_region(box) for box in request.boxes]
    try:
        demand_within(boxes, explained.seen.shape[:2])
    except ValueError as error:
        raise InputError(f"--box: {error}") from None
    figure = heatmaps(
        explained.seen,
        titles,
        explained.maps,
        region(request),
        view=look(request),
        accounts=accounts(explained),
        boxes=[boxes] * len(titles),
    )
    return render(figure, kind)


def _title(explained: Explained, index: int) -> str:
    """What a row explains, and a note where the network says no."""
    logit = explained.logits[index]
    number = f"{logit:.4g}".replace("-", "\N{MINUS SIGN}")
    return noted(f"{explained.classes[index]} (class {index}), logit {number}", logit, tuple(explained.maps))


def arrays(explained: Explained, figure_path: Path) -> dict[Path, bytes]:
    """Each method's maps (T, C, H, W) as a file, beside the figure."""
    number = len(explained.maps)
    return {array_path(figure_path, method, number): npy(maps) for method, maps in explained.maps.items()}


def _report(request: PictureRequest, explained: Explained, prepared: str) -> dict[str, Any]:
    """Everything but the maps, ready to become JSON."""
    return {
        "picture": str(request.picture) if request.picture else "embedded sample",
        **about(request, prepared),
        "top": [explained.named(index) for index in explained.highest(TOP)],
        "explanations": rows(explained),
        "files": [],
    }


def about(request: PictureRequest, prepared: str) -> dict[str, Any]:
    """What is the same for all pictures."""
    place = region(request)
    return {
        "model": request.model,
        "profile": request.profile,
        "prepared": prepared,
        **({"region": list(place)} if place else {}),
    }


def rows(explained: Explained) -> list[dict[str, Any]]:
    """What there is to say of each map: class by class, and method by method."""
    return [
        explained.named(index)
        | {"method": method, "relevance_sum": float(maps[row].sum(dtype=np.float64))}
        | explained.accounts[method][row]
        for row, index in enumerate(explained.targets)
        for method, maps in explained.maps.items()
    ]


def _as_text(report: dict[str, Any]) -> str:
    lines = [f"{report['picture']}, {report['model']}", f"prepared: {report['prepared']}"]
    if "region" in report:
        lines.append(f"explained: the mean logit of the region {','.join(map(str, report['region']))}")
    lines += ["", "     logit  class"]
    lines += [f"{top['logit']:10.4f}  {top['class']} ({top['index']})" for top in report["top"]]
    lines += ["", " relevance   to biases  conservation error"]
    for row in report["explanations"]:
        numbers = f"{_short(row['relevance_sum'])}  {_or_dash(row['bias'], '10.4f')}"
        numbers += f"  {_or_dash(row['conservation_error'], '18.1e')}"
        lines.append(f"{numbers}  {row['class']} ({row['index']}), {row['method']}")
    if report["files"]:
        lines += ["", *(f"wrote {path}" for path in report["files"])]
    return "\n".join(lines)


def _short(number: float) -> str:
    """A number of any size in ten places."""
    return f"{number:10.4f}" if number == 0 or 1e-2 <= abs(number) < 1e5 else f"{number:10.3g}"


def _or_dash(number: float | None, form: str) -> str:
    """A number, or a dash in its place."""
    return format("-", ">" + form.split(".", maxsplit=1)[0]) if number is None else format(number, form)
