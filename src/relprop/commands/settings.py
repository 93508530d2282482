"""A study's settings from a TOML file: the same keys as the command's options, which win where both say something."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean


def settings(
    path: Path, names: Mapping[str, str], flags: Collection[str] = (), several: Collection[str] = ()
) -> dict[str, Any]:
    """Return a file's settings by the names of the fields, such as ``{"class_map": "map.json", "limit": 200}``.

    Args:
        path: a TOML file of keys without tables.
        names: by an option's name, as in ``{"class-map": "class_map", "method": "methods"}``, the field's; in the file
            either may stand.
        flags: the fields that are true or false, and nothing else is.
        several: the fields that may be given more than once: a list in the file, or one text.

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
        name = names.get(key, key)
        if name not in names.values():
            raise InputError(f"{path}: no option {key!r}{did_you_mean(key, names)}")
        if name in result:
            raise InputError(f"{path}: {key!r} is there twice, under two names; keep one")
        result[name] = _as_option(path, key, value, flag=name in flags, several=name in several)
    return result


def _as_option(path: Path, key: str, value: Any, *, flag: bool, several: bool) -> Any:
    """Return a value as the command line would give it."""
    if flag and not isinstance(value, bool):
        raise InputError(f"{path}: {key} = {value!r}; give true or false")
    if several and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    if (
        isinstance(value, (str, int, float))
        and flag == isinstance(value, bool)
        and (isinstance(value, str) or not several)
    ):
        return [value] if several else value
    raise InputError(f"{path}: {key} = {value!r}; give text or a number{', or a list of texts' if several else ''}")
