"""Any weight file to safetensors with a card: what `relprop convert` does.

`preprocessing` says how pictures are prepared, which is never guessed; `self_check` what the
network answers to a fixed one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from relprop.models.convert.class_names import imagenet, read_classes
from relprop.models.convert.preprocessing import ConvertError, Wanted, preprocessing_for
from relprop.models.convert.self_check import self_check
from relprop.models.errors import ModelError
from relprop.models.files import cards, checkpoints, weight_files
from relprop.models.files.cards import Card, Origin
from relprop.models.files.checkpoints import HDF5
from relprop.models.files.weight_files import Weights
from relprop.models.registry import family_of
from relprop.support.files import WriteError, demand_other, file_sha256, refused
from relprop.support.one_line import printable

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.models.families.family import Family


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: the file.
        sha256: of its content.
        size: bytes.
        card: what stands in it.
        confirmed: whether the source's card had the same self-check; None: it had none to compare with.
    """

    path: Path
    sha256: str
    size: int
    card: Card
    confirmed: bool | None


def convert(wanted: Wanted) -> Converted:
    """Read, check, and write weights with their card, whole or not at all.

    Raises:
        RelpropError: the source or what is said about it is wrong or too little, or the result cannot be written.
    """
    checkpoints.demand(wanted.source)
    _demand_free(wanted)
    family = _family(wanted.model)
    given = read_classes(wanted.classes)
    origin = Origin(_card_name(wanted.source.name), _digest(wanted.source), checkpoints.format_of(wanted.source))
    found = weight_files.open_weights(wanted.source, wanted.model, wanted.prototxt)
    preprocess = preprocessing_for(wanted, found)
    model, _, known = family.load(wanted.model, replace(found, preprocess=preprocess))
    found = replace(found, state={})  # the weights are in the network now, and take room
    classes = _names(wanted, given, found, len(known))
    state = model.state_dict()
    check = self_check(model.eval(), preprocess, str(wanted.source))
    card = Card(wanted.model, classes, preprocess, origin, check, version("relprop"))
    return Converted(wanted.out, *_write(wanted.out, state, card), card, _confirmed(found.card, card))


def _confirmed(old: Card | None, new: Card) -> bool | None:
    """Whether the self-checks of two cards agree; None: they need not, as they prepare pictures differently."""
    if old is None or old.preprocess != new.preprocess:
        return None
    one, other = old.preprocess.mean_image, new.preprocess.mean_image
    alike = one is other if one is None or other is None else torch.equal(one, other)
    return old.check.sha256 == new.check.sha256 if alike else None


def _family(model: str) -> Family:
    """The family of `model`, of those whose networks take weights that were read.

    Raises:
        ConvertError: it is another.
    """
    family = family_of(model)
    if not family.converts:
        reason = f"{model}: networks of {family.title} bring weights and preprocessing along"
        raise ConvertError(f"{reason}; convert takes embedded networks, torchvision's and CaffeNet")
    return family


def _names(wanted: Wanted, given: tuple[str, ...] | None, found: Weights, count: int) -> tuple[str, ...]:
    """A name for each logit, as whoever converts, the card or the format says; else numbers."""
    if given is not None and len(given) != count:
        raise ConvertError(f"--classes {wanted.classes}: {len(given)} classes, and the weights have {count}")
    if given is not None:
        return given
    return found.names(count, imagenet() if found.format == HDF5 else ())


def _demand_free(wanted: Wanted) -> None:
    """Refuse to write over the source, or over what relprop has not written."""
    out = wanted.out
    if not out.exists():
        return
    if not out.is_file():
        raise WriteError(f"{out}: a folder or a device; name a file with --out")
    demand_other(out, [wanted.source])
    if not wanted.force and not _has_card(out):
        raise WriteError(f"{out}: is there, and relprop has not written it; name another with --out, or add --force")


def _has_card(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - few need it

    try:
        with safe_open(path, framework="pt") as file:
            return cards.KEY in (file.metadata() or {})
    except (OSError, SafetensorError, ValueError):
        return False


def _write(path: Path, state: dict[str, Tensor], card: Card) -> tuple[str, int]:
    """Write the file beside its place and put it there when it is whole; return its SHA-256 and size."""
    from safetensors import SafetensorError  # noqa: PLC0415 - few need it
    from safetensors.torch import save_file  # noqa: PLC0415 - likewise

    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    texts, beside = cards.write(card)
    tensors = {key: tensor.contiguous() for key, tensor in state.items()} | beside
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        usual = part.stat().st_mode
        save_file(tensors, part, metadata=texts)
        part.chmod(usual)  # the library leaves it to its owner alone
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # some disks tell only now that they are full
        written = file_sha256(part), part.stat().st_size
        part.replace(path)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError):
            raise refused(path, error) from None
        reason = printable(str(error), 200)
        raise WriteError(f"{path}: not written ({reason}); make room or choose another place") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return written


def _digest(path: Path) -> str:
    """A file's SHA-256.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


def _card_name(name: str) -> str:
    """A file's name as a card may hold it."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)[: cards.LONGEST_NAME]
