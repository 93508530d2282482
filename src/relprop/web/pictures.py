"""Pictures that were handed over, and what networks make of them; all of it runs in the one thread that computes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from relprop.explanation import Explanation
from relprop.from_pictures import as_input
from relprop.plots.viewer.documents import picture_address
from relprop.propagate import explain
from relprop.record.logits import logits_of
from relprop.support.class_names import class_index
from relprop.support.errors import RelpropError
from relprop.web.asked import Asked
from relprop.web.document import DROPPED, Code, demand_finite, document, of_class, probabilities
from relprop.web.held import Held
from relprop.web.limits import Limits
from relprop.web.networks import PICTURES, Network, Networks
from relprop.web.refused import Refused
from relprop.web.uploads import picture_in


@dataclass(frozen=True, eq=False)
class Source:
    """A picture as it was handed over.

    Attributes:
        data: of its file.
        code: how Python code gets at it.
    """

    data: bytes
    code: Code = DROPPED


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as a network takes it.

    Attributes:
        x: (1, 3, H, W), on the network's device.
        seen: (H, W, 3), the same for people.
        logits: of all classes.
        words: how it was prepared.
        code: how Python code gets at it.
        boxes: of objects in it, in pixels of `seen`: left, top, right, bottom, half-open.
    """

    x: Tensor
    seen: NDArray[np.uint8]
    logits: list[float]
    words: str
    code: Code
    boxes: tuple[tuple[int, int, int, int], ...] = ()


class Pictures:
    """All that is known of pictures."""

    def __init__(self, networks: Networks, limits: Limits) -> None:
        self._networks = networks
        self._limits = limits
        self._sources: Held[str, Source] = Held(limits.held, lambda source: len(source.data))
        self._prepared: Held[tuple[str, str], Prepared] = Held(limits.prepared)

    def add(self, data: bytes, network: str, code: Code = DROPPED) -> dict[str, Any]:
        """Take a picture, and let a network look at it.

        Args:
            data: of its file.
            network: the name of one.
            code: how Python code gets at it.

        Returns:
            What is answered: its id, the picture as the network sees it, and every class, the highest logit first.

        Raises:
            Refused: it is no picture, or one beyond the limits; there is no such network.
            RelpropError: the network cannot be loaded, or fails.
        """
        id_ = hashlib.sha256(data).hexdigest()
        image = picture_in(data, self._limits)
        ready = self._networks.ready(network, PICTURES)
        source = Source(data, code)
        prepared = self._prepare(image, ready, source)
        self._sources.put(id_, source)
        self._prepared.put((id_, ready.name), prepared)
        return self.told(id_, ready, prepared)

    def again(self, id_: str, network: str) -> dict[str, Any]:
        """Return what `add` did, of a picture that is here.

        Raises:
            Refused: it is not (any more), or there is no such network.
        """
        ready = self._networks.ready(network, PICTURES)
        return self.told(id_, ready, self._found(id_, ready))

    def keep(self, id_: str, network: Network, prepared: Prepared) -> dict[str, Any]:
        """Keep what was prepared elsewhere, and return what is answered, as `add` does."""
        self._prepared.put((id_, network.name), prepared)
        return self.told(id_, network, prepared)

    def told(self, id_: str, network: Network, prepared: Prepared) -> dict[str, Any]:
        """What is answered to a picture."""
        height, width = prepared.seen.shape[:2]
        shares = probabilities(prepared.logits, network)
        order = sorted(range(len(prepared.logits)), key=lambda index: -prepared.logits[index])
        return {
            "picture": id_,
            "network": network.name,
            "prepared": prepared.words,
            "height": height,
            "width": width,
            "image": picture_address(prepared.seen),
            "boxes": [list(box) for box in prepared.boxes],
            "classes": [of_class(index, network.classes, prepared.logits, shares) for index in order],
        }

    def explained(self, asked: Asked) -> tuple[Network, Prepared, Explanation]:
        """Explain all targets by all methods, with one forward pass and one walk.

        Raises:
            Refused: the picture is not there (any more), or there is no such network.
            RelpropError: there is no such class, or the engine's own reason.
        """
        network = self._networks.ready(asked.network, PICTURES)
        prepared = self._found(asked.id, network)
        height, width = prepared.seen.shape[:2]
        if height * width * len(asked.targets) * len(asked.methods) > self._limits.numbers:
            raise Refused(422, f"so many maps of {height} x {width} are too much at once; ask in several questions")
        targets = [class_index(target, network.classes) for target in asked.targets]
        e = explain(
            network.model,
            prepared.x,
            list(dict.fromkeys(targets)),
            list(asked.methods),
            check=not network.checked,
        )
        network.checked = True
        demand_finite(e)
        return network, prepared, e

    def document(self, asked: Asked) -> dict[str, Any]:
        """Explain, and describe what came of it; errors as of `explained`."""
        network, prepared, e = self.explained(asked)
        height, width = prepared.seen.shape[:2]
        picture = {
            "picture": asked.id,
            "prepared": prepared.words,
            "image": picture_address(prepared.seen),
            "height": height,
            "width": width,
            "boxes": [list(box) for box in prepared.boxes],
        }
        return document(network, e, asked, prepared.logits, prepared.code) | picture

    def _found(self, id_: str, network: Network) -> Prepared:
        """A picture as a network takes it: as it was kept, or made again of its file."""
        prepared = self._prepared.get((id_, network.name))
        if prepared is not None:
            return prepared
        source = self._sources.get(id_)
        if source is None:
            raise Refused(404, "this picture is not here any more; drop the picture again")
        prepared = self._prepare(picture_in(source.data, self._limits), network, source)
        self._prepared.put((id_, network.name), prepared)
        return prepared

    def _prepare(self, image: Image.Image, network: Network, source: Source) -> Prepared:
        x = as_input(network.model, image)
        seen = np.asarray(network.model.preprocess.picture(image))
        return Prepared(x, seen, logits(network, x), str(network.prepared), source.code)


def logits(network: Network, x: Tensor) -> list[float]:
    """What a network says of a picture (1, 3, H, W), a number for each class.

    Raises:
        RelpropError: it fails, or gives no row of finite logits.
    """
    if not network.checked:
        network.prove(network.model, network.name, x, network.classes)
    with torch.no_grad():
        row = logits_of(network.model(x))[0].double().cpu()
    if not torch.isfinite(row).all():
        raise RelpropError(f"{network.name}: its logits of this picture are not finite; another picture may do")
    return [float(number) for number in row]
