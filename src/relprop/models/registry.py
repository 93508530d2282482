"""Every network that `load` knows, by name or by the form of its name, and where each comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.families import embedded, factory, hugging_face, onnx_file, timm_zoo
from relprop.models.families.unknown import Unknown
from relprop.models.files import checkpoints, weight_files
from relprop.models.files.checkpoints import ModelError
from relprop.models.files.weight_files import Weights
from relprop.support.suggest import nearest

Loaded = tuple[torch.nn.Module, Preprocess | Unknown, tuple[str, ...] | Unknown]


@dataclass(frozen=True)
class Source:
    """A family of networks.

    Attributes:
        title: what the family is called in lists.
        owns: tells whether a name is one of its names, or of their form.
        names: gives the networks' names, those that can be listed.
        needs: says what loading the network of that name, or one of that form, takes.
        load: gives the network of that name, its preprocessing and its classes, from what `load` below takes.
        form: what its names look like, where they are too many to list unasked, or cannot be; ``""``: they are listed.
    """

    title: str
    owns: Callable[[str], bool]
    names: Callable[[], Iterable[str]]
    needs: Callable[[str], str]
    load: Callable[[str, str | Path | None], Loaded]
    form: str = ""


EMBEDDED_PREPROCESS = Preprocess(64, 64, embedded.MEAN, embedded.STD)
"""What the embedded networks were trained with."""


def load_embedded(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Load an embedded network, with preprocessing and classes from the card of `weights` where there is one."""
    if weights is None:
        return embedded.load(name), EMBEDDED_PREPROCESS, embedded.CLASSES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = embedded.architecture(name)
    if weights == "random":
        return model, EMBEDDED_PREPROCESS, embedded.CLASSES
    found = weight_files.to_load(weights, name, ["random"])
    checkpoints.fit(model, found.state, found.source, name)
    classes = found.names(len(embedded.CLASSES), embedded.CLASSES)
    return model, found.preprocess or EMBEDDED_PREPROCESS, classes


def _later(module: str) -> ModuleType:
    """Import a module of ours only now that it is asked: torchvision, for one, takes longer to import than torch."""
    return import_module(f"relprop.models.{module}")


SOURCES = (
    Source(
        "embedded",
        lambda name: name in embedded.NAMES,
        lambda: embedded.NAMES,
        lambda _: "nothing: it is in the package",
        load_embedded,
    ),
    Source(
        "Caffe",
        lambda name: name == "caffenet",
        lambda: ("caffenet",),
        lambda name: _later("networks.caffenet").needs(name),
        lambda name, weights: _later("networks.caffenet").load(name, weights),
    ),
    Source(
        "timm",
        lambda name: name.startswith(timm_zoo.PREFIX),
        timm_zoo.names,
        timm_zoo.needs,
        timm_zoo.load,
        form=f"{timm_zoo.PREFIX}NAME",
    ),
    Source(
        "Hugging Face",
        lambda name: name.startswith(hugging_face.PREFIX),
        lambda: (hugging_face.FORM,),
        hugging_face.needs,
        hugging_face.load,
        form=hugging_face.FORM,
    ),
    Source(
        "ONNX",
        lambda name: name.lower().endswith(onnx_file.SUFFIX),
        lambda: (onnx_file.FORM,),
        onnx_file.needs,
        onnx_file.load,
        form=onnx_file.FORM,
    ),
    Source("your own", factory.owns, lambda: (factory.FORM,), factory.needs, factory.load, form=factory.FORM),
    Source(
        "torchvision",
        lambda name: name in _later("families.zoo").names(),
        lambda: _later("families.zoo").names(),
        lambda name: _later("families.zoo").needs(name),
        lambda name, weights: _later("families.zoo").load(name, weights),
    ),
)
"""In this order a name's family is sought: torchvision, which takes long to import, is asked last."""


