"""Every network that `load` knows, by name or by the form of its name, and the family that each is of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from relprop.models.errors import ModelError
from relprop.models.families import library_names
from relprop.models.families import needs as needed
from relprop.models.families.family import Family
from relprop.models.families.library_names import TIMM
from relprop.models.families.needs import HUGGING_FACE, ONNX_FORM
from relprop.support import user_code
from relprop.support.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import torch

    from relprop.data.preprocess import Preprocess
    from relprop.models.families.family import Loaded

    class Network(torch.nn.Module):
        """What `load` returns, to a type checker: to Python it is of the class that its own library gave it."""

        preprocess: Preprocess
        classes: tuple[str, ...]
        tokenizer: Any
        encode: Callable[[str | Sequence[str]], dict[str, torch.Tensor]]
        tokens: Callable[[Any], list[Any]]


FAMILIES = (
    Family(
        "embedded",
        includes=lambda name: name in ("digits-shallow", "digits-deep"),
        names=lambda: ("digits-shallow", "digits-deep"),
        needs=needed.embedded,
        loader="relprop.models.families.embedded:load",
        converts=True,
    ),
    Family(
        "Caffe",
        includes=lambda name: name == "caffenet",
        names=lambda: ("caffenet",),
        needs=needed.caffe,
        loader="relprop.models.families.caffe:load",
        converts=True,
    ),
    Family(
        "torchvision",
        includes=lambda name: name in library_names.torchvision(),
        names=library_names.torchvision,
        needs=needed.torchvision,
        loader="relprop.models.families.torchvision_zoo:load",
        converts=True,
    ),
    Family(
        "torchvision, segmentation",
        includes=lambda name: name in library_names.torchvision("segmentation"),
        names=lambda: library_names.torchvision("segmentation"),
        needs=needed.torchvision,
        loader="relprop.models.families.torchvision_segmentation:load",
    ),
    Family(
        "torchvision, detection",
        includes=lambda name: name in library_names.torchvision("detection"),
        names=library_names.one_stage,
        needs=needed.torchvision,
        loader="relprop.models.families.torchvision_detection:load",
    ),
    Family(
        "timm",
        includes=lambda name: name.startswith(TIMM),
        names=library_names.timm,
        needs=needed.timm,
        loader="relprop.models.families.timm_zoo:load",
        form=f"{TIMM}NAME",
    ),
    Family(
        "Hugging Face",
        includes=lambda name: name.startswith(HUGGING_FACE),
        names=lambda: ("hf:FOLDER, hf:OWNER/NAME",),
        needs=needed.hugging_face,
        loader="relprop.models.families.hugging_face:load",
        form="hf:FOLDER, hf:OWNER/NAME",
    ),
    Family(
        "ONNX",
        includes=lambda name: name.lower().endswith(".onnx"),
        names=lambda: (ONNX_FORM,),
        needs=needed.onnx,
        loader="relprop.models.families.onnx_file:load",
        form=ONNX_FORM,
        weights_apart=False,
    ),
    Family(
        "your own",
        includes=user_code.is_name,
        names=lambda: ("package.module:factory",),
        needs=needed.factory,
        loader="relprop.models.families.factory:load",
        form="package.module:factory",
    ),
)
"""In this order they are listed, and a name's family is sought."""


def names() -> list[str]:
    """Return the name of every network that `load` knows by name; those of a form, such as timm's, left out.

    Example:
        >>> import relprop as rp
        >>> rp.models.names()[:2]
        ['digits-shallow', 'digits-deep']
    """
    return [name for family in FAMILIES if not family.form for name in family.names()]


def listing(prefix: str = "") -> Iterator[tuple[str, Family]]:
    """Give what there is to load: names, and one form for each family whose names are not listed.

    Args:
        prefix: of the names wanted; with ``"timm:"`` and more, timm's names themselves.
    """
    for family in FAMILIES:
        form_alone = family.form and not (prefix and family.includes(prefix))
        for name in (family.form,) if form_alone else family.names():
            if name.startswith(prefix):
                yield name, family


