"""A study that is looked at beside the page: its rows, and its pictures where they can be found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from relprop.data.entries import Dataset
from relprop.data.geometry import Framed, Geometry, around, like, normalise
from relprop.data.orientation import framed
from relprop.study.store import CHUNK, Store
from relprop.support.devices import device_of
from relprop.web.document import Code
from relprop.web.limits import Limits
from relprop.web.networks import PICTURES, Network, Networks
from relprop.web.pictures import Pictures, Prepared, logits
from relprop.web.refused import Refused, shown
from relprop.web.study_rows import query_in, rows

OPENED = Code('open_picture("picture.png")', ("from relprop.data.pictures import open_picture",))
"""How a picture is got of which only its file's content is known."""


@dataclass
class StudyFolder:
    """A study's folder.

    Attributes:
        store: of it.
        data: what it was measured on; None: it cannot be found.
        code: how Python code gets at one of its pictures, by position.
        config: what was measured.
    """

    store: Store
    data: Dataset | None
    code: Callable[[int], Code] = lambda _: OPENED
    config: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.store.config()

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.config.get("name") or self.store.folder.resolve().name)

    @property
    def methods(self) -> list[str]:
        """That were measured."""
        return [str(method) for method in self.config.get("methods", ())]

    def about(self) -> dict[str, Any]:
        """Describe it."""
        return {"name": self.name, "pictures": self.data is not None, "classes": self.config.get("classes", [])}

    def rows(self, words: Mapping[str, str], limits: Limits) -> Callable[[], dict[str, Any]]:
        """Return what finds rows.

        Args:
            words: of the address, as `query_in` reads them.
            limits: of requests.

        Raises:
            Refused: they ask for what there is not.
        """
        query = query_in(words, self.methods, limits)

        def found() -> dict[str, Any]:
            answer = rows(self.store, query)
            answer["rows"] = [self._row(row) for row in answer["rows"]]
            return answer | {"methods": self.methods}

        return found

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        names = ("image_id", "method", "status", "mu", "mu_w", "logit")
        key = None if self.data is None else str(row["image_index"])
        found = {name: row[name] for name in names}
        told = {name: None if isinstance(each, float) and not isfinite(each) else each for name, each in found.items()}
        return {"class": row["class_name"], "picture": key} | told

    def picture(self, key: str, network: str, networks: Networks, pictures: Pictures) -> dict[str, Any]:
        """Open a picture of the study, brought to a network as the study brought it to its own.

        Args:
            key: its position, as its rows have it.
            network: the name of one.
            networks: all of them.
            pictures: which keep it.

        Returns:
            What is answered to a picture.

        Raises:
            Refused: there is no such picture or network, or it is not the one that was measured.
            RelpropError: it cannot be read, or the network fails.
        """
        if self.data is None:
            raise Refused(404, "where the study's pictures are is not known; relprop serve --data NAME --root FOLDER")
        if not (key.isascii() and key.isdigit() and len(key) <= 12 and int(key) < len(self.data)):
            raise Refused(404, f"no picture {shown(key)!r} in this study; its rows name those that there are")
        index = int(key)
        self._demand_as_measured(index)
        ready = networks.ready(network, PICTURES)
        id_ = hashlib.sha256(f"{self.store.folder.resolve()} {index}".encode()).hexdigest()
        return pictures.keep(id_, ready, self._prepared(index, ready))

    def _demand_as_measured(self, index: int) -> None:
        """Refuse a picture that was edited since it was measured."""
        assert self.data is not None
        part = index // int(self.config.get("chunk") or CHUNK)
        if part not in self.store.done():
            return
        columns = ("image_index", "image_id", "picture_sha256")
        for _, tables in self.store.blocks(["predictions"], [part], columns):
            for row in tables["predictions"].to_pylist():
                if row["image_index"] == index and row["picture_sha256"] != self.data.picture_sha256(index):
                    raise Refused(409, f"{row['image_id']} is not the file that was measured: edited or replaced since")

    def _prepared(self, index: int, network: Network) -> Prepared:
        assert self.data is not None
        entry = self.data[index]
        preprocess = network.model.preprocess
        own, geometry = like(preprocess), self._geometry()
        if geometry.crop != own.crop:  # it is another network, of another size
            geometry = own
        apart = tuple(replace(thing, name=str(k)) for k, thing in enumerate(entry.things))
        found: Framed = framed(replace(entry, things=apart), geometry)
        x = _input(found.image, network)
        return Prepared(
            x,
            np.asarray(found.image),
            logits(network, x),
            network.in_words(
                replace(preprocess, resize=geometry.resize, crop=geometry.crop, interpolation=geometry.interpolation)
            ),
            self.code(index) if geometry == own else _brought(self.code(index), geometry),
            tuple(around(mask) for mask in found.masks.values()),
        )

    def _geometry(self) -> Geometry:
        """How the study brought its pictures to its network."""
        told = self.config["geometry"]
        resize = told["resize"]
        return Geometry(tuple(resize) if isinstance(resize, list) else resize, told["crop"], told["interpolation"])


def _input(image: Image.Image, network: Network) -> Tensor:
    x = normalise(image, network.model.preprocess)[None].to(device_of(network.model))
    weights = next(network.model.parameters(), None)
    return x if weights is None or not weights.is_floating_point() else x.to(weights.dtype)


def _brought(code: Code, geometry: Geometry) -> Code:
    """How Python code brings a picture to a network in a way that is not the network's own."""
    words = f"Geometry({geometry.resize!r}, {geometry.crop}, {geometry.interpolation!r})"
    before = (*code.before, "from relprop.data.geometry import Geometry, normalise")
    return Code(f"normalise({words}({code.x}).image, model.preprocess)[None]", before)
