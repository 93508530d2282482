"""Methods that need nothing but the gradient of a logit; Captum computes them.

Captum is given a function from pictures to logits and copies of the pictures, never the model itself: it
sets no flag of the model's, hangs no hook on it and leaves no gradient behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from relprop.record.acceptance import Model
from relprop.record.logits import logits_of
from relprop.record.recorder import undisturbed
from relprop.support.errors import InputError
from relprop.support.without_backend import import_matplotlib

AT_ONCE = 16
"""Pictures in one pass, where a method makes many of one; more only if the batch itself is larger."""


def gradient(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """The derivative of the target's logit by the input.

    Simonyan et al. (2014), without the absolute value.

    Args:
        model: as for `relprop.attribute`.
        x: pictures, (B, ...).
        target: (B,) class indices.

    Returns:
        x's shape.

    Raises:
        InputError: if the logits do not depend on the input by differentiable steps.
    """
    with differentiable(x) as leaf:
        slope: Tensor = captum().Saliency(logits_by(model, x.dtype)).attribute(leaf, target=target, abs=False)
    return slope.detach()


def gradient_x_input(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """Gradient times input, which LRP_z equals in ReLU networks, biases or not.

    Shrikumar et al. (2016). Arguments, result and errors as for `gradient`.
    """
    with differentiable(x) as leaf:
        product: Tensor = captum().InputXGradient(logits_by(model, x.dtype)).attribute(leaf, target=target)
    return product.detach()


def smoothgrad(
    model: Model, x: Tensor, target: Tensor, *, samples: int = 25, std: float = 0.15, seed: int = 0
) -> Tensor:
    """The mean gradient over noisy copies of the picture.

    Smilkov et al. (2017). Every picture gets the same noise, whatever batch it stands in, and the caller's
    random numbers are left alone. At most `AT_ONCE` copies are in memory at a time.

    Args:
        model: as for `relprop.attribute`.
        x: pictures, (B, ...).
        target: (B,) class indices.
        samples: noisy copies of each picture.
        std: standard deviation of the Gaussian noise, as a share of the picture's own range, max - min.
        seed: of the noise.

    Returns:
        x's shape.

    Raises:
        InputError: as `gradient` does.
    """
    maps = []
    with differentiable(x) as leaf:
        tunnel = captum().NoiseTunnel(captum().Saliency(logits_by(model, x.dtype)))
        for picture, index in zip(leaf.detach().split(1), target.split(1), strict=True):
            with drawing(seed, x.device):
                slope: Tensor = tunnel.attribute(
                    picture,
                    nt_samples=samples,
                    nt_samples_batch_size=min(samples, AT_ONCE),
                    stdevs=std * float(picture.max() - picture.min()),
                    target=index,
                    abs=False,
                )
            maps.append(slope.detach())
    return torch.cat(maps)


def integrated_gradients(
    model: Model, x: Tensor, target: Tensor, *, steps: int = 50, baseline: float | str = 0.0
) -> Tensor:
    """(x - x') times the mean gradient on the straight way from a baseline x' to x.

    Sundararajan et al. (2017), by Gauss-Legendre quadrature: the sum of the map is f(x) - f(x') but for its
    error. At most max(B, `AT_ONCE`) pictures are in memory at a time.

    Args:
        model: as for `relprop.attribute`.
        x: pictures, (B, ...).
        target: (B,) class indices.
        steps: points on the way.
        baseline: a number in the network's own units, where 0 is the mean colour of the data if the
            preprocessing subtracts it; or "black": black pixels, as in the paper. Of token ids x is the rows
            that are looked up for them, and 0 a row of zeros.

    Returns:
        x's shape.

    Raises:
        InputError: as `gradient` does; or black is asked for, and the model does not say what it is.
    """
    start = black(model, x) if baseline == "black" else torch.full_like(x, float(baseline))
    with differentiable(x) as leaf:
        integral: Tensor = (
            captum()
            .IntegratedGradients(logits_by(model, x.dtype))
            .attribute(
                leaf,
                baselines=start.detach(),
                target=target,
                n_steps=steps,
                internal_batch_size=max(len(x), AT_ONCE),
            )
        )
    return integral.detach()


def black(model: Model, x: Tensor) -> Tensor:
    """A black picture as the model gets it, of x's shape.

    Raises:
        InputError: if the model has no preprocessing that says.
    """
    normalise = getattr(getattr(model, "preprocess", None), "normalise", None)
    if normalise is None:
        raise InputError(
            "baseline=black: the model does not say what black is; load it with relprop.models.load, or give "
            "the value of black as a number, baseline=-2.1"
        )
    picture: Tensor = normalise(torch.zeros(x.shape))
    return picture.to(x.device, x.dtype)


def captum() -> Any:
    """Captum's methods; the import takes a second and brings matplotlib, so it waits until one is asked for."""
    import_matplotlib()
    from captum import attr  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    return attr


def logits_by(model: Model, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The model as a function from pictures to logits (B, C), which gets a copy that it may overwrite."""

    def logits(x: Tensor) -> Tensor:
        found = logits_of(model(x.to(dtype, copy=True)))
        if not found.requires_grad:
            raise InputError(NO_GRADIENT)
        return found

    return logits


NO_GRADIENT = (
    "the logits do not depend on the input by differentiable steps (torch.no_grad, detach, NumPy?), so there is "
    "no gradient; explain a model that can be differentiated"
)


@contextlib.contextmanager
def differentiable(x: Tensor) -> Iterator[Tensor]:
    """A copy of x to differentiate by, where gradients flow and nothing is cast, whatever the caller has set."""
    with undisturbed(x.device, gradients=True):
        try:
            yield x.detach().as_subclass(Tensor).clone().requires_grad_()
        except RuntimeError as error:
            if "appears to not have been used in the graph" in str(error):
                raise InputError(NO_GRADIENT) from None
            if "Inference tensors cannot be saved" in str(error):
                raise InputError(
                    "the model's weights were made in torch.inference_mode(), so nothing can be differentiated; "
                    "load the model outside of it"
                ) from None
            raise


@contextlib.contextmanager
def drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Draw the same random numbers each time, and give the caller's generators back as they were."""
    on_cpu = device.type == "cpu"
    module: Any = torch if on_cpu else getattr(torch, device.type)
    with torch.random.fork_rng([] if on_cpu else [device], device_type="cuda" if on_cpu else device.type):
        if on_cpu:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every accelerator too
        else:
            with module.device(device) if hasattr(module, "device") else contextlib.nullcontext():
                module.manual_seed(seed)
        yield
