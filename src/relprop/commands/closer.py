"""Pages on which a picture's maps can be looked at closely, their numbers in them: where those are not too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relprop.commands.asked import Explained
from relprop.commands.look import accounts
from relprop.commands.picture_requests import PictureRequest
from relprop.commands.readers import read_region
from relprop.plots.viewer import page
from relprop.plots.viewer.documents import document

OF_ONE, OF_ALL = 1_000_000, 10_000_000
"""So many numbers stand in the page of one picture, and in the pages of a whole folder: 5 MB, and 53 MB."""


@dataclass
class Closer:
    """The pages of pictures that were explained.

    Attributes:
        request: what was asked for.
        prepared: how pictures were, in words.
        numbers: in the pages that were made.
        left_out: pictures that have none.
    """

    request: PictureRequest
    prepared: str
    numbers: int = 0
    left_out: int = 0

    def page(self, name: str, path: str, explained: Explained) -> str | None:
        """Return the page of a picture; None where its numbers are too many.

        Args:
            name: what the picture is called.
            path: of its file.
            explained: what was found.
        """
        height, width = explained.seen.shape[:2]
        numbers = len(explained.targets) * len(explained.maps) * height * width
        if numbers > OF_ONE or self.numbers + numbers > OF_ALL:
            self.left_out += 1
            return None
        self.numbers += numbers
        found = document(
            explained.seen,
            [(f"{explained.classes[index]} (class {index})", explained.logits[index]) for index in explained.targets],
            {method: [*maps.sum(axis=1, dtype=np.float64)] for method, maps in explained.maps.items()},
            accounts(explained),
            boxes=[read_region(box) for box in self.request.boxes],
            network=self.request.model,
            prepared=self.prepared,
            code=self._code(path, explained),
        )
        return page(found, title=name)

    def _code(self, path: str, explained: Explained) -> str:
        """Python that gives the same maps; "" where it would take more than a few lines."""
        if self.request.region is not None or self.request.pixel is not None:
            return ""
        weights = "" if self.request.weights is None else f", {str(self.request.weights)!r}"
        profile = "" if self.request.profile == "paper" else f", profile={self.request.profile!r}"
        targets, methods = explained.targets, list(explained.maps)
        return (
            "import relprop as rp\n\n"
            f"model = rp.models.load({self.request.model!r}{weights})\n"
            f"e = rp.explain(model, {path!r}, {targets!r}, {methods!r}{profile})\n"
            f"R = e.map({targets[0]!r}, {methods[0]!r})\n"
        )
