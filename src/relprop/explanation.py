"""What `explain` returns: relevance by method, with the outputs and the ledgers that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relprop.support.account import Account
from relprop.support.arrays import array_path, npy
from relprop.support.class_names import class_index
from relprop.support.errors import InputError
from relprop.support.files import write_whole
from relprop.support.suggest import did_you_mean
from relprop.support.tables import counted, html_table, text_table
from relprop.tape.trees import mapped, tensors_of
from relprop.walk.ledger import Ledger

HEAD = ("target", "logit", "method", "relevance", "bias", "eps", "lost")


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` returns; T targets, B pictures. It prints as a table; two are equal if they are one.

    Where there are conditions, T counts each target once for every condition: target by target, and for each of them
    the conditions in their order.

    Attributes:
        outputs: (B, C) logits, from the one forward pass that all methods share; where no class is a target, what the
            model returned.
        targets: (T, B) class indices that were explained; -1 where the target is a function.
        values: (T, B) what was explained: the logit of the target, or the value of the function.
        relevance: per method (T, B, *x.shape[1:]), in the structure of x where that is a tuple or a mapping.
        ledger: per method a row per op; a function of the user's own has none.
        inside: per method and module path (T, B, *shape) at that module's output, as asked for.
        labels: a word for each target.
        classes: names of the outputs, where the model has `.classes`.
        x: what was explained, where it is pictures (B, C, H, W) of one or three channels; None otherwise.
        preprocess: the model's `.preprocess`, where it has one: it knows what x looks like.
    """

    outputs: Any
    targets: Tensor
    values: Tensor
    relevance: dict[str, Any]
    ledger: dict[str, Ledger]
    inside: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    x: Tensor | None = None
    preprocess: Any = None

    def map(self, target: int | str | None = None, method: str | None = None, picture: int = 0) -> Tensor:
        """One map: (H, W) of a picture, channels summed; (L,) of a text; otherwise of the shape of x less the batch.

        Args:
            target: an explained class, an index or a name; or the name of a function that was a target; None: the
                first.
            method: whose map; None: the first.
            picture: which of the batch.

        Raises:
            InputError: there is no such target, method or picture, or there are several inputs.

        Example:
            >>> import torch, relprop as rp
            >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
            >>> e = rp.explain(model, torch.rand(2, 3, 8, 8), [0, 2], ["lrp-z"])
            >>> e.map(2, picture=1).shape
            torch.Size([8, 8])
        """
        return self._map(self.place(target), self.method(method), picture)

    def account(self, target: int | str | None = None, method: str | None = None, picture: int = 0) -> Account:
        """How much of what is explained one map holds, and where the rest went.

        Args:
            target: as for `map`, like the others.
            method: whose map.
            picture: which of the batch.

        Raises:
            InputError: there is no such target, method or picture.

        Example:
            >>> import torch, relprop as rp
            >>> e = rp.explain(torch.nn.Linear(4, 3, bias=False).eval(), torch.ones(1, 4), [0], ["lrp-z"])
            >>> e.account().share.__round__(4)
            1.0
        """
        return self._account(self.place(target), self.method(method), picture)

    def picture(self, picture: int = 0) -> NDArray[np.uint8]:
        """A picture of the batch as the model saw it, (H, W, 3).

        Where the model has no `.preprocess` that could be undone, black is the least number of x in it and white the
        largest.

        Raises:
            InputError: what was explained is no picture, or there is no such one.
        """
        if self.x is None:
            raise InputError("what was explained is no picture (B, C, H, W) of one or three channels")
        x = self.x[self._of_batch(picture)].detach().float()
        if x.shape[0] == 3 and hasattr(type(self.preprocess), "pixels"):
            shown = self.preprocess.pixels(x)
        else:
            shown = (x - x.min()) / (x.max() - x.min()).clamp(min=torch.finfo(x.dtype).tiny)
        pixels: NDArray[np.uint8] = (
            (shown * 255).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()
        )
        return pixels

    def title(self, place: int, picture: int = 0) -> str:
        """What stands at a place along T, for people: "six (class 6), logit 7.861"."""
        index, value = int(self.targets[place, picture]), float(self.values[place, picture])
        number = f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
        if index < 0:
            return f"{self.labels[place]}, value {number}"
        if not self.labels[place].isdecimal():  # a token at a place
            return f"{self.labels[place]}, logit {number}"
        name = f"{self.classes[index]} (class {index})" if index < len(self.classes) else f"class {index}"
        return f"{name}, logit {number}"

    def cell(self, place: int, method: str, picture: int = 0) -> tuple[NDArray[np.float64], Account]:
        """One map of the grid (H, W) with what it holds; target by place along T."""
        found = self._map(place, method, picture)
        if self.x is None or found.ndim != 2:
            raise InputError("what was explained is no picture (B, C, H, W) of one or three channels")
        return found.detach().double().cpu().numpy(), self._account(place, method, picture)

    def save(self, path: str | Path, picture: int | None = None, **look: Any) -> list[Path]:
        """Write a figure, or the numbers; files that exist are replaced.

        Args:
            path: `cat.png`, `cat.pdf`, `cat.svg` and so on, for `relprop.plots.grid` of this; `cat.npy` for the maps
                (T, B, *x.shape[1:]), with several methods `cat.lrp-z.npy` and so on.
            picture: of a figure, which of the batch; None: all.
            look: of a figure, what `relprop.plots.grid` takes: `overlay`, `scale`, `sign`, `boxes` and so on.

        Returns:
            The files written.

        Raises:
            InputError: the path's ending is of no known kind, or there are several inputs or no pictures.
            WriteError: a file cannot be written.

        Example:
            >>> import tempfile, torch, relprop as rp
            >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
            >>> e = rp.explain(model, torch.rand(2, 3, 8, 8), [0, 2], ["lrp-z", "gradient"])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     files = e.save(f"{folder}/cat.npy") + e.save(f"{folder}/cat.svg", sign="+")
            >>> [file.name for file in files]
            ['cat.lrp-z.npy', 'cat.gradient.npy', 'cat.svg']
        """
        from relprop.plots.drawn import FORMATS, render  # noqa: PLC0415 - drawing is wanted here alone
        from relprop.plots.explained import grid  # noqa: PLC0415

        path = Path(path)
        kind = path.suffix[1:].lower()
        if kind == "npy":
            files = self._arrays(path)
        elif kind in FORMATS:
            files = {path: render(grid(self, picture, **look), kind)}
        else:
            raise InputError(f"{path}: end it with .npy for the numbers, or .{', .'.join(FORMATS)} for a figure")
        for each, content in files.items():
            write_whole(each, content)
        return list(files)

    def _arrays(self, path: Path) -> dict[Path, bytes]:
        """The maps of each method as files."""
        files = {}
        for name, maps in self.relevance.items():
            if not isinstance(maps, Tensor):
                raise InputError(f"there are several inputs; save the maps of each, relevance[{name!r}][...]")
            numbers = maps.detach().to(torch.promote_types(maps.dtype, torch.float32)).cpu().numpy()
            files[array_path(path, name, len(self.relevance))] = npy(numbers)
        return files

    def to(self, device: Any) -> Explanation:
        """The same with all its tensors on a device, such as "cpu".

        Example:
            >>> import torch, relprop as rp
            >>> e = rp.explain(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), [0], ["lrp-z"])
            >>> e.to("cpu").outputs.device.type
            'cpu'
        """

        def moved(tree: Any) -> Any:
            return mapped(Tensor, lambda t: t.to(device), tree)

        return replace(
            self,
            **{
                name: moved(getattr(self, name))
                for name in ("outputs", "targets", "values", "relevance", "inside", "x")
            },
            ledger={name: kept.to(device) for name, kept in self.ledger.items()},
        )

    def versus(self, a: int | str, b: int | str, method: str | None = None) -> Any:
        """Why a rather than b: the map of a less the map of b, (B, *x.shape[1:]), in the structure of x.

        Args:
            a: an explained class, an index or a name; or the name of a function that was a target.
            b: another.
            method: whose maps; None: the first of them.

        Raises:
            InputError: a or b was not explained, or there is no such method.

        Example:
            >>> import torch, relprop as rp
            >>> e = rp.explain(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), [0, 2], ["lrp-z"])
            >>> e.versus(0, 2).shape
            torch.Size([1, 4])
        """
        name = self.method(method)
        one, other = self.place(a), self.place(b)
        return mapped(Tensor, lambda R: R[one] - R[other], self.relevance[name])

    def method(self, name: str | None = None) -> str:
        """The name, if there is a method of that name; None: the first.

        Raises:
            InputError: there is none.
        """
        if name is None:
            return next(iter(self.relevance))
        if name not in self.relevance:
            near = did_you_mean(name, self.relevance)
            raise InputError(f"{name!r} is none of the methods of this explanation{near}")
        return name

    def place(self, target: int | str | None = None) -> int:
        """Where a target stands along T; None: the first.

        Raises:
            InputError: it was not explained.
        """
        if target is None:
            return 0
        if isinstance(target, str) and target in self.labels and not target.lstrip("-").isdigit():
            return self.labels.index(target)
        index = class_index(target, self.classes) if isinstance(target, str) and self.classes else target
        for place, row in enumerate(self.targets.tolist()):
            if all(each == index for each in row):
                return place
        raise InputError(f"class {target!r} was not explained; the targets are {', '.join(self.labels)}")

    def _of_batch(self, picture: int) -> int:
        if not 0 <= picture < self.targets.shape[1]:
            raise InputError(f"there is no picture {picture}; there are {self.targets.shape[1]}, from 0")
        return picture

    def _map(self, place: int, method: str, picture: int) -> Tensor:
        maps = self.relevance[method]
        if not isinstance(maps, Tensor):
            raise InputError(f"there are several inputs; take the map of one, relevance[{method!r}][...]")
        found = maps[place, self._of_batch(picture)]
        return found.sum(0) if found.ndim == 3 else found

    def _account(self, place: int, method: str, picture: int) -> Account:
        at = place, self._of_batch(picture)
        total = sum(float(R[at].sum(dtype=torch.float64)) for R in tensors_of(self.relevance[method]))
        kept, value = self.ledger.get(method), float(self.values[at])
        if kept is None:
            return Account(total, value)
        return Account(total, value, float(kept.start[at]), *(float(kept.sum(c)[at]) for c in HEAD[4:]))

    def __repr__(self) -> str:
        """Short: `print` and a notebook show a table."""
        return f"Explanation({self._extent()}: {', '.join(self.relevance)})"

    def __str__(self) -> str:
        """A row per target and method, for the first picture."""
        return f"{self._extent()}, the first picture:\n\n{text_table(HEAD, self._rows())}"

    def _repr_html_(self) -> str:
        """What a notebook shows: pictures beside their maps, with what each holds, and the same table."""
        table = html_table(f"{self._extent()}, the first picture", HEAD, self._rows())
        if self.x is None:
            return table
        from relprop.plots.inline import inline  # noqa: PLC0415 - drawing is wanted here alone

        return inline(self) + table

    def _extent(self) -> str:
        targets, pictures = self.targets.shape
        extent = f"{counted(targets, 'target')}, {counted(pictures, 'picture')}"
        if isinstance(self.outputs, Tensor) and self.outputs.ndim == 2:
            return f"{extent}, {counted(self.outputs.shape[1], 'output')}"
        return extent

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for t, label in enumerate(self.labels):
            for name, maps in self.relevance.items():
                ledger = self.ledger.get(name)
                lost = [float(ledger.sum(column)[t, 0]) for column in HEAD[4:]] if ledger else []
                total = sum(float(R[t, 0].sum(dtype=torch.float64)) for R in tensors_of(maps))
                numbers = [f"{number:.6g}" for number in (total, *lost)]
                missing = ["-"] * (len(HEAD) - 3 - len(numbers))
                rows.append((label, f"{float(self.values[t, 0]):.6g}", name, *numbers, *missing))
        return rows


def finite(maps: Any) -> bool:
    """Whether all numbers of maps are finite."""
    return all(bool(torch.isfinite(R).all()) for R in tensors_of(dict(maps) if isinstance(maps, Mapping) else maps))
