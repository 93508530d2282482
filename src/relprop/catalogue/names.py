"""What a method is: a name, a composite or a function becomes what can be run on a model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from relprop.catalogue.options import parse_options
from relprop.catalogue.presets import Options
from relprop.catalogue.table import COMPOSITES, METHODS
from relprop.composites.composite import Composite
from relprop.composites.profiles import Profile
from relprop.composites.written import is_file, read_composite
from relprop.record.acceptance import Model
from relprop.support import user_code
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import file_sha256
from relprop.support.suggest import did_you_mean

Function = Callable[[Model, Tensor, Tensor], Tensor]
"""(model, x, target (B,)) to relevance of x's shape."""

Method = str | Composite


def resolve(method: Any, model: Model, profile: Profile) -> Composite | Function:
    """What a method means for this model: a composite, or a function.

    Args:
        method: a name with options after a colon, "package.module:function" for one of the user's own, "FILE.toml"
            for a composite in a file, a composite, or a function (model, x, target (B,)) to relevance of x's shape.
        model: what is to be explained.
        profile: whose conventions the named methods follow.

    Raises:
        InputError: for an unknown name or option, with the near one; for what is no method; without patterns where
            the method needs some.
        RuleError: if zB has no bounds.
    """
    if isinstance(method, Composite):
        return method
    if isinstance(method, str):
        if is_file(method):
            return read_composite(method)
        return _listed(method, model, profile) if method.partition(":")[0] in METHODS else _users(method)
    if not callable(method):
        raise InputError(f"a method is a name, a Composite or a function (model, x, target), not {method!r}")
    function: Function = method
    return function


def _listed(name: str, model: Model, profile: Profile) -> Composite | Function:
    """A method of the table, with the options after its name."""
    base, _, text = name.partition(":")
    entry = METHODS[base]
    options = parse_options(name, text, entry.options)
    if base not in COMPOSITES:
        function: Function = functools.partial(entry.imported(), **options)
        return function
    low, high = getattr(getattr(model, "preprocess", None), "bounds", (None, None))
    known: dict[str, Any] = {"usual": profile.eps, "low": low, "high": high, "model": model}
    composite: Composite = entry.imported()(Options(**(known | options)))
    return composite


# -- methods of the user's own -----------------------------------------------------------------------


def _users(name: str) -> Composite | Function:
    """The method "package.module:function".

    Raises:
        InputError: if there is no such module or function, importing it fails, or it is no method.
    """
    if not user_code.is_name(name):
        if user_code.is_name(name.rpartition(":")[0]):
            raise InputError(f"no method is named {name!r}: functions of your own take no options after a colon")
        near = user_code.meant_by_path(name) or did_you_mean(name.partition(":")[0], METHODS)
        raise InputError(f"no method is named {name!r}{near}")
    try:
        found = user_code.find(name, METHODS)
    except user_code.UserCodeError as error:
        raise InputError(f"method {name!r}: {error}") from error.__cause__
    if isinstance(found, Composite):
        return found
    if not callable(found):
        raise InputError(
            f"method {name!r} is of type {type(found).__name__}; it must be a function (model, x, target) or a "
            "Composite"
        )
    return _errors_named(name, found)


def _errors_named(name: str, function: Callable[..., Any]) -> Function:
    """The function, whose errors become an InputError with the method's name in it."""

    @functools.wraps(function)
    def called(model: Model, x: Tensor, target: Tensor) -> Tensor:
        try:
            with user_code.current_folder_first():
                result: Tensor = function(model, x, target)
        except RelpropError:
            raise
        except user_code.FAILURES as error:
            raise InputError(f"method {name!r} failed: {user_code.in_one_line(error)}") from error
        return result

    return called


def source_sha256(name: str) -> str | None:
    """SHA-256 of the file that is named by a method "package.module:function" or "FILE.toml"; None for other names.

    Raises:
        InputError: as `resolve` does for such a method.
    """
    if is_file(name):
        read_composite(name)
        return file_sha256(Path(name))
    place = name.partition(":")[0]
    if not user_code.is_name(name) or place in METHODS:
        return None
    try:
        file = getattr(user_code.import_module(place), "__file__", None)
    except user_code.UserCodeError as error:
        raise InputError(f"method {name!r}: {error}") from error.__cause__
    return file_sha256(Path(file)) if file else ""
