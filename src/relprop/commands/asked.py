"""A network and what is asked of it about pictures: opened once, and answered for as many as there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import relprop as rp
from relprop.commands.answer import demand_answer
from relprop.commands.picture_requests import PictureRequest
from relprop.models.networks.regional import Box, Regional
from relprop.models.registry import load
from relprop.propagate import GROWN
from relprop.support.account import Account
from relprop.support.class_names import class_index
from relprop.support.devices import device_named
from relprop.support.errors import InputError, RelpropError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relprop.data.preprocess import Preprocess
    from relprop.walk.ledger import Ledger


Figures = dict[str, float | None]
"""What a ledger says of a map, by `COLUMNS`."""
TOOK = ("bias", "eps", "lost")
COLUMNS = ("conservation_error", *TOOK)


@dataclass(frozen=True)
class Explained:
    """What was found of one picture.

    Attributes:
        seen: (H, W, 3) uint8, the picture as the network saw it.
        classes: a name per logit.
        logits: of the picture.
        targets: T indices of the classes explained.
        maps: (T, C, H, W) float32 by method.
        accounts: what the sum of relevance lacks of the logit, by method and target; None throughout for methods that
            conserve nothing, as gradients do.
    """

    seen: NDArray[np.uint8]
    classes: tuple[str, ...]
    logits: list[float]
    targets: list[int]
    maps: dict[str, NDArray[np.float32]]
    accounts: dict[str, list[Figures]]

    def account(self, method: str, row: int) -> Account:
        """What one map holds of what relevance started as: the logit, or one with methods that start there."""
        total = float(self.maps[method][row].sum(dtype=np.float64))
        took = [number for name in TOOK if (number := self.accounts[method][row][name]) is not None]
        start = total + sum(took) if took else None
        return Account(total, self.logits[self.targets[row]], start, *took)

    def named(self, index: int) -> dict[str, Any]:
        """Describe a class, for the report."""
        return {"index": index, "class": self.classes[index], "logit": self.logits[index]}

    def highest(self, number: int) -> list[int]:
        """Return the classes of the highest logits, that one first."""
        return torch.tensor(self.logits).topk(min(number, len(self.logits))).indices.tolist()

    def demand_finite(self, network: str) -> None:
        """Refuse maps that nobody could read.

        Raises:
            RelpropError: a method's map is not finite.
        """
        for method, maps in self.maps.items():
            if not np.isfinite(maps).all():
                raise RelpropError(f"{method}: its map of {network} is not finite; {GROWN}")


@dataclass
class Asked:
    """A network on its device, and the question.

    Attributes:
        model: in eval mode; of a segmentation network, at the place that is explained.
        name: what the user called it.
        preprocess: how it wants pictures.
        classes: a name per logit.
        targets: the classes to explain; empty: the `highest` of each picture.
        methods: their names; None: best practice.
        highest: how many classes are explained where none is named.
        profile: of numeric conventions.
        device: where it is.
        checked: whether its record was replayed, which proves it for all pictures.
    """

    model: nn.Module
    name: str
    preprocess: Preprocess
    classes: tuple[str, ...]
    targets: list[int]
    methods: list[str] | None
    highest: int
    profile: str
    device: torch.device
    checked: bool = False

    def explain(self, x: Tensor, seen: Sequence[NDArray[np.uint8]]) -> list[Explained]:
        """Explain pictures at once; before the first the network has to prove that it answers as it says.

        Args:
            x: (B, 3, H, W), prepared, on the network's device.
            seen: B pictures as the network sees them.

        Raises:
            RelpropError: with one line that says what to mend.
        """
        if not self.checked:
            demand_answer(self.model, self.name, x, self.classes)
        e = rp.explain(
            self.model,
            x,
            targets=self.targets or self._top,
            methods=self.methods,
            profile=self.profile,
            check=not self.checked,
        )
        self.checked = True
        logits, targets = e.outputs.tolist(), e.targets.T.tolist()
        maps = {method: R.float().cpu().numpy() for method, R in e.relevance.items()}
        accounts = {method: _accounts(e.ledger.get(method), *e.targets.shape) for method in maps}
        return [
            Explained(
                picture,
                self.classes,
                logits[b],
                targets[b],
                {method: R[:, b] for method, R in maps.items()},
                {method: rows[b] for method, rows in accounts.items()},
            )
            for b, picture in enumerate(seen)
        ]

    def _top(self, logits: Tensor) -> Tensor:
        """The highest classes of each picture, (T, B)."""
        return logits.topk(min(self.highest, logits.shape[1])).indices.T


def opened(request: PictureRequest, highest: int) -> Asked:
    """Load the network, once, and find what it is to be asked.

    Raises:
        RelpropError: there is no such network, class or device.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    device = device_named(request.device)
    model = load(request.model, request.weights).to(device)
    classes = cast("tuple[str, ...]", model.classes)
    place = region(request)
    return Asked(
        model=Regional(model, place) if place else model,
        name=request.model,
        preprocess=cast("Preprocess", model.preprocess),
        classes=classes,
        targets=list(dict.fromkeys(class_index(word, classes) for word in request.targets)),
        methods=list(dict.fromkeys(request.methods)) or None,
        highest=highest,
        profile=request.profile,
        device=device,
    )


def region(request: PictureRequest) -> Box | None:
    """The place of the map that is explained, where one is named."""
    if request.pixel and request.region:
        raise InputError("--pixel and --region were both named; give one of them")
    if request.pixel:
        x, y = request.pixel
        return x, y, x + 1, y + 1
    return request.region


def _accounts(ledger: Ledger | None, targets: int, pictures: int) -> list[list[Figures]]:
    """What a method's ledger says, for each picture and target."""
    if ledger is None:
        return [[dict.fromkeys(COLUMNS)] * targets] * pictures
    numbers = torch.stack([ledger.errors, *(ledger.sum(column) for column in TOOK)])
    return [[dict(zip(COLUMNS, row, strict=True)) for row in rows] for rows in numbers.permute(2, 1, 0).tolist()]