def names() -> list[str]:
    """Return the name of every network that `load` knows by name; those of a form, such as timm's, left out."""
    return [name for source in SOURCES if not source.form for name in source.names()]


def listing(prefix: str = "") -> Iterator[tuple[str, Source]]:
    """Give what there is to load: names, and one form for each family whose names are not listed.

    Args:
        prefix: of the names wanted; with ``"timm:"`` and more, timm's names themselves.
    """
    for source in sorted(SOURCES, key=lambda source: bool(source.form)):
        whole = source.form and not (prefix and source.owns(prefix))
        for name in (source.form,) if whole else source.names():
            if name.startswith(prefix):
                yield name, source


def source_of(name: str) -> Source:
    """Return the family of `name`.

    Raises:
        ModelError: there is no such network; the nearest names are offered.
    """
    for source in SOURCES:
        if source.owns(name):
            return source
    raise ModelError(f"no model {name!r}{_suggestion(name)}")


def _suggestion(name: str) -> str:
    """What could have been meant by a name that is none: timm's of that name, a file, a folder, a near name."""
    timms = [full.removeprefix(timm_zoo.PREFIX) for full in timm_zoo.names()]
    if name in timms:
        return f"; did you mean {timm_zoo.PREFIX}{name}?"
    if Path(name).is_file():
        return ", but a file: pass it with --weights, and its network with --model"
    if "/" in name or Path(name).is_dir():
        return f"; did you mean {hugging_face.PREFIX}{name}?"
    ours = names()
    near = nearest(name, [*ours, *(other for other in timms if other not in ours)], most=3)
    told = " or ".join(other if other in ours else timm_zoo.PREFIX + other for other in near)
    return f"; did you mean {told}?" if told else "; relprop models lists them"


def needs(name: str) -> str:
    """Say in a few words what loading `name` takes: nothing, or a download of so many MB."""
    return source_of(name).needs(name)


def load(name: str, weights: str | Path | None = None) -> torch.nn.Module:
    """Load a network to be explained.

    Args:
        name: as `names` lists it: an embedded one (``"digits-deep"``), CaffeNet (``"caffenet"``) or torchvision's
            (``"vgg16"``); timm's (``"timm:resnet18"``, ``"timm:resnet18.a1_in1k"``); a classifier in the format of
            Hugging Face (``"hf:FOLDER"``, ``"hf:OWNER/NAME"``); an ONNX file (``"net.onnx"``); or a function of your
            own that returns a network (``"package.module:function"``).
        weights: None: its own, downloaded where they must be. ``"random"``: none, but numbers that are the
            same each time; enough to look at a network's structure. For torchvision also the name of one of
            its entries (``"IMAGENET1K_V1"``). Otherwise a safetensors or torch file, in which nothing is
            executed, or for VGG a Keras .h5. Preprocessing and classes are those of the file's card (as
            ``relprop convert`` writes it) or format (Keras'); a file without stays with the preprocessing of the
            network's own weights. ONNX files take None only.

    Returns:
        The network on the CPU in eval mode. Its attribute ``preprocess`` is a `Preprocess` (picture to
        (3, H, W) tensor) and ``classes`` a tuple with a name per logit. Where a network does not tell them (ONNX), or
        tells a preprocessing that ours cannot do, using them raises a `ModelError` that says how to mend it.

    Raises:
        ModelError: no such network; weights missing, damaged, of another network, or not to be downloaded; a library
            that is not installed.
    """
    return _ready(source_of(name).load(name, weights))


def structure(name: str) -> torch.nn.Module:
    """Load a network of whose weights nothing is wanted; as `load` does, but without a download of weights."""
    source = source_of(name)
    held = source.load is onnx_file.load  # its structure and its weights are one file
    return _ready(source.load(name, None if held else "random"))


def _ready(loaded: Loaded) -> torch.nn.Module:
    model, preprocess, classes = loaded
    vars(model).update(preprocess=preprocess, classes=classes)  # plain attributes, no part of its state
    return model.eval()
