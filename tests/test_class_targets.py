"""Which outputs of a network mean a class of the data."""

import pytest

from relprop.study.task import class_targets
from relprop.support.errors import InputError


def test_a_class_map_must_name_what_there_is():
    with pytest.raises(InputError, match="did you mean six"):
        class_targets(("six", "seven"), ("a",) * 10, {"sx": [1]})
    with pytest.raises(InputError, match="outputs are 0 to 9"):
        class_targets(("six", "seven"), ("a",) * 10, {"six": [10]})
    with pytest.raises(InputError, match="class map"):
        class_targets(("six", "seven"), ("a",) * 10)


def test_classes_are_matched_by_name_and_never_by_position():
    assert class_targets(("cat", "dog"), ("zebra", "cat", "dog")) == {"cat": (1,), "dog": (2,)}
    assert class_targets(("space_bar", "Dog"), ("dog", "space bar")) == {"space_bar": (1,), "Dog": (0,)}
    assert class_targets(("crane",), ("crane", "egret", "crane")) == {"crane": (0, 2)}
    for outputs in (("0", "1"), ("class 0", "class 1"), ("LABEL_0", "LABEL_1")):  # these say nothing
        assert class_targets(("cat", "dog"), outputs) == {"cat": (0,), "dog": (1,)}
    for classes in (("cat", "dog", "person"), ("n01440764", "n01443537", "n01484850")):
        with pytest.raises(InputError, match=r"none of its outputs is named '(person|n01440764)'.*class map"):
            class_targets(classes, ("zebra", "cat", "dog"))
    with pytest.raises(InputError, match="none of its outputs is named 'a'"):
        class_targets(("a", "b"), ("class 1", "class 0"))  # numbers, but not these outputs' own
    ids = [f"n{number:08d}" for number in range(1000)]
    names = [f"thing {3 * number}" for number in range(1000)]
    assert class_targets(ids, names)["n00000007"] == (7,)
    with pytest.raises(InputError, match="class map"):
        class_targets(ids[::-1], names)
