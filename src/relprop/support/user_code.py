"""Code of the user's: ``package.module:name`` is imported, and what goes wrong in it is said in one line."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from relprop.support.errors import RelpropError
from relprop.support.files import near
from relprop.support.suggest import did_you_mean, nearest

FAILURES = (Exception, SystemExit)
"""What the user's code may raise that counts as its failure; Ctrl-C stays Ctrl-C."""

_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_OURS = str(Path(__file__).parent.parent)
_INSTALLED = tuple(sysconfig.get_paths()[where] for where in ("stdlib", "platstdlib", "purelib", "platlib"))


class UserCodeError(RelpropError):
    """There is nothing of that name, or importing it failed; the message is for whoever knows what it was to be."""


def is_name(text: str) -> bool:
    """Return whether a text is of the form ``package.module:name``, of which the name may have dots."""
    return _NAME.fullmatch(text) is not None


def meant_by_path(text: str) -> str:
    """Return ``"; did you mean nets:build?"`` where a text names a module by its file, else ``""``.

    Args:
        text: as typed, such as ``./nets.py:build``, ``folder/nets.py`` or ``folder/nets:build``.
    """
    path, colon, name = text.replace("\\", "/").rpartition(":")
    place = Path(path if colon and "/" not in name else text.replace("\\", "/"))
    file = place if place.suffix == ".py" else place.with_name(f"{place.name}.py") if place.name else place
    if place.suffix != ".py" and not file.is_file():
        return ""
    if not file.is_file():
        return f": there is no file {file}{near(file) or '; check the path'}"
    wanted = name if colon and name else "FUNCTION"
    folder, module = Path.cwd().resolve(), file.resolve().with_suffix("")
    if module.is_relative_to(folder):
        return f"; did you mean {'.'.join(module.relative_to(folder).parts)}:{wanted}?"
    return f"; did you mean {module.name}:{wanted}, from the folder {module.parent}?"


def find(name: str, others: Iterable[str] = ()) -> Any:
    """Import a module and return what stands in it under a name.

    Args:
        name: ``package.module:name``.
        others: what else could have been meant, where there is no such module.

    Raises:
        UserCodeError: no such module, or nothing of that name in it, with the near one; or importing it failed.
    """
    place, _, attribute = name.partition(":")
    if place.endswith(".py"):
        raise UserCodeError(f"a module is named without .py; did you mean {place.removesuffix('.py')}:{attribute}?")
    import_module(place, others)
    try:
        return pkgutil.resolve_name(name)
    except AttributeError as error:
        holder, part = error.obj, str(error.name)
    there = [k for k, v in getattr(holder, "__dict__", {}).items() if not _hidden(k, v)]
    where = getattr(holder, "__file__", None) or getattr(holder, "__name__", type(holder).__name__)
    raise UserCodeError(f"no {part!r} in {where}{did_you_mean(part, there)}")


def _hidden(name: str, value: object) -> bool:
    """Whether nobody means it: what is private, and modules that a module imports."""
    return name.startswith("_") or isinstance(value, ModuleType)


def import_module(place: str, others: Iterable[str] = ()) -> ModuleType:
    """Import the module ``package.module``; arguments and errors as for `find`."""
    try:
        with current_folder_first():
            importlib.invalidate_caches()
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise UserCodeError(f"importing {place} failed: {in_one_line(error)}") from error
        beside = [path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or path.is_dir()]
        near = nearest(place, [*others, *filter(str.isidentifier, beside), *_within(error.name.rpartition(".")[0])], 1)
        remedy = f"did you mean {near[0]}?" if near else "name one of the current folder, or install it"
        raise UserCodeError(f"no module {error.name!r}; {remedy}") from None
    except RelpropError:
        raise
    except FAILURES as error:
        raise UserCodeError(f"importing {place} failed: {in_one_line(error)}") from error


def _within(package: str) -> list[str]:
    """The modules of a package that was imported."""
    places = getattr(sys.modules.get(package), "__path__", [])
    return [f"{package}.{module.name}" for module in pkgutil.iter_modules(places)]


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Search the current folder for modules before all others while the block runs, as ``python -m`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:  # the user's code may have taken it away
            sys.path.remove(here)


def in_one_line(error: BaseException) -> str:
    """Return in one line what went wrong, and where: in their own code, else in what is installed."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    line = f"{kind}: {text}" if text else kind
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(("<frozen", _OURS))]
    last = ([f for f in frames if not f.filename.startswith(_INSTALLED)] or frames)[-1:]
    if isinstance(error, SyntaxError) or not last:  # the first tells its place itself
        return line
    return f"{line} ({Path(last[0].filename).name}, line {last[0].lineno})"
