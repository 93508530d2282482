"""``relprop explain``: a picture in, its heat maps out."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image

import relprop as rp
from relprop.commands.answer import demand_answer
from relprop.commands.console import waiting
from relprop.commands.preparation import in_words
from relprop.commands.requests import PictureRequest
from relprop.data.pictures import open_picture
from relprop.models.networks.regional import Box, Regional
from relprop.models.registry import load
from relprop.plots.heatmaps import FORMATS, heatmaps, render
from relprop.propagate import GROWN
from relprop.support.class_names import class_index
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import WriteError, demand_other, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relprop.data.preprocess import Preprocess
    from relprop.walk.ledger import Ledger

TOP = 5
"""How many of the highest logits are reported."""


@dataclass(frozen=True)
class Explained:
    """What a request led to.

    Attributes:
        seen: (H, W, 3) uint8, the picture as the network saw it.
        prepared: how it was made so, in words.
        classes: a name per logit.
        logits: of the picture.
        targets: T indices of the classes explained.
        maps: (T, C, H, W) float32 by method.
        ledgers: where relevance went, by method.
    """

    seen: NDArray[np.uint8]
    prepared: str
    classes: tuple[str, ...]
    logits: list[float]
    targets: list[int]
    maps: dict[str, NDArray[np.float32]]
    ledgers: dict[str, Ledger]

    def named(self, index: int) -> dict[str, Any]:
        """Describe a class, for the report."""
        return {"index": index, "class": self.classes[index], "logit": self.logits[index]}


def run(request: PictureRequest, highest: int = 1) -> None:
    """Explain, write the files, and print what was found, even where a file could not be written.

    Args:
        request: the picture, the network, the methods and the rest.
        highest: how many of the highest classes are explained where none is named.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    figure_path = figure_path_of(request)
    demand_other(figure_path, [Path(source) for source in (request.picture, request.weights) if source])
    explained = _explained(request, highest)
    with waiting("drawing"):
        files = _files(request, explained, figure_path)
    report = _report(request, explained)
    try:
        for path, content in files.items():
            write_whole(path, content)
            report["files"].append(str(path))
    finally:
        print(json.dumps(report, indent=2) if request.json else _as_text(report))  # noqa: T201 - the result


def _explained(request: PictureRequest, highest: int) -> Explained:
    """Load the network and the picture, and explain."""
    if request.threads:
        torch.set_num_threads(request.threads)
    image = _picture(request.picture)
    model = on_device(load(request.model, request.weights), request.device)
    preprocess = cast("Preprocess", model.preprocess)
    classes = cast("tuple[str, ...]", model.classes)
    x = preprocess(image)[None].to(request.device)
    region = _region(request)
    if region:
        model = Regional(model, region)
    demand_answer(model, request.model, x, classes)
    named = list(dict.fromkeys(class_index(word, classes) for word in request.targets))
    asked = list(dict.fromkeys(request.methods)) or None

    def top(logits: torch.Tensor) -> torch.Tensor:
        return logits.topk(min(highest, logits.shape[1])).indices.T

    with waiting("explaining"):
        explanation = rp.explain(model, x, targets=named or top, methods=asked, profile=request.profile, check=True)
    explained = Explained(
        seen=np.asarray(preprocess.picture(image)),
        prepared=in_words(preprocess),
        classes=classes,
        logits=explanation.outputs[0].tolist(),
        targets=explanation.targets[:, 0].tolist(),
        maps={method: R[:, 0].float().cpu().numpy() for method, R in explanation.relevance.items()},
        ledgers=explanation.ledger,
    )
    for method, maps in explained.maps.items():
        if not np.isfinite(maps).all():
            raise RelpropError(f"{method}: its map of {request.model} is not finite; {GROWN}")
    return explained


def _picture(path: Path | None) -> Image.Image:
    if path is not None:
        return open_picture(path)
    from relprop.data.clutter import sample_picture  # noqa: PLC0415 - scikit-learn is slow to import

    return Image.fromarray(sample_picture().image)


def _region(request: PictureRequest) -> Box | None:
    """The place of the map that is explained, where one is named."""
    if request.pixel and request.region:
        raise InputError("--pixel and --region were both named; give one of them")
    if request.pixel:
        x, y = request.pixel
        return x, y, x + 1, y + 1
    return request.region


def on_device(model: torch.nn.Module, device: str) -> torch.nn.Module:
    """Bring a network to where it is to be computed.

    Raises:
        RelpropError: there is no such place.
    """
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RelpropError(f"device {device!r} cannot be used here ({reason}); try --device cpu") from None
    return model.to(device)


def figure_path_of(request: PictureRequest) -> Path:
    """Where the figure goes: `out` if that names a file, or else into the folder that it names."""
    name = f"{request.picture.stem}-explained.png" if request.picture else "relprop-explain.png"
    out = request.out or Path()
    if out.is_dir() or not (out.suffix or out.exists()):
        return out / name
    if out.suffix and out.suffix[1:].lower() not in FORMATS:
        raise WriteError(f"{out}: not a kind of figure that can be written; end it with .{', .'.join(FORMATS)}")
    return out


def _files(request: PictureRequest, explained: Explained, figure_path: Path) -> dict[Path, bytes]:
    """Content by path: the figure, and the maps if they are wanted."""
    titles = [f"{explained.classes[i]} (class {i}), logit {explained.logits[i]:.4g}" for i in explained.targets]
    figure = heatmaps(explained.seen, titles, explained.maps, _region(request))
    files = {figure_path: render(figure, figure_path.suffix[1:].lower() or "png")}
    if request.raw:
        for method, maps in explained.maps.items():
            buffer = io.BytesIO()
            np.save(buffer, maps)
            files[raw_path(figure_path, method, len(explained.maps))] = buffer.getvalue()
    return files


def raw_path(figure_path: Path, method: str, methods: int) -> Path:
    """``cat-explained.npy``, or with several methods ``cat-explained.lrp-z.npy`` and so on."""
    if methods == 1:
        return figure_path.with_suffix(".npy")
    plain = re.sub(r"[^\w.,=+-]", "_", method)  # what every file system takes
    return figure_path.with_name(f"{figure_path.stem}.{plain}.npy")


def _report(request: PictureRequest, explained: Explained) -> dict[str, Any]:
    """Everything but the maps, ready to become JSON."""
    highest = torch.tensor(explained.logits).topk(min(TOP, len(explained.logits))).indices.tolist()
    explanations = [
        explained.named(index)
        | {
            "method": method,
            "relevance_sum": float(maps[row].sum(dtype=np.float64)),
        }
        | accounts(explained.ledgers.get(method), row)
        for row, index in enumerate(explained.targets)
        for method, maps in explained.maps.items()
    ]
    return {
        "picture": str(request.picture) if request.picture else "embedded sample",
        "model": request.model,
        "profile": request.profile,
        "prepared": explained.prepared,
        **({"region": list(region)} if (region := _region(request)) else {}),
        "top": [explained.named(index) for index in highest],
        "explanations": explanations,
        "files": [],
    }


def accounts(ledger: Ledger | None, row: int, of: int = 0) -> dict[str, float | None]:
    """What the sum of relevance lacks of the logit; nothing for methods that conserve nothing, as gradients do.

    Args:
        ledger: of the method.
        row: which target.
        of: which picture, or text.
    """
    columns = ("bias", "eps", "lost")
    if ledger is None:
        return dict.fromkeys(("conservation_error", *columns))
    return {"conservation_error": ledger.error, **{c: float(ledger.sum(c)[row, of]) for c in columns}}


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
