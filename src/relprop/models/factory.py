"""Networks of the user's own: ``package.module:factory`` is imported and called."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from relprop.data.preprocess import Preprocess
from relprop.models import checkpoints, weight_files
from relprop.models.checkpoints import ModelError
from relprop.models.extras import first_line
from relprop.suggest import did_you_mean, nearest

FORM = "package.module:factory"
EXAMPLE = """\
    from relprop.models import Preprocess
    network.preprocess = Preprocess(crop=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network.classes = ("cat", "dog")  # a name per logit"""
"""What a factory has to add to a network."""

_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def owns(name: str) -> bool:
    """Return whether a name is of this form."""
    return _NAME.fullmatch(name) is not None


def needs(name: str) -> str:
    """Say what loading a network takes."""
    del name
    return "a function of yours that returns it, with .preprocess and .classes"


def load(name: str, weights: str | Path | None) -> tuple[nn.Module, Preprocess, tuple[str, ...]]:
    """Import a module and call what it names, or take that if it is a network.

    Args:
        name: ``package.module:factory``; the current folder is searched first, as ``python -m`` does.
        weights: None or ``"random"``: as the factory made it; or a file, fitted into that.

    Returns:
        The network, its preprocessing and its classes, which it has as attributes.

    Raises:
        ModelError: nothing of that name; importing or calling it failed; it gave no network, or one without those
            attributes; a file that does not fit.
    """
    place, _, attribute = name.partition(":")
    with _current_folder_first():
        network = _made(_attribute(_module(place, name), attribute, name), name)
    if weights is None or weights == "random":
        return network, *_told(network, name)
    found = weight_files.to_load(weights, name, ["random"])
    checkpoints.fit(network, found.state, found.source, name)
    if found.preprocess and found.classes:
        return network, found.preprocess, found.classes
    return network, *_told(network, name)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Search the current folder before all others while the block runs."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _module(place: str, name: str) -> ModuleType:
    if place.endswith(".py"):
        stem = place.removesuffix(".py")
        raise ModelError(f"{name}: a module is named without .py; did you mean {stem}:{name.partition(':')[2]}?")
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise ModelError(f"{name}: importing {place} failed ({_where(error)})") from error
        beside = [path.stem for path in Path.cwd().glob("*.py")]
        beside += [path.name for path in Path.cwd().iterdir() if path.is_dir() and path.name.isidentifier()]
        found = nearest(place, [*beside, "timm", "hf"], most=1)
        remedy = f"did you mean {found[0]}?" if found else "name one of the current folder, or install it"
        raise ModelError(f"{name}: no module {error.name!r}; {remedy}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(f"{name}: importing {place} failed ({_where(error)})") from error


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            theirs = [key for key, value in vars(found).items() if not key.startswith("_") and callable(value)]
            where = getattr(found, "__name__", type(found).__name__)
            raise ModelError(f"{name}: no {part!r} in {where}{did_you_mean(part, theirs)}")
        found = getattr(found, part)
    return found


def _made(found: Any, name: str) -> nn.Module:
    """The network that the name stands for."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ModelError(f"{name}: {type(found).__name__}, neither a network nor a function that returns one")
    try:
        network = found()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(f"{name}: calling it without arguments failed ({_where(error)})") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{name}: it returned {type(network).__name__}, not a torch.nn.Module")
    return network


def _told(network: nn.Module, name: str) -> tuple[Preprocess, tuple[str, ...]]:
    """What a network says of its input and its output.

    Raises:
        ModelError: nothing, or something else; with an example.
    """
    preprocess, classes = getattr(network, "preprocess", None), getattr(network, "classes", None)
    good = isinstance(classes, (tuple, list)) and classes and all(isinstance(label, str) for label in classes)
    wrong = [
        *([] if isinstance(preprocess, Preprocess) else [f"network.preprocess is {_kind(preprocess)}"]),
        *([] if good else [f"network.classes is {_kind(classes)}"]),
    ]
    if not isinstance(preprocess, Preprocess) or not isinstance(classes, (tuple, list)) or wrong:
        raise ModelError(f"{name}: {' and '.join(wrong)}; set both before it is returned, such as\n{EXAMPLE}")
    return preprocess, tuple(classes)


def _kind(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__}, not what it should be"


def _where(error: BaseException) -> str:
    """What went wrong, and where in the user's code: one line."""
    first, kind = first_line(error), type(error).__name__
    told = kind if first == kind else f"{kind}: {first}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{told}, {Path(error.filename).name} line {error.lineno}"
    last = frames[-1] if frames and frames[-1].filename != __file__ else None
    return f"{told}, {Path(last.filename).name} line {last.lineno}" if last else told
