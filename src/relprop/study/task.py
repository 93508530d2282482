"""What is measured: data, network, methods and conventions, as plain data that two runs can compare."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from torch import Tensor, nn

from relprop.catalogue.names import source_sha256
from relprop.catalogue.presets import patterns_named
from relprop.data.entries import Dataset
from relprop.data.geometry import Geometry
from relprop.data.preprocess import Preprocess
from relprop.study import chosen
from relprop.study.measure import Measure
from relprop.study.schema import DEFAULT
from relprop.support.class_names import classes_named, unnamed
from relprop.support.errors import InputError
from relprop.support.fingerprint import tensor_hash, weights_hash
from relprop.support.suggest import did_you_mean

VERSION = 2
"""To be raised when what a row says changes."""

LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "relprop")

METHODS = (
    "cmp-alpha2-flat",
    "cmp-alpha2",
    "cmp-alpha1-flat",
    "cmp-alpha1",
    "lrp-alpha2",
    "lrp-alpha1",
    "lrp-epsilon",
    "lrp-z",
    "gradient",
    "gradient-x-input",
    "guided-backprop",
    "pattern-attribution",
    "uniform",
)
"""The eight configurations of the paper, what they are compared with, and the baseline."""
LEARNED = ("pattern-net", "pattern-attribution")
"""Methods that need patterns, which have to be fitted to the network first."""


@dataclass(frozen=True)
class Task:
    """One study.

    Attributes:
        name: as reports call it.
        data: pictures with boxes.
        model: the network, with `.preprocess` and `.classes`.
        model_name: as the user called it.
        geometry: how picture and boxes are brought to the network's input.
        targets: for each class of the data the model's outputs that mean it; the highest is explained.
        methods: names; none: `METHODS`, those that need patterns only where the network brings some.
        limit: how many pictures, from the first; None: all.
        occlusion: whether object and context are hidden in turn (Fig. 2), where `measures` says nothing.
        profile: numeric conventions.
        seed: of the bootstrap in reports.
        top_k: k of the top-k measure, in pixels.
        chunk: pictures per part on disk.
        measures: names, as `relprop.study.chosen` has them; none: localisation and occlusion.
    """

    name: str
    data: Dataset
    model: nn.Module
    model_name: str
    geometry: Geometry
    targets: Mapping[str, tuple[int, ...]]
    methods: Sequence[str] = ()
    limit: int | None = None
    occlusion: bool = True
    profile: str = "paper"
    seed: int = 0
    top_k: int = 100
    chunk: int = 50
    measures: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.measures:
            object.__setattr__(self, "measures", DEFAULT if self.occlusion else DEFAULT[:1])
        object.__setattr__(self, "occlusion", "occlusion" in self.measures)
        if not self.methods:
            usable = (name for name in METHODS if name not in LEARNED or hasattr(self.model, "patterns"))
            object.__setattr__(self, "methods", tuple(usable))

    @property
    def preprocess(self) -> Preprocess:
        """How the model wants its pictures."""
        preprocess = self.model.preprocess
        if not isinstance(preprocess, Preprocess):
            raise InputError(f"{self.model_name} says nothing of its preprocessing; load it with relprop.models.load")
        return preprocess

    @property
    def number(self) -> int:
        """How many pictures are measured."""
        return len(self.data) if self.limit is None else min(self.limit, len(self.data))

    @cached_property
    def measured(self) -> list[Measure]:
        """The measures themselves, localisation first.

        Raises:
            InputError: there is no such measure, or two of one name.
        """
        return chosen.measures(self.measures)

    def parts(self, shard: tuple[int, int] = (1, 1)) -> dict[int, range]:
        """Return the pictures of each part, by its number: of shard (i, n) the parts i - 1 modulo n."""
        numbers = range(shard[0] - 1, (self.number + self.chunk - 1) // self.chunk, shard[1])
        return {part: range(part * self.chunk, min((part + 1) * self.chunk, self.number)) for part in numbers}

    def pictures(self, parts: Collection[int]) -> int:
        """Return how many pictures these parts have together, those of them that the study has."""
        return sum(len(indices) for part, indices in self.parts().items() if part in parts)

    def config(self) -> dict[str, Any]:
        """All that the rows depend on, for `run.json`.

        Raises:
            InputError: a method needs patterns, and there are none for this network; or what is named as a method or
                a measure of the user's is not there.
        """
        found = {name: patterns_named(name, self.model) for name in self.methods}
        patterns = {name: learned.identity() for name, learned in found.items() if learned}
        annotations = self.data.annotations_sha256(self.number)
        own_methods = {name: source for name in self.methods if (source := source_sha256(name)) is not None}
        optional = {
            "patterns": patterns,
            "own_methods": own_methods,
            "own_measures": chosen.sources(self.measures),
            "measure_tables": list(chosen.later(self.measured)),
            "annotations_sha256": annotations,
        }
        return {
            "task_version": VERSION,
            "name": self.name,
            "data": self.data.identity(),
            "classes": list(self.data.classes),
            "targets": {name: list(indices) for name, indices in self.targets.items()},
            "geometry": self.geometry.identity(),
            "preprocess": identity(self.preprocess),
            "model": {
                "name": self.model_name,
                "depth": depth(self.model),
                "weights_sha256": weights_hash(self.model),
            },
            "methods": list(self.methods),
            "limit": self.limit,
            "occlusion": self.occlusion,
            "measures": list(self.measures),
            "profile": self.profile,
            "seed": self.seed,
            "top_k": self.top_k,
            "chunk": self.chunk,
            "libraries": {library: version(library) for library in LIBRARIES},
        } | {key: found for key, found in optional.items() if found}


def identity(preprocess: Preprocess) -> dict[str, Any]:
    """Describe how pictures are normalised so that another run can tell whether it does likewise; fit for JSON.

    How they are rescaled and cut is left out: that is the geometry's.
    """
    about = {key: preprocess.as_data()[key] for key in ("mean", "std", "channels", "scale")}
    image = preprocess.mean_image
    return about if image is None else about | {"mean_image_sha256": tensor_hash(image)}


def depth(model: nn.Module) -> int:
    """How many convolutions and linear layers a network has."""
    return sum(isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) for module in model.modules())  # noqa: SLF001


def highest(logits: Tensor, indices: Sequence[int]) -> int:
    """Of the outputs that mean a class, the one with the highest of the logits (classes,); of equal ones the first."""
    return max(indices, key=lambda k: (float(logits[k]), -k))


def class_targets(
    classes: Sequence[str], outputs: Sequence[str], mapping: Mapping[str, Sequence[int]] | None = None
) -> dict[str, tuple[int, ...]]:
    """Which outputs of the model mean each class of the data.

    Args:
        classes: the data's.
        outputs: the model's.
        mapping: given by the user; a class that it does not name is not measurable.

    Raises:
        InputError: the mapping names a class or an output that does not exist, or there is no mapping and
            the model's classes are not the data's.
    """
    if mapping is not None:
        for name, indices in mapping.items():
            if name not in classes:
                raise InputError(f"the class map names {name!r}, which the data has not{did_you_mean(name, classes)}")
            if any(not 0 <= index < len(outputs) for index in indices):
                raise InputError(
                    f"the class map sends {name!r} to {list(indices)}; outputs are 0 to {len(outputs) - 1}"
                )
        return {name: tuple(mapping.get(name, ())) for name in classes}
    found = {name: tuple(_outputs_named(name, outputs)) for name in classes}
    missing = next((name for name in classes if not found[name]), None)
    if missing is None:
        return found
    if len(classes) == len(outputs) and (unnamed(outputs) or _of_imagenet(classes)):
        return {name: (index,) for index, name in enumerate(classes)}
    raise InputError(
        f"the data has {len(classes)} classes and the model {len(outputs)}, and none of its outputs is named "
        f"{missing!r}{did_you_mean(missing, outputs)}; say which outputs mean which class with a class map"
    )


def _outputs_named(name: str, outputs: Sequence[str]) -> list[int]:
    """The outputs of that name, of several the highest is explained; spelt alike before spelt in another case."""
    return [k for k, output in enumerate(outputs) if output == name] or classes_named(name, outputs)


def _of_imagenet(classes: Sequence[str]) -> bool:
    """Whether these are ImageNet's thousand WordNet ids, in whose order every network trained on it has its outputs."""
    in_order = list(classes) == sorted(set(classes))
    return len(classes) == IMAGENET and in_order and all(re.fullmatch(r"n\d{8}", name) for name in classes)


IMAGENET = 1000
"""Classes of ImageNet's challenge."""
