"""Whether model and input are what can be recorded at all; what they are instead is said in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relprop.record.recorder import undisturbed
from relprop.support.errors import InputError
from relprop.tape.torch_internals import RANDOM_IN_TRAINING, WITH_CHANNELS

Model = Callable[[Tensor], Any]


def check_model(model: Model) -> None:
    """Refuse a model whose forward pass cannot be recorded as it is."""
    if not callable(model):
        raise InputError(f"a model that can be called is needed, not {type(model).__name__}")
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


def check_input(x: Any) -> None:
    """Refuse an input that no relevance can be given to."""
    if isinstance(x, (tuple, list, dict)):
        raise InputError(
            f"x must be a tensor (B, ...), not {type(x).__name__}; of several inputs one can be explained while the "
            f"others are fixed: lambda x: model(x, other)"
        )
    if not isinstance(x, Tensor):
        raise InputError(f"x must be a tensor (B, ...), not {type(x).__name__}")
    if not x.is_floating_point():
        raise InputError(f"x is {x.dtype}; a floating-point tensor is needed (preprocess it, or x.float())")
    if x.is_meta or x.layout is not torch.strided:
        raise InputError(f"x is a {x.layout} tensor on {x.device}; a dense tensor with numbers is needed")
    if x.ndim < 2 or x.shape[0] == 0:
        raise InputError(f"x has shape {tuple(x.shape)}; a batch (B, ...) of at least one is needed, such as x[None]")
    if not torch.isfinite(x).all():
        raise InputError("x holds NaN or infinite values; check how it was read and normalised")


def explained_failure(model: Model, x: Tensor, error: Exception) -> InputError | None:
    """What the model's own failure on an input means, in plain words; None where it does not fail without a record."""
    with undisturbed(x.device):
        try:
            model(x.detach().as_subclass(Tensor).clone())
        except (RuntimeError, TypeError, ValueError, IndexError):
            return InputError(_in_plain_words(model, x, " ".join(str(error).split())[:200]))
        except Exception:  # noqa: BLE001 - the model's own business, as it is
            return None
    return None


def _in_plain_words(model: Model, x: Tensor, text: str) -> str:
    if "positional argument" in text:
        return f"the model takes more than x: {text}; fix the others, as in lambda x: model(x, other)"
    first = next(_with_channels(model), None)
    wants = getattr(first, "in_channels", getattr(first, "in_features", None))
    layer = f", and its first layer, {type(first).__name__}, takes {wants} channels" if first is not None else ""
    batch = "; x has no axis of pictures: use x[None]" if x.ndim == 3 and wants == x.shape[0] else ""
    return f"the model fails on x of shape {tuple(x.shape)}{layer}{batch}: {text}"


def _with_channels(model: Model) -> Iterator[nn.Module]:
    for module in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, WITH_CHANNELS):
            yield module
