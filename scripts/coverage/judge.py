"""A second opinion: LRP_z as gradient x input of the network with all that scales held fixed, by autograd alone.

Under LRP_z (eps 0) relevance is x_i times the slope of a network in which

- what an activation does is a factor, x (f(x) - f(0)) / x, held fixed, and f(0) a constant;
- softmaxes, attention's weights, divisors and gates are constants;
- of a product of two values of a kind each is held fixed for one half;
- a maximum, a pool, a convolution and all that moves are what they are;
- lengths, products along axes, logarithms of sums and the like are as `judge_more.py` defines them.

Nothing of the package is used: another way of seeing calls, other bounds, other books.
"""

# ruff: noqa: SLF001 - torch._C._nn holds functions that a mode sees

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from scripts.coverage.judge_more import DEFINITIONS, OF_EACH_NUMBER, SLOPES, WITHOUT_ZERO, absolute
from torch import Tensor
from torch.overrides import TorchFunctionMode

T = torch.Tensor


def named(words: str) -> set[Any]:
    """The functions of these names in torch's namespaces."""
    spaces = (torch, T, F, torch._C._nn, torch.special)
    return {getattr(s, w) for w in words.split() for s in spaces if callable(getattr(s, w, None))}


ACTIVATIONS = named(
    "relu relu_ relu6 relu6_ sigmoid sigmoid_ expit hardsigmoid hardsigmoid_ hardtanh hardtanh_ clamp clamp_ clamp_min "
    "clamp_max clip leaky_relu leaky_relu_ elu elu_ selu selu_ celu gelu silu silu_ mish mish_ hardswish hardswish_ "
    "tanh tanh_ softsign softplus logsigmoid erf hardshrink softshrink tanhshrink prelu threshold exp square abs sin "
    "cos sqrt local_response_norm pow __pow__"
)
BOUNDED = named(
    "sigmoid sigmoid_ expit hardsigmoid hardsigmoid_ tanh tanh_ softsign erf softmax sin cos relu6 relu6_ hardtanh "
    "hardtanh_ sign softmin"
)
TWO_SIDED = named("clamp clamp_ clip")
KEPT = named(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose expand expand_as broadcast_to repeat tile "
    "contiguous clone to type float double mean adaptive_avg_pool1d adaptive_avg_pool2d avg_pool2d interpolate "
    "chunk split unbind __getitem__ select narrow roll flip dropout movedim mT T repeat_interleave"
)
"""What leaves a bounded value bounded."""
SCALES = named("rsqrt reciprocal")
WEIGHTED = named(
    "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm matmul __matmul__ mm bmm "
    "einsum"
)
ADD = named("add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ __rsub__ __isub__ rsub")
MUL = named("mul mul_ __mul__ __rmul__ __imul__ multiply")
DIV = named("div div_ __truediv__ __itruediv__ true_divide divide")
MATMUL = named("matmul __matmul__ bmm mm baddbmm")
NORMS = {F.layer_norm, torch.layer_norm, F.group_norm, torch.group_norm, F.instance_norm, *named("rms_norm")}
ATTENTION = named("scaled_dot_product_attention")
LINEAR = named(
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum cumsum "
    "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max min amax amin "
    "median kthvalue sort topk cummax cummin max_pool2d_with_indices max_unpool2d interpolate upsample grid_sample "
    "cat concat concatenate stack hstack vstack dstack pad where masked_fill masked_fill_ gather take_along_dim "
    "index_select masked_select take diagonal tril triu scatter scatter_add index_add index_copy index_fill "
    "__setitem__ copy_ unfold fold pixel_shuffle pixel_unshuffle channel_shuffle view_as reshape_as split_with_sizes "
    "tensor_split hsplit vsplit swapaxes swapdims moveaxis ravel fliplr flipud rot90 unflatten batch_norm neg "
    "positive detach detach_ dropout alpha_dropout feature_alpha_dropout diff requires_grad_ conv_transpose1d "
    "diag_embed select_scatter slice_scatter size dim numel t type new_zeros new_ones zeros_like "
    "ones_like eq gt lt ge le argmax argsort is_floating_point var std norm linalg_vector_norm rsqrt reciprocal softmax"
)
"""What autograd's slope is right for, as it is."""
UNDERSTOOD = ACTIVATIONS | BOUNDED | TWO_SIDED | KEPT | WEIGHTED | ADD | MUL | DIV | MATMUL | NORMS | ATTENTION | LINEAR


