"""A study's settings from a TOML file: the same keys as the command's options, which win where both say something."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

ALSO = {"method": "methods"}
"""Names that an option has beside the one of its field."""


def settings(path: Path, known: Collection[str], flags: Collection[str] = ()) -> dict[str, Any]:
    """Return a file's settings by the names of the fields, such as ``{"class_map": "map.json", "limit": 200}``.

    Args:
        path: a TOML file of keys without tables.
        known: the fields' names; in the file ``class-map`` and ``class_map`` are the same.
        flags: those of them that are true or false, and nothing else is.

    Raises:
        InputError: the file cannot be read, or it has a key that is no option, a key twice, or a table.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a TOML file with lines such as limit = 200") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: not TOML ({error}); its lines are such as limit = 200, model = "vgg16"') from None
    result: dict[str, Any] = {}
    for key, value in found.items():
        plain = key.replace("-", "_")
        name = ALSO.get(plain, plain)
        if name not in known:
            options = [each.replace("_", "-") for each in known]
            raise InputError(f"{path}: no option {key!r}{did_you_mean(key, options)}")
        if name in result:
            raise InputError(f"{path}: {key!r} is there twice, under two names; keep one")
        result[name] = _as_option(path, key, value, flag=name in flags)
    return result


def _as_option(path: Path, key: str, value: Any, *, flag: bool) -> Any:
    """Return a value as the command line would give it: words and numbers, of `methods` several."""
    if flag != isinstance(value, bool):
        raise InputError(f"{path}: {key} = {value!r}; give {'true or false' if flag else 'text or a number'}")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value if key.startswith("method") else ",".join(value)
    if isinstance(value, (str, int, float)):
        return [value] if key.startswith("method") else value
    raise InputError(f"{path}: {key} = {value!r}; give text, a number, or of methods a list")
