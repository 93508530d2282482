"""Composites as text: a TOML file that every command takes as a method, and Python code that makes an equal one.

A file is a table `[[rule]]` per entry, in order: `on` is the selector as a composite prints it, `rule` the rule's
name, and the rest its numbers. Selectors are parsed, never run as code.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from relprop import rules
from relprop.composites import on
from relprop.composites.composite import Composite
from relprop.composites.on import Selector
from relprop.rules.layer import Rule
from relprop.support import user_code
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import near, write_whole
from relprop.support.suggest import did_you_mean

SUFFIX = ".toml"
RULES = {name: kind for name in rules.__all__ if issubclass(kind := getattr(rules, name), Rule) and kind is not Rule}
"""The rules that a file names without saying where they are."""
FUNCTIONS: dict[str, Callable[..., Selector]] = {n: getattr(on, n) for n in ("path", "first", "last", "before")}
CONSTANTS: dict[str, Selector] = {n: getattr(on, n) for n in on.__all__ if isinstance(getattr(on, n), Selector)}
TAKEN: dict[str, type | tuple[type, ...]] = {"n": (int, float), "glob": str}
"""What a function of `rp.on` takes that is no selector."""
KEYS = ("rule", "start")


class WrittenError(InputError):
    """A composite's file that cannot be read, or a composite that cannot be written; the message says what to mend."""


# -- reading -----------------------------------------------------------------------------------------


def is_file(name: str) -> bool:
    """Whether a method's name is that of a composite's file."""
    return name.lower().endswith(SUFFIX)


def read_composite(path: str | Path) -> Composite:
    """Read a composite from a TOML file.

    Raises:
        WrittenError: there is no such file, or it is no composite; the message names file and entry.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrittenError(f"{path}: no such file{near(path) or '; check the path'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WrittenError(f"{path}: cannot be read as text ({error}); name a composite's TOML file") from None
    return from_toml(text, str(path))


def from_toml(text: str, where: str = "the composite") -> Composite:
    """Read a composite from what a TOML file says.

    Args:
        text: of the file.
        where: it is from, for messages.

    Raises:
        WrittenError: it is no composite.

    Example:
        >>> from_toml('''
        ... [[rule]]
        ... on = "on.first(1) & ~on.head"
        ... rule = "Flat"
        ...
        ... [[rule]]
        ... on = "on.weighted"
        ... rule = "AlphaBeta"
        ... alpha = 2.0
        ... ''')
        Composite([
            ((on.first(1, of=on.weighted) & ~on.head), Flat()),
            (on.weighted, AlphaBeta(alpha=2.0)),
        ])
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WrittenError(f"{where}: not TOML ({error})") from None
    for key in found:
        if key not in KEYS:
            raise WrittenError(f"{where}: a composite's file has no {key!r}{did_you_mean(key, KEYS)}")
    entries = found.get("rule")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise WrittenError(
            f'{where}: no entries; a composite is a table [[rule]] for each, with on = "on.conv" and rule = "ZPlus"'
        )
    start = found.get("start")
    if start not in (None, "logit", "one"):
        raise WrittenError(f"{where}: start is {start!r}, and must be 'logit' or 'one'")
    return Composite([_entry(entry, f"{where}, rule {n}") for n, entry in enumerate(entries, 1)], start=start)


def _entry(entry: Mapping[str, Any], where: str) -> tuple[Selector, Rule]:
    numbers = dict(entry)
    selector, name = numbers.pop("on", None), numbers.pop("rule", None)
    if not isinstance(selector, str) or not isinstance(name, str):
        raise WrittenError(f'{where}: it needs on, such as "on.conv", and rule, such as "ZPlus"')
    return read_selector(selector, where), read_rule(name, numbers, where)


