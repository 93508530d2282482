"""What a method is: a name, a composite or a function becomes what can be run on a model."""

from __future__ import annotations

import functools
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from relprop.baselines import BASELINES, Function
from relprop.composites import Composite
from relprop.errors import InputError, RelpropError
from relprop.prepare import Model
from relprop.presets import PRESETS, composite_named, parse_options
from relprop.profiles import Profile
from relprop.suggest import did_you_mean

BEST = "cmp-alpha2-flat"
Method = str | Composite

__all__ = ["BEST", "Function", "Method", "resolve"]

_OWN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
"""package.module:function"""


def resolve(method: Any, model: Model, profile: Profile) -> Composite | Function:
    """What a method means for this model: a composite, or a function.

    Args:
        method: a name with options after a colon, "package.module:function" for one of the user's own, a
            composite, or a function (model, x, target (B,)) to relevance of x's shape.
        model: what is to be explained.
        profile: whose conventions the named methods follow.

    Raises:
        InputError: for an unknown name, with the near one, and for what is no method.
    """
    if isinstance(method, Composite):
        return method
    if isinstance(method, str):
        return _named(method, model, profile)
    if not callable(method):
        raise InputError(f"a method is a name, a Composite or a function (model, x, target), not {method!r}")
    function: Function = method
    return function


def _named(name: str, model: Model, profile: Profile) -> Composite | Function:
    base, _, options = name.partition(":")
    if base in BASELINES:
        baseline = BASELINES[base]
        return baseline.with_options(parse_options(name, options, baseline.takes))
    if base in PRESETS:
        bounds = getattr(getattr(model, "preprocess", None), "bounds", (None, None))
        return composite_named(name, profile.eps, bounds, model)
    if own := _OWN.fullmatch(name):
        return _imported(name, *own.groups())
    raise InputError(f"no method is named {name!r}{_near(base)}")


def _near(word: str) -> str:
    return did_you_mean(word, [*PRESETS, *BASELINES])


# -- methods of the user's own -----------------------------------------------------------------------


def _imported(name: str, module_name: str, attribute: str) -> Composite | Function:
    """The method "package.module:function".

    Raises:
        InputError: if there is no such module or function, or importing it fails.
    """
    module = _module(name, module_name)
    found: Any = module
    for word in attribute.split("."):
        if not hasattr(found, word):
            names = [key for key, value in vars(module).items() if callable(value) or isinstance(value, Composite)]
            where = getattr(module, "__file__", None) or module_name
            raise InputError(f"method {name!r}: {where} has no {attribute!r}{did_you_mean(attribute, names)}")
        found = getattr(found, word)
    if isinstance(found, Composite):
        return found
    if not callable(found):
        raise InputError(
            f"method {name!r} is a {type(found).__name__}; it must be a function (model, x, target) or a Composite"
        )
    return _telling(name, found)


def own_source(name: str) -> str | None:
    """SHA-256 of the file that defines a method "package.module:function"; None for any other name.

    Raises:
        InputError: as `resolve` does for such a method.
    """
    own = _OWN.fullmatch(name)
    if own is None or name.partition(":")[0] in {*BASELINES, *PRESETS}:
        return None
    file = getattr(_module(name, own[1]), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _module(name: str, module_name: str) -> ModuleType:
    """A module, from the current folder too, which comes last: it hides nothing that is installed."""
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"method {name!r}: no module {error.name!r}, neither installed nor in {here}{_near(module_name)}"
            ) from None
        raise InputError(f"method {name!r}: {module_name} cannot be imported: {error}") from error
    except RelpropError:
        raise
    except Exception as error:
        raise InputError(f"method {name!r}: {module_name} cannot be imported: {_told(error)}") from error


def _telling(name: str, function: Callable[..., Any]) -> Function:
    """The function, whose errors say whose they are."""

    @functools.wraps(function)
    def called(model: Model, x: Tensor, target: Tensor) -> Tensor:
        try:
            result: Tensor = function(model, x, target)
        except RelpropError:
            raise
        except Exception as error:
            raise InputError(f"method {name!r} failed: {_told(error)}") from error
        return result

    return called


def _told(error: Exception) -> str:
    """An error in one line, with the place where it was raised."""
    text = " ".join(str(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    last = traceback.extract_tb(error.__traceback__)[-1:]
    if isinstance(error, SyntaxError) or not last:
        return told
    return f"{told} ({Path(last[0].filename).name}, line {last[0].lineno})"
