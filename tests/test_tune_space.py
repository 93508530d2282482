"""The space that is searched: what it lists, what it reads, and what it says of what it cannot read."""

import pytest

import relprop as rp
from relprop import on, rules
from relprop.tools.tune_space import Range, Ranged, read_space
from relprop.tools.tune_spaces import SPACES

BOUNDS = ((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))
OWN = """
name = "mine"

[[slot]]
on = ["on.first(1)", "on.first(3, of=on.conv)"]
rules = ["none", "Flat"]

[[slot]]
on = "on.head"
rules = [{rule = "Epsilon", eps = [1e-6, 0.1]}]

[[slot]]
on = "on.weighted"
rules = ["ZPlus", {rule = "AlphaBeta", alpha = [1.0, 2.0], bias = [true, false]}]
"""


def test_the_named_spaces_have_the_sizes_that_they_state():
    assert {name: read_space(name, BOUNDS).size for name in SPACES} == {
        "small": 12,
        "default": 120,
        "large": 6048,
        "gamma": 108,
        "attention": 30,
    }
    assert [name for name in SPACES if read_space(name, BOUNDS).continuous] == ["gamma"]
    for name in ("small", "default", "attention"):
        found = read_space(name).candidates(512)
        assert len({candidate.composite for candidate in found}) == len(found) == read_space(name).size


def test_of_a_larger_space_candidates_are_drawn_from_the_seed():
    space = read_space("large", BOUNDS)
    drawn = space.candidates(40, seed=1)
    assert drawn == space.candidates(40, seed=1) != space.candidates(40, seed=2)
    assert 30 < len(drawn) <= 40


def test_a_file_and_data_in_python_are_the_same_space(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN)
    own = {
        "name": "mine",
        "slot": [
            {"on": [on.first(1), on.first(3, of=on.conv)], "rules": [None, rules.Flat()]},
            {"on": on.head, "rules": [rules.Epsilon(1e-6), rules.Epsilon(0.1)]},
            {"on": "weighted", "rules": ["ZPlus", {"rule": "AlphaBeta", "alpha": [1.0, 2.0], "bias": [True, False]}]},
        ],
    }
    space = read_space(tmp_path / "mine.toml")
    assert space == read_space(own)
    assert space.size == 2 * 2 * 2 * 5
    found = space.candidates(100)
    assert len(found) == (1 + 2) * 2 * 5  # without a rule it does not matter where
    expected = rp.Composite(
        [
            (on.first(3, of=on.conv), rules.Flat()),
            (on.head, rules.Epsilon(0.1)),
            (on.weighted, rules.AlphaBeta(2.0, bias=False)),
        ]
    )
    (text,) = [candidate.text for candidate in found if candidate.composite == expected]
    assert text == "Flat() on on.first(3, of=on.conv) / Epsilon(eps=0.1) / AlphaBeta(alpha=2.0, bias=False)"


def test_ranges_are_read_and_zbox_takes_the_networks_bounds():
    gamma = {"rule": "Gamma", "gamma": {"from": 0.01, "to": 1.0, "log": True}}
    space = read_space({"slot": [{"on": "conv", "rules": [gamma, "ZBox"]}]}, BOUNDS)
    ranged, box = space.slots[0].rules
    assert isinstance(ranged, Ranged)
    assert ranged.ranges == {"gamma": Range(0.01, 1.0, log=True)}
    assert ranged.at({"gamma": 0.5}) == rules.Gamma(0.5)
    assert box == rules.ZBox(*BOUNDS)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("smal", "no space is named 'smal'; did you mean small"),
        ("nowhere.toml", "no such file"),
        ({"slots": []}, r"a space is a table \[\[slot\]\]"),
        ({"slot": [{"on": "conv"}]}, "slot 1: it needs on"),
        ({"slot": [{"on": "conv", "rules": ["ZPlus"], "rule": 1}]}, "slot 1: a slot has no 'rule'; did you mean rules"),
        ({"slot": [{"on": "cnov", "rules": ["ZPlus"]}]}, "slot 1: 'cnov' is no selector .*did you mean conv"),
        ({"slot": [{"on": "conv", "rules": ["Zplas"]}]}, "no rule 'Zplas'; did you mean ZPlus"),
        ({"slot": [{"on": "conv", "rules": [3]}]}, "slot 1: 3 is no rule"),
        ({"slot": [{"on": "conv", "rules": ["ZBox"]}]}, "needs the bounds"),
        ({"slot": [{"on": "conv", "rules": [{"rule": "Gamma", "gamma": {"from": 1}}]}]}, "a range is {from"),
        (
            {"slot": [{"on": "conv", "rules": [{"rule": "Gamma", "gamma": {"from": 0, "to": 1, "log": True}}]}]},
            "begins above 0",
        ),
        ({"slot": [{"on": "conv", "rules": [{"rule": "Gamma", "gamma": {"from": -1, "to": 1}}]}]}, "at least 0"),
    ],
)
def test_what_is_no_space(space, message):
    with pytest.raises(rp.InputError, match=message):
        read_space(space)