def read_rule(name: str, numbers: Mapping[str, Any], where: str = "the rule") -> Rule:
    """Make a rule of its name and its numbers.

    Args:
        name: as `rp.rules` has it, or "package.module:Class" for one of the user's own.
        numbers: by the name of the rule's attribute; a list is a number per channel.
        where: they are from, for messages.

    Raises:
        WrittenError: there is no such rule, or it takes no such number.
    """
    kind = _kind(name, where)
    known = [field.name for field in fields(kind) if field.init]
    for key in numbers:
        if key not in known:
            takes = did_you_mean(key, known) or (f"; it takes {', '.join(known)}" if known else "; it takes none")
            raise WrittenError(f"{where}: {name} has no {key!r}{takes}")
    given = {key: _number(value, f"{where}, {key}") for key, value in numbers.items()}
    try:
        return kind(**given)
    except (RelpropError, TypeError, ValueError) as error:
        shown = ", ".join(f"{key} = {value!r}" for key, value in numbers.items())
        raise WrittenError(f"{where}: {name} with {shown or 'no numbers'}: {error}") from None


def _number(value: Any, where: str) -> Any:
    """A number of a rule as the rule has it: a list is a number per channel, a table a rule within it."""
    if isinstance(value, dict) and isinstance(value.get("rule"), str):
        return read_rule(value["rule"], {key: each for key, each in value.items() if key != "rule"}, where)
    return tuple(value) if isinstance(value, list) else value


def _kind(name: str, where: str) -> type[Rule]:
    """The class of a rule."""
    if not user_code.is_name(name):
        if name not in RULES:
            raise WrittenError(f"{where}: no rule {name!r}{did_you_mean(name, RULES)}")
        kind: type[Rule] = RULES[name]
        return kind
    found: Any
    try:
        found = user_code.find(name)
    except user_code.UserCodeError as error:
        raise WrittenError(f"{where}: rule {name!r}: {error}") from error.__cause__
    if not (isinstance(found, type) and issubclass(found, Rule)):
        raise WrittenError(f"{where}: rule {name!r} must be a subclass of relprop.rules.Rule")
    users: type[Rule] = found
    return users


# -- selectors ---------------------------------------------------------------------------------------


def read_selector(text: str, where: str = "the selector") -> Selector:
    """Read a selector as a composite prints it, such as "on.first(1, of=on.conv) & ~on.head".

    Args:
        text: names of `rp.on`, with or without "on.", its functions called with numbers, texts and selectors, and & | ~
            with brackets. Nothing of it is run as code.
        where: it is from, for messages.

    Raises:
        WrittenError: it is no selector.

    Example:
        >>> read_selector("conv & ~on.first(2)")
        (on.conv & ~on.first(2, of=on.weighted))
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found = _selector(tree)
    except (SyntaxError, ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        raise WrittenError(
            f"{where}: {text!r} is no selector ({problem}); write it as rp.on has it, such as 'on.conv & ~on.head'"
        ) from None
    return found


def _selector(tree: ast.expr) -> Selector:
    """A selector, of its syntax."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Invert):
        return ~_selector(tree.operand)
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.BitAnd, ast.BitOr)):
        a, b = _selector(tree.left), _selector(tree.right)
        return a & b if isinstance(tree.op, ast.BitAnd) else a | b
    if isinstance(tree, ast.Call):
        return _called(tree)
    name = _name(tree)
    if name in FUNCTIONS:
        raise ValueError(f"on.{name} is called, as in on.{name}(...)")
    if name not in CONSTANTS:
        raise ValueError(f"rp.on has no {name!r}{did_you_mean(name, [*CONSTANTS, *FUNCTIONS])}")
    return CONSTANTS[name]


def _called(tree: ast.Call) -> Selector:
    name = _name(tree.func)
    if name not in FUNCTIONS:
        raise ValueError(f"on.{name} is not called{did_you_mean(name, FUNCTIONS)}")
    keywords = {word.arg: _argument(word.value) for word in tree.keywords if word.arg}
    try:
        found = FUNCTIONS[name](*map(_argument, tree.args), **keywords)
    except TypeError:
        raise ValueError(f"on.{name} does not take that") from None
    for key, value in vars(found).items():
        if not isinstance(value, TAKEN.get(key, Selector)) or value is True:
            raise ValueError(f"on.{name} is given {value!r} as {key}")
    return found


