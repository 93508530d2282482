"""Table I of Kohlbrenner et al., "Towards Best Practice in Explaining Neural Network Decisions with LRP" (2020)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row: the mean mu_w, mean mu of objects up to a quarter and up to half of the picture, and of all."""

    method: str
    mu_w: float
    small: float
    half: float
    mu: float


@dataclass(frozen=True)
class Experiment:
    """A half of the table: the network, its accuracy in the paper's words, and the rows by mu_w."""

    network: str
    accuracy: str
    rows: tuple[Published, ...]


TABLE_1 = {
    "voc2007": Experiment(
        "CaffeNet",
        "mean AP 72.12",
        (
            Published("cmp-alpha2-flat", 2.716, 0.307, 0.421, 0.532),
            Published("cmp-alpha1", 2.664, 0.306, 0.426, 0.539),
            Published("cmp-alpha1-flat", 2.598, 0.301, 0.421, 0.535),
            Published("cmp-alpha2", 2.475, 0.276, 0.388, 0.504),
            Published("lrp-z", 2.128, 0.236, 0.353, 0.480),
            Published("guided-backprop", 1.943, 0.212, 0.335, 0.470),
            Published("lrp-alpha2", 1.843, 0.205, 0.320, 0.452),
            Published("lrp-alpha1", 1.486, 0.163, 0.273, 0.403),
            Published("uniform", 1.000, 0.100, 0.186, 0.322),
        ),
    ),
    "imagenet": Experiment(
        "VGG-16",
        "top-5 90.1 %",
        (
            Published("cmp-alpha2-flat", 1.902, 0.397, 0.534, 0.714),
            Published("cmp-alpha2", 1.797, 0.368, 0.505, 0.693),
            Published("cmp-alpha1", 1.7044, 0.3467, 0.4887, 0.6898),
            Published("cmp-alpha1-flat", 1.7043, 0.3466, 0.4886, 0.6898),
            Published("lrp-alpha2", 1.702, 0.332, 0.496, 0.706),
            Published("guided-backprop", 1.640, 0.312, 0.485, 0.710),
            Published("lrp-alpha1", 1.609, 0.306, 0.475, 0.699),
        ),
    ),
}
"""The paper's rows by data set. Of ImageNet, those of Pattern Attribution, LRP_z and the baseline are not legible
in our copy, and left out."""


def published(data: str) -> Experiment | None:
    """Return what the paper measured on a data set named so; None where the data is not the paper's.

    Args:
        data: a name; case and punctuation do not matter, nor which split is named (``"VOC 2007 test"``). Other
            sets made after ImageNet are not the paper's.
    """
    plain = "".join(character for character in data.casefold() if character.isalnum())
    known = re.fullmatch(r"(?:pascal)?(voc2007|imagenet)(?:2012)?(?:train|test|val|validation)*", plain)
    return TABLE_1[known[1]] if known else None


def margins(experiment: Experiment) -> dict[int, float]:
    """Return by the number of a claim what the paper's own table says of it, as our studies put it.

    Claim 2: the lowest mu_w of a method, to be above 1. Claims 3 and 4: mu_w of the lowest composite less that of the
    highest other method, of CMP:alpha2+flat less that of the next. Claim 5: what composing adds less what tuning
    changes. The other claims have no figure in the table.
    """
    mu_w = {row.method: row.mu_w for row in experiment.rows}
    composites = [value for name, value in mu_w.items() if name.startswith("cmp-")]
    others = [value for name, value in mu_w.items() if not name.startswith("cmp-")]
    gains = [mu_w[f"cmp-{alpha}"] - mu_w[f"lrp-{alpha}"] for alpha in ("alpha1", "alpha2")]
    best = mu_w["cmp-alpha2-flat"]
    return {
        2: min(value for name, value in mu_w.items() if name != "uniform"),
        3: min(composites) - max(others),
        4: best - max(value for name, value in mu_w.items() if name != "cmp-alpha2-flat"),
        5: sum(gains) / 2 - abs(mu_w["lrp-alpha2"] - mu_w["lrp-alpha1"]),
    }
