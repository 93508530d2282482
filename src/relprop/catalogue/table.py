"""Every method by name, at a glance: where it is written, the options it takes, what it does.

Nothing here imports torch, so names and summaries are known at once; a method is imported when it is asked for.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any

BEST = "cmp-alpha2-flat"
"""The method that is used where none is named: the paper's best."""

BEST_WHERE_IT_ATTENDS = "attnlrp-vit"
"""The same for pictures and networks that attend, and below for what reads tokens: docs/transformers.md measures it."""

BEST_WITH_BATCHNORM = "cmp-alpha2-flat-apart"
"""The same for networks with BatchNorm that do not attend: docs/batchnorm.md measures it."""

BEST_FOR_TEXTS = "cp-lrp"


@dataclass(frozen=True)
class Entry:
    """A method by name.

    Attributes:
        place: where it is written: ``module:name``, in this package.
        options: what may follow its name after a colon; `options` says how each is read.
        summary: one line for people.
    """

    place: str
    options: tuple[str, ...]
    summary: str

    def imported(self) -> Any:
        """What stands at `place`."""
        return pkgutil.resolve_name(f"{__package__}.{self.place}")


HEAD = ("eps", "head")
FLAT = (*HEAD, "layers")
ZBOX = (*HEAD, "low", "high")
PATTERNS = ("patterns",)
BIAS = ("bias",)

COMPOSITES: dict[str, Entry] = {
    "lrp-z": Entry("presets:lrp_z", (), "LRP_z in every layer; gradient x input in ReLU networks"),
    "lrp-epsilon": Entry("presets:lrp_epsilon", ("eps",), "LRP_epsilon in every layer"),
    "lrp-alpha1": Entry("presets:lrp_alpha1", BIAS, "LRP_alpha,beta with alpha 1, beta 0 in every layer"),
    "lrp-alpha2": Entry("presets:lrp_alpha2", BIAS, "LRP_alpha,beta with alpha 2, beta -1 in every layer"),
    "cmp-alpha1": Entry(
        "presets:cmp_alpha1", (*HEAD, *BIAS), "epsilon in the fully connected layers, alpha 1 in the convolutions"
    ),
    "cmp-alpha2": Entry(
        "presets:cmp_alpha2", (*HEAD, *BIAS), "epsilon in the fully connected layers, alpha 2 in the convolutions"
    ),
    "cmp-alpha1-flat": Entry(
        "presets:cmp_alpha1_flat", (*FLAT, *BIAS), "cmp-alpha1 with the flat rule in the input layer"
    ),
    "cmp-alpha2-flat": Entry(
        "presets:cmp_alpha2_flat",
        (*FLAT, *BIAS),
        "cmp-alpha2 with the flat rule in the input layer; the paper's best, and our default",
    ),
    "cmp-alpha2-flat-apart": Entry(
        "presets:cmp_alpha2_flat_apart",
        FLAT,
        "cmp-alpha2-flat with each bias on its own behind its layer; our default for networks with BatchNorm",
    ),
    "cmp-alpha1-zbox": Entry("presets:cmp_alpha1_zbox", (*ZBOX, *BIAS), "cmp-alpha1 with zB in the input layer"),
    "cmp-alpha2-zbox": Entry("presets:cmp_alpha2_zbox", (*ZBOX, *BIAS), "cmp-alpha2 with zB in the input layer"),
    "epsilon-gamma-box": Entry(
        "presets:epsilon_gamma_box", ZBOX, "epsilon, gamma 0.25 in the convolutions, zB in the input layer"
    ),
    "epsilon-plus": Entry("presets:epsilon_plus", (*HEAD, *BIAS), "epsilon, z+ in the convolutions"),
    "guided-backprop": Entry(
        "presets:guided_backprop", (), "the gradient, of which only the positive part passes an activation"
    ),
    "deconvnet": Entry(
        "presets:deconvnet",
        (),
        "the gradient, of which the positive part passes an activation whether or not the unit was active",
    ),
    "excitation-backprop": Entry(
        "presets:excitation_backprop",
        (),
        "z+ without biases in every layer, started at one: the probabilities of a winner that is drawn going down",
    ),
    "epsilon-plus-flat": Entry(
        "presets:epsilon_plus_flat", (*FLAT, *BIAS), "epsilon, z+ in the convolutions, flat in the input layer"
    ),
    "attnlrp": Entry(
        "attention:attnlrp", ("eps", "through"), "AttnLRP: softmax by Taylor, two factors half each, epsilon elsewhere"
    ),
    "cp-lrp": Entry("attention:cp_lrp", ("eps",), "CP-LRP: attention's weights are a gate, epsilon elsewhere"),
    "attnlrp-vit": Entry(
        "attention:attnlrp_vit",
        ("eps", "conv", "linear", "gamma", "through", "projections"),
        "for pictures: gamma in convolutions (0.25) and linear layers (0.05), attention's weights are a gate",
    ),
    "pattern-net": Entry(
        "presets:learned_signal",
        PATTERNS,
        "the gradient with learned patterns in the place of the weights: the signal",
    ),
    "pattern-attribution": Entry(
        "presets:learned_attribution", PATTERNS, "the gradient with weights times learned patterns in their place"
    ),
}
"""Methods that are composites of rules: each place holds a function from `presets.Options` to a Composite."""

FUNCTIONS: dict[str, Entry] = {
    "gradient": Entry("gradients:gradient", (), "the derivative of the logit"),
    "gradient-x-input": Entry("gradients:gradient_x_input", (), "gradient times input"),
    "smoothgrad": Entry(
        "gradients:smoothgrad", ("samples", "std", "seed"), "the mean gradient over noisy copies of the picture"
    ),
    "integrated-gradients": Entry(
        "gradients:integrated_gradients",
        ("steps", "baseline"),
        "input times the mean gradient on the way to it from a baseline",
    ),
    "cam": Entry("cam:cam", (), "class activation map, for networks that end in global average pooling"),
    "grad-cam": Entry("cam:grad_cam", ("layer",), "the last convolution's maps, weighted by their mean gradients"),
    "attention-rollout": Entry(
        "rollout:rollout", ("position",), "the product of all layers' attention weights; knows no class and no sign"
    ),
    "uniform": Entry("baselines:uniform", (), "the same everywhere: the paper's baseline"),
}
"""Methods that need no rules: each place holds a function (model, x, target) to relevance, its options keywords."""

METHODS = COMPOSITES | FUNCTIONS


def methods() -> list[str]:
    """The name of every method.

    Example:
        >>> import relprop as rp
        >>> "cmp-alpha2-flat" in rp.methods()
        True
    """
    return list(METHODS)