def _argument(tree: ast.expr) -> Any:
    """A number, a fraction such as 1/3, a text, or a selector."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div):
        above, below = (_argument(part) for part in (tree.left, tree.right))
        if not all(type(part) in (int, float) and part for part in (above, below)):
            raise ValueError(f"{ast.unparse(tree)!r} is no fraction")
        return above / below
    return tree.value if isinstance(tree, ast.Constant) else _selector(tree)


def _name(tree: ast.expr) -> str:
    """What `on.` or `rp.on.` is followed by, or a name alone."""
    spelt = ast.unparse(tree)
    name = spelt.removeprefix("rp.").removeprefix("on.")
    if not name.isidentifier():
        raise ValueError(f"{spelt!r} is no name of rp.on")
    return name


# -- writing -----------------------------------------------------------------------------------------


def to_toml(composite: Composite, about: str = "") -> str:
    """Write a composite as TOML; `from_toml` gives an equal one.

    Args:
        composite: of rules that are made of numbers and texts.
        about: lines of a comment at the top.

    Raises:
        WrittenError: one of its rules is defined where a file cannot say, or holds tensors.

    Example:
        >>> print(to_toml(Composite([(on.head, rules.Epsilon(0.1)), (on.conv, rules.ZPlus())])))
        [[rule]]
        on = "on.head"
        rule = "Epsilon"
        eps = 0.1
        <BLANKLINE>
        [[rule]]
        on = "on.conv"
        rule = "ZPlus"
        <BLANKLINE>
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in about.splitlines())
    start = "" if composite.start is None else f"start = {_value(composite.start)}\n"
    blocks = [f"[[rule]]\non = {_value(str(selector))}\n{_rule(rule)}" for selector, rule in composite]
    return "\n".join(filter(None, (head + start, *blocks)))


def save_composite(composite: Composite, path: str | Path, about: str = "") -> None:
    """Write a composite to a TOML file, whole or not at all; arguments and errors as for `to_toml`.

    Raises:
        WriteError: the file cannot be written.
    """
    write_whole(Path(path), to_toml(composite, about).encode())


def _rule(rule: Rule) -> str:
    name, numbers = _place(rule), _given(rule)
    lines = [f"rule = {_value(name)}", *(f"{key} = {_value(value)}" for key, value in numbers.items())]
    if read_rule(name, numbers) != rule:
        raise WrittenError(f"{rule} is more than the numbers of its dataclass, and a file cannot say what it is")
    return "\n".join(lines) + "\n"


def _given(rule: Rule) -> dict[str, Any]:
    """The numbers that a rule was given."""
    numbers = {f.name: getattr(rule, f.name) for f in fields(rule) if f.init and f.name in rule.given}
    return {name: value for name, value in numbers.items() if value is not None}


def _place(rule: Rule) -> str:
    """How a file names a rule's class."""
    kind = type(rule)
    if RULES.get(kind.__name__) is kind:
        return str(kind.__name__)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__ == "__main__" or not user_code.is_name(name):
        raise WrittenError(f"{rule} is of {name}, which a file cannot name; define it in a module of its own")
    return name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Rule):
        pairs = {"rule": _place(value), **_given(value)}.items()
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in pairs) + "}"
    raise WrittenError(f"{type(value).__name__} {value!r} cannot be written as TOML; rules of numbers and texts can")


def as_code(composite: Composite) -> str:
    """Python code that makes an equal composite and calls it `composite`.

    Example:
        >>> print(as_code(Composite([(on.head, rules.Epsilon()), (on.conv, rules.AlphaBeta(2))])))
        from relprop import Composite, on
        from relprop.rules import AlphaBeta, Epsilon
        <BLANKLINE>
        composite = Composite([
            (on.head, Epsilon(eps=1e-06)),
            (on.conv, AlphaBeta(alpha=2)),
        ])
    """
    kinds: dict[str, set[str]] = {}
    within = [value for _, rule in composite for value in vars(rule).values() if isinstance(value, Rule)]
    for rule in (*(rule for _, rule in composite), *within):
        own = RULES.get(type(rule).__name__) is not type(rule)
        kinds.setdefault(type(rule).__module__ if own else "relprop.rules", set()).add(type(rule).__name__)
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(kinds.items())]
    return "\n".join(["from relprop import Composite, on", *imports, "", f"composite = {composite!r}"])
