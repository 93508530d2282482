"""The embedded data set: the clutter, entry by entry."""

import numpy as np
import pytest

from relprop.data.clutter import Clutter
from relprop.data.embedded import embedded
from relprop.data.entries import DataError


def test_embedded_is_the_clutter():
    data = embedded(number=3, seed=5)
    sample = Clutter("test", "multi", 5).sample(2)
    entry = data[2]
    assert [entry.id for entry in data] == ["multi-000000", "multi-000001", "multi-000002"]
    assert np.array_equal(np.asarray(entry.open()), sample.image)
    assert [thing.box for thing in entry.things] == [tuple(box) for box in sample.boxes.tolist()]
    assert [data.classes.index(thing.name) for thing in entry.things] == list(sample.labels)
    assert data.identity() == embedded(number=3, seed=5).identity()
    assert data.identity() != embedded(number=3, seed=6).identity()


def test_embedded_needs_something_to_show():
    with pytest.raises(DataError, match="did you mean multi"):
        embedded("mutli")
    with pytest.raises(DataError, match="did you mean test"):
        embedded(split="tets")
    with pytest.raises(DataError, match="at least one"):
        embedded(number=0)
    with pytest.raises(DataError, match="seed from 0"):
        embedded(seed=-1)


def test_what_is_drawn_has_no_annotation_files():
    assert embedded(number=3).annotations_sha256(3) == ""
