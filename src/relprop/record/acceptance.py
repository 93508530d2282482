"""Whether model and input are what can be recorded at all; what they are instead is said in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relprop.record.inputs import Inputs
from relprop.record.logits import LogitsError
from relprop.record.recorder import undisturbed
from relprop.support.errors import InputError, RelpropError
from relprop.tape.torch_internals import RANDOM_IN_TRAINING, WITH_CHANNELS

Model = Callable[..., Any]


def check_model(model: Model) -> None:
    """Refuse a model whose forward pass cannot be recorded as it is."""
    if not callable(model):
        raise InputError(f"a model that can be called is needed, not {type(model).__name__}")
    if isinstance(model, type):
        raise InputError(f"the model is the class {model.__name__}; make one of it first, {model.__name__}(...)")
    if not isinstance(model, nn.Module):
        return
    if isinstance(model, torch.fx.GraphModule) and getattr(model.eval, "__func__", None) is not nn.Module.eval:
        raise InputError("the model is an exported program (torch.export); pass the module that it was exported from")
    if model.training:
        raise InputError("the model is in training mode, so its output is random; call model.eval() first")
    for path, module in model.named_modules():
        problem = _problem(module)
        if problem:
            raise InputError(f"module '{path}'{problem}" if path else f"the model{problem}")


def _problem(module: nn.Module) -> str:
    """Why a module's forward pass cannot be recorded, "" if it can."""
    name = type(module).__name__
    unseen = "so its ops cannot be seen; pass the original module"
    problems = {
        f" is scripted (TorchScript), {unseen}": isinstance(module, torch.jit.ScriptModule),
        f" is compiled in place, {unseen}": getattr(module, "_compiled_call_impl", None) is not None,
        f" is compiled, {unseen}": name == "OptimizedModule",  # asking by class would import the compiler, for seconds
        f" is {name}; pass its .module": isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)),
        f", {name}, is in training mode; call .eval() on the whole model": (
            module.training and isinstance(module, RANDOM_IN_TRAINING)
        ),
        " has no weights yet; run the model once, then explain it": any(map(is_lazy, module.parameters(recurse=False))),
    }
    return next((problem for problem, holds in problems.items() if holds), "")


@contextlib.contextmanager
def failures_explained(model: Model, inputs: Inputs) -> Iterator[None]:
    """Say in plain words what fails while the block runs the model, where the input is the cause.

    Raises:
        InputError: the model fails on x by itself too, or gives no logits where x lacks an axis; the model's own error
            is its cause. Any other error is left as it is.
    """
    try:
        yield
    except LogitsError as error:
        hint = _hint(model, inputs.tensors[0]) if inputs.alone else ""
        if not hint:
            raise
        raise InputError(f"{_on(model, inputs)}{hint}: {error}") from None
    except FAILURES as error:
        if isinstance(error, RelpropError) or not _fails_likewise(model, inputs, error):
            raise
        text = " ".join(str(error).split())[:200]
        if isinstance(error, TypeError) and "argument" in text:
            about = "the model takes more than x" if inputs.alone else "the model takes other inputs"
            raise InputError(f"{about}: {text}; {_several(inputs)}") from error
        hint = _hint(model, inputs.tensors[0]) if inputs.alone else ""
        raise InputError(f"the model fails on {_on(model, inputs)}{hint}: {text}") from error


FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AssertionError)
"""What models raise on an input of a wrong shape or type."""


def _several(inputs: Inputs) -> str:
    """How a model of several inputs is called."""
    if inputs.alone:
        return "give them all, as in x=(x, other), or fix the others: lambda x: model(x, other)"
    return "a tuple is called by position, a mapping by keyword"


def _fails_likewise(model: Model, inputs: Inputs, error: Exception) -> bool:
    """Whether the model, without a record, fails on x in the same way."""
    with undisturbed(inputs.device):
        try:
            inputs.call(model)
        except type(error) as again:
            return str(again) == str(error)
        except Exception:  # noqa: BLE001 - something else: the first error is then shown as it is
            return False
    return False


def _on(model: Model, inputs: Inputs) -> str:
    """What x is, and what the model's first layer takes."""
    shown = ", ".join(f"{name} {tuple(t.shape)}" for name, t in zip(inputs.names, inputs.tensors, strict=True))
    about, first = f"x of shape {tuple(inputs.tensors[0].shape)}" if inputs.alone else shown, _first(model)
    if first is None or not inputs.alone:
        return about
    name = type(first).__name__
    if isinstance(first, nn.Embedding):
        return f"{about}, and its first layer, {name}, takes whole numbers"
    if isinstance(first, nn.Linear):
        return f"{about}, and its first layer, {name}, takes {first.in_features} features"
    return f"{about}, and its first layer, {name}, takes {first.in_channels} channels"


def _hint(model: Model, x: Tensor) -> str:
    """What is probably wrong with x, and what to do; "" where that cannot be told."""
    first = _first(model)
    if first is None:
        return ""
    if isinstance(first, nn.Embedding):
        return "; of token ids x.long() makes whole numbers, and what was embedded before goes to the layer after it"
    weights = next((p for p in first.parameters() if p.is_floating_point()), None)
    if weights is not None and x.dtype != weights.dtype:
        needed = "" if x.is_floating_point() else "a floating-point tensor is needed; "
        return f"; {needed}x is {x.dtype} and the weights are {weights.dtype}: use x.to({weights.dtype})"
    if isinstance(first, nn.Linear):
        return ""
    return _hint_of_axes(x, first.in_channels, len(first.kernel_size) + 2)


def _hint_of_axes(x: Tensor, channels: int, axes: int) -> str:
    """What is wrong with the shape of x where (B, channels, ...) of so many axes is wanted."""
    if x.ndim == axes - 1 and x.shape[0] == channels:
        return "; x has no axis of pictures: use x[None]"
    if x.ndim == axes - 1 and x.shape[-1] == channels:
        return "; x has no axis of pictures, and its channels stand last: use x.movedim(-1, 0)[None]"
    if x.ndim == axes - 1 and channels == 1:
        return "; x has no axis of channels: use x[:, None]"
    if x.ndim == axes and x.shape[-1] == channels != x.shape[1]:
        return "; its channels stand last: use x.movedim(-1, 1)"
    if x.ndim == axes and x.shape[1] == channels:
        return "; its channels are right, so another size is probably wanted"
    return ""


def _first(model: Model) -> Any:
    """The layer that a model begins with, as far as the order of its modules tells."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return next((module for module in modules if isinstance(module, (*WITH_CHANNELS, nn.Embedding))), None)