def family_of(name: str) -> Family:
    """Return the family of `name`.

    Raises:
        ModelError: there is no such network; the nearest names are offered.
    """
    for family in FAMILIES:
        if family.includes(name):
            return family
    raise ModelError(f"no model {name!r}{_suggestion(name)}")


def _suggestion(name: str) -> str:
    """What could have been meant by a name that is none: timm's of that name, a file, a folder, a near name."""
    of_timm = [full.removeprefix(TIMM) for full in library_names.timm()]
    if name in of_timm:
        return f"; did you mean {TIMM}{name}?"
    by_path = user_code.meant_by_path(name)
    if by_path:
        return by_path
    if Path(name).is_file():
        return ", but a file: pass it with --weights, and its network with --model"
    if "/" in name or Path(name).is_dir():
        return f"; did you mean {HUGGING_FACE}{name}?"
    listed = names()
    near = nearest(name, [*listed, *(other for other in of_timm if other not in listed)], most=3)
    offered = " or ".join(other if other in listed else TIMM + other for other in near)
    return f"; did you mean {offered}?" if offered else "; relprop models lists them"


def needs(name: str) -> str:
    """Say in a few words what loading `name` takes: nothing, or a download of so many MB.

    Example:
        >>> import relprop as rp
        >>> rp.models.needs("digits-deep")
        'nothing: it is in the package'
    """
    return family_of(name).needs(name)


def load(name: str, weights: str | Path | None = None) -> Network:
    """Load a network to be explained.

    Args:
        name: as `names` lists it: an embedded one (``"digits-deep"``), CaffeNet (``"caffenet"``) or torchvision's
            (``"vgg16"``), of which segmentation networks (``"fcn_resnet50"``) give a map of logits, and detectors of
            one stage (``"retinanet_resnet50_fpn"``) logits and boxes per anchor; timm's (``"timm:resnet18"``,
            ``"timm:resnet18.a1_in1k"``); a classifier of pictures or texts or a language model in the format of Hugging
            Face (``"hf:FOLDER"``, ``"hf:FILE.gguf"``, ``"hf:OWNER/NAME"``); an ONNX file (``"net.onnx"``); or a
            function of your own that returns a network (``"package.module:function"``).
        weights: None: its own, where they are on this machine: nothing is downloaded unasked, but by
            ``"hf:OWNER/NAME"``, which is an address. ``"download"``: its own, fetched once where they are not.
            ``"random"``: none, but numbers that are the same each time; enough to look at a network's structure. For
            torchvision also the name of one of its entries (``"IMAGENET1K_V1"``), fetched likewise. Otherwise a
            safetensors or torch file, in which nothing is executed, or for VGG a Keras .h5. Preprocessing and classes
            are those of the file's card (as ``relprop convert`` writes it) or format (Keras'); a file without stays
            with the preprocessing of the network's own weights. ONNX files take None only.

    Returns:
        The network on the CPU in eval mode. Its attribute ``preprocess`` is a `Preprocess` (picture to
        (3, H, W) tensor) and ``classes`` a tuple with a name per logit. Where a network does not state them (ONNX), or
        states a preprocessing that ours cannot do, using them raises a `ModelError` that says how to mend it. A network
        of texts has ``encode`` (texts to a mapping of what it takes), ``tokens`` (ids to words) and ``tokenizer``; its
        ``classes`` are those of a classifier, and none of a language model.

    Raises:
        ModelError: no such network; weights missing, not on this machine, damaged, of another network, or not to be
            downloaded; a library that is not installed.

    Example:
        >>> import relprop as rp
        >>> model = rp.models.load("digits-shallow")
        >>> model.classes[:3], model.preprocess.crop
        (('zero', 'one', 'two'), 64)
    """
    return _ready(family_of(name).load(name, weights))


def structure(name: str) -> Network:
    """Load a network of whose weights nothing is wanted; as `load` does, but without a download of weights."""
    family = family_of(name)
    return _ready(family.load(name, "random" if family.weights_apart else None))


def _ready(loaded: Loaded) -> Network:
    model, preprocess, classes = loaded
    vars(model).update(preprocess=preprocess, classes=classes)  # plain attributes, no part of its state
    return cast("Network", model.eval())