class Judged(TorchFunctionMode):
    """Runs a network with all that scales held fixed."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.keep: list[Tensor] = [x]
        self.raw: set[int] = {id(x)}
        self.bounded: set[int] = set()
        self.unsure = ""
        self.rows: dict[int, tuple[Tensor, Callable[[Tensor], Tensor]]] = {}

    def mark(self, marks: set[int], result: Any) -> None:
        """Remember a result; it is kept, so that its id is its own."""
        for t in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(t, Tensor):
                self.keep.append(t)
                marks.add(id(t))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        values = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.requires_grad]
        if not values or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        return self.made(func, args, kwargs, values)

    def made(self, func: Any, args: Any, kwargs: Any, values: list[Tensor]) -> Any:
        """The call, with what scales held fixed, and what is known of its result."""
        name = getattr(func, "__name__", str(func))
        known = func in UNDERSTOOD or func in DEFINITIONS or func in OF_EACH_NUMBER or func in SLOPES
        if (
            not known
            and name not in ("__get__", "__set__", "__len__")
            and func not in (F.batch_norm, F.normalize, F.glu)
        ):
            self.unsure = self.unsure or name
        raw = all(id(v) in self.raw for v in values) and func not in WEIGHTED
        try:
            result = self.linear(func, args, kwargs, values)
        except NotImplementedError:
            self.unsure = self.unsure or name
            result = func(*args, **kwargs)
        if len(values) == 1 and isinstance(result, Tensor) and result.shape == values[0].shape:
            self.lengthen(func, args, kwargs, values[0], result)
        if func in BOUNDED | SCALES or self.stays_bounded(func, args, kwargs, values):
            self.mark(self.bounded, result)
        if func in ATTENTION and id(args[2]) in self.bounded:  # a mean of its values
            self.mark(self.bounded, result)
        if raw:
            self.mark(self.raw, result)
        return result

    def stays_bounded(self, func: Any, args: Any, kwargs: Any, values: list[Tensor]) -> bool:
        """Whether a result is bounded."""
        if func in TWO_SIDED:
            low = kwargs.get("min", args[1] if len(args) > 1 else None)
            high = kwargs.get("max", args[2] if len(args) > 2 else None)
            return low is not None and high is not None
        if func in named("expand_as view_as"):
            return id(args[0]) in self.bounded
        all_bounded = all(id(v) in self.bounded for v in values)
        constants = [a for a in args if isinstance(a, (int, float)) or (isinstance(a, Tensor) and not a.requires_grad)]
        return all_bounded and (func in KEPT or (func in (ADD | MUL) and len(constants) + len(values) >= 2)
                                or (func in DIV and args[0] is values[0] and len(values) == 1)
                                or func in named("relu square sqrt"))  # fmt: skip

    def linear(self, func: Any, args: Any, kwargs: Any, values: list[Tensor]) -> Any:
        """The call as a linear one."""
        if func in WITHOUT_ZERO:
            return self.whole_row(func, args, kwargs, values[0])
        if func in named("abs") and args[0].is_complex():
            return absolute(args[0])
        if func in DEFINITIONS:
            return DEFINITIONS[func](*args, **kwargs)
        if func in OF_EACH_NUMBER and len(values) == 1:
            with torch.no_grad():
                given, nothing = self.both(lambda t: self.of(func, args, kwargs, values[0], t), values[0])
            return self.fixed(values[0], given, nothing)
        if func in DIV and kwargs.get("rounding_mode"):
            return self.fixed(args[0], func(args[0].detach(), *args[1:], **kwargs))
        if func in ACTIVATIONS and values[0] is args[0]:
            return self.scaled(func, args, kwargs)
        if func in NORMS:
            return self.normalised(func, args, kwargs)
        if func in named("softmax softmin"):
            return func(*args, **kwargs).detach().requires_grad_()
        if func in ATTENTION:
            q, k, v, *rest = args
            rest = [a.detach() if isinstance(a, Tensor) else a for a in rest]  # a mask can be made of values too
            masks = {name: a.detach() if isinstance(a, Tensor) else a for name, a in kwargs.items()}
            return func(q.detach(), k.detach(), v, *rest, **masks)
        if func is F.normalize:
            axis = kwargs.get("dim", args[2] if len(args) > 2 else 1)
            return args[0] / args[0].detach().norm(dim=axis, keepdim=True).clamp_min(1e-12)
        if func is F.glu:
            a, b = args[0].chunk(2, kwargs.get("dim", args[1] if len(args) > 1 else -1))
            return a * b.detach().sigmoid()
        if func in MUL and len(values) == 2:
            return self.product(lambda a, b: a * b, *args[:2])
        if func in MATMUL and len(values) == 2:
            if func in named("baddbmm"):
                return args[0] + self.product(torch.matmul, *args[1:3])
            return self.product(torch.matmul, *args[:2])
        if func in named("einsum") and len(values) == 2 and len(args) == 3:
            return self.product(lambda a, b: torch.einsum(args[0], a, b), *args[1:3])
        if func in DIV and isinstance(args[1], Tensor) and args[1].requires_grad:
            if id(args[0]) in self.bounded:
                self.unsure = "a quotient of bounded values"
            return args[0] / args[1].detach()
        if func in ADD and len(values) == 1 and id(values[0]) in self.raw:
            y = func(*(a.clone() if a is values[0] else a for a in args), **kwargs)
            return self.fixed(values[0], y)
        if func is F.batch_norm and id(args[0]) in self.raw:
            return self.fixed(args[0], func(*args, **kwargs))
        return func(*args, **kwargs)

    @staticmethod
    def of(func: Any, args: Any, kwargs: Any, value: Tensor, t: Tensor) -> Tensor:
        """A call with another tensor in the place of its one value."""
        given = [t if a is value else a for a in args]
        result: Tensor = func(*given, **{name: t if a is value else a for name, a in kwargs.items()})
        return result

    @staticmethod
    def both(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """What a function gives for numbers, and for zeros."""
        return function(x.detach()), function(torch.zeros_like(x))

    def lengthen(self, func: Any, args: Any, kwargs: Any, value: Tensor, result: Tensor) -> None:
        """Remember a row of functions of each number, and what it begins with."""
        if func not in ACTIVATIONS | BOUNDED | TWO_SIDED | ADD | MUL | DIV and func not in OF_EACH_NUMBER:
            return
        first, row = self.rows.get(id(value), (value, lambda t: t))
        self.rows[id(result)] = (first, lambda t: self.of(func, args, kwargs, value, row(t)))
        self.keep += [result, first]

    def whole_row(self, func: Any, args: Any, kwargs: Any, value: Tensor) -> Tensor:
        """A function without a value at 0, with those before it."""
        first, row = self.rows.get(id(value), (value, lambda t: t))
        with torch.no_grad():
            given, nothing = self.both(lambda t: self.of(func, args, kwargs, value, row(t)), first)
        if not bool(nothing.isfinite().all()):
            raise NotImplementedError
        return self.fixed(first, given, nothing)

    def fixed(self, x: Tensor, y: Tensor, zero: Tensor | float = 0.0) -> Tensor:
        """Y as x times a factor that is held fixed, beside a constant."""
        x_, y_ = x.detach(), y.detach()
        some = x_ != 0
        factor = torch.where(some, (y_ - zero) / torch.where(some, x_, 1.0), 0.0)
        if bool(torch.as_tensor(zero != 0).any()):  # the documented stabiliser of what has a share of nobody's
            factor = factor * y_ / torch.where(y_ >= 0, y_ + 1e-6, y_ - 1e-6)
        return x * factor + (y_ - x_ * factor)

    def scaled(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """An activation."""
        x = args[0]
        given = x.detach().clone()
        if func in named("local_response_norm"):
            return self.fixed(x, func(given, *args[1:], **kwargs))
        if any(isinstance(a, Tensor) for a in (*args[1:], *kwargs.values())) and func not in named("prelu"):
            self.unsure = "bounds that are tensors"
            return func(*args, **kwargs)
        with torch.no_grad():
            y = func(given, *args[1:], **kwargs)
            nothing = 0.0 if func in named("prelu") else func(torch.zeros((), dtype=x.dtype), *args[1:], **kwargs)
        return self.fixed(x, y, nothing)

    def product(self, function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        """The gate held fixed, or each factor for one half."""
        gates = [id(a) in self.bounded, id(b) in self.bounded]
        if gates == [True, True]:
            self.unsure = "a product of two bounded values"
        if gates == [True, False]:
            return function(a.detach(), b)
        if gates == [False, True]:
            return function(a, b.detach())
        return (function(a, b.detach()) + function(a.detach(), b)) / 2

    def normalised(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """A normalisation with its deviation held fixed: f(x) - f(0) is linear in x then."""
        x = args[0]
        name = getattr(func, "__name__", "")
        if name == "rms_norm":
            return self.fixed(x, func(x.detach(), *args[1:], **kwargs))
        if name == "layer_norm":
            axes = [-1 - k for k in range(len(args[1]))]
            mean = x.mean(axes, keepdim=True)
            weight, bias = (kwargs.get(n, args[k] if len(args) > k else None) for n, k in (("weight", 2), ("bias", 3)))
            shape: Any = x.shape
            centred = x - mean
            eps = kwargs.get("eps", args[4] if len(args) > 4 else 1e-5)
            sigma = (centred.detach().square().mean(axes, keepdim=True) + eps).sqrt()
        else:
            groups = kwargs.get("num_groups", args[1]) if name == "group_norm" else x.shape[1]
            parted = x.reshape(len(x), groups, -1)
            centred = parted - parted.mean(-1, keepdim=True)
            at = (2, 3, 4) if name == "group_norm" else (3, 4, 7)
            default = (None, None, 1e-5)
            weight, bias, eps = (
                kwargs.get(n, args[k] if len(args) > k else d)
                for n, k, d in zip(("weight", "bias", "eps"), at, default, strict=True)
            )
            sigma = (centred.detach().square().mean(-1, keepdim=True) + eps).sqrt()
            shape = (-1, *[1] * (x.ndim - 2))
            weight, bias = (None if t is None else t.view(shape) for t in (weight, bias))
        y = (centred / sigma).reshape(x.shape)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def judged(model: Callable[[Tensor], Tensor], x: Tensor, target: int) -> tuple[Tensor, str]:
    """Relevance of x under LRP_z as this file sees it, and why it is not sure, "" where it is."""
    leaf = x.clone().requires_grad_()
    mode = Judged(leaf)
    with torch.enable_grad(), mode:
        y = model(leaf)
    (slope,) = torch.autograd.grad(y[:, target].sum(), leaf)
    return slope * x, mode.unsure
