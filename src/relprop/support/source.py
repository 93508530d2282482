"""What code of a user's does, as text that two runs can compare: its source without comments, or else its bytecode."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

LIBRARIES = frozenset({"torch", "torchvision", "timm", "transformers", "relprop", "builtins"})
"""What is known by its name."""
NOT_CALLED = ("__init__", "__repr__", "extra_repr")
"""Methods that compute nothing on the way forward; what building leaves behind is counted by itself."""


def identity(thing: Any) -> str:
    """Say which class or function something is: of a library by name, else by its name and what it does."""
    if isinstance(thing, MethodType):
        return identity(thing.__func__)
    if isinstance(thing, FunctionType) and _of_user(thing):
        return _does(thing)
    if isinstance(thing, type) and _of_user(thing):
        bases = (identity(base) for base in thing.__mro__ if not _of_user(base))
        return "\n".join((thing.__name__, *bases, *map(_does, functions_of(thing))))
    if isinstance(thing, type) or hasattr(thing, "__qualname__"):
        return f"{_library(thing)}.{thing.__qualname__}"
    return f"{getattr(thing, '__name__', '')} of {identity(type(thing))}"


def functions_of(kind: type) -> list[FunctionType]:
    """Give the methods that a class has from a user, in a fixed order."""
    found: list[FunctionType] = []
    for base in filter(_of_user, kind.__mro__):
        for name, value in sorted(vars(base).items()):
            method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            function = inspect.unwrap(method) if callable(method) and not isinstance(method, type) else None
            if isinstance(function, FunctionType) and name not in NOT_CALLED:
                found.append(function)
    return found


def reached(thing: Any) -> Iterator[tuple[str, Any]]:
    """Give what something that can be called works with: what it is bound to, closes over, or finds by a global name.

    Modules are left out, and so are lists: who reads them may as well write them.
    """
    if isinstance(thing, functools.partial):
        yield from (("function", thing.func), *((str(k), v) for k, v in enumerate(thing.args)))
        yield from sorted(thing.keywords.items())
    elif isinstance(thing, MethodType):
        yield "self", thing.__self__
        yield from reached(thing.__func__)
    elif isinstance(thing, FunctionType):
        yield from _reached(thing) if _of_user(thing) else ()
    elif not isinstance(thing, type) and _of_user(type(thing)):
        yield from sorted(getattr(thing, "__dict__", {}).items())


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    found |= {str(k): value for k, value in enumerate(function.__defaults__ or ())} | (function.__kwdefaults__ or {})
    written = writes(function)
    for name, value in sorted(found.items()):
        if name not in written and not isinstance(value, (ModuleType, list, dict)):
            yield name, value


def writes(function: FunctionType) -> set[str]:
    """Give the attributes and globals that a function sets: they are no part of what it is."""
    steps = (step for code in _codes(function.__code__) for step in dis.get_instructions(code))
    return {str(step.argval) for step in steps if step.opname in ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")}


def plain(value: Any) -> str:
    """Write down a number, a text, or a tuple of these; "" for anything else."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return repr(value)
    parts = [plain(part) for part in value] if isinstance(value, tuple) else [""]
    return f"({', '.join(parts)},)" if all(parts) else ""


def _library(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or "builtins").partition(".")[0]


def _of_user(thing: Any) -> bool:
    return _library(thing) not in LIBRARIES


def _does(function: FunctionType) -> str:
    """The source of a function without comments, docstrings and formatting; its bytecode where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return _bytecode(function.__code__)
    if function.__name__ != "<lambda>":
        return ast.unparse(_Bare().visit(tree))
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return ast.unparse(lambdas[0]) if len(lambdas) == 1 else _bytecode(function.__code__)


class _Bare(ast.NodeTransformer):
    """Takes docstrings out."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Without the first statement, where that is a docstring."""
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _bytecode(code: CodeType) -> str:
    inner = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {inner}"


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
