"""The measurements of `scripts/transformers` at work on a small network: rows, what is resumed, and the table."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.transformers.measure import read, rows
from scripts.transformers.pictures import split
from scripts.transformers.table import printed, summary
from scripts.transformers.task import Item, Task, folder_of

import relprop as rp
from small_networks import pictures, plain

METHODS = ("lrp-z", "gradient", "random", "uniform")


def task(number=4):
    model = plain()
    items = [Item(f"picture {k}", model, pictures(1, 3, 8, 8), k % 5) for k in range(number)]
    return Task(iter(items), number, METHODS, {"region": 2, "steps": 4}), items


def key(row):
    return row["item"], row["method"]


def test_rows_are_what_flipping_gives(tmp_path):
    given, items = task()
    found = rows(given, 3, tmp_path / "rows.jsonl")
    assert [(row["item"], row["method"]) for row in found] == [
        (f"picture {k}", method) for k in range(3) for method in ("lrp-z", "gradient", "uniform", "random")
    ]
    by_hand = rp.metrics.flip(
        items[1].model, items[1].x, rp.attribute(items[1].model, items[1].x, 1, "gradient"), 1, region=2, steps=4
    )
    row = next(row for row in found if (row["item"], row["method"]) == ("picture 1", "gradient"))
    assert row["srg"] == float(by_hand.srg)
    assert row["morf curve"] == by_hand.morf[0].tolist()
    assert all(row["srg"] is None for row in found if row["method"] == "uniform")


def test_what_was_measured_is_not_measured_again_and_a_cut_line_is(tmp_path):
    file = tmp_path / "rows.jsonl"
    torch.manual_seed(5)
    whole = rows(task()[0], 4, file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:6]) + "\n" + lines[6][:20])
    changed = json.loads(lines[0]) | {"srg": 99.0}
    file.write_text(file.read_text().replace(lines[0], json.dumps(changed)))
    torch.manual_seed(5)
    again = rows(task()[0], 4, file)
    assert again[0]["srg"] == 99.0
    assert sorted(map(key, again)) == sorted(map(key, whole))
    assert {key(row): row for row in again[1:]} == {key(row): row for row in whole[1:]}
    assert sorted(map(key, read(file))) == sorted(map(key, whole))


def test_a_table_compares_on_the_items_that_all_define():
    numbers = np.random.default_rng(0).normal(size=(30, 2))
    made = [
        {"item": k, "method": name, "morf": 0.0, "lerf": value, "srg": value}
        for k, pair in enumerate(numbers)
        for name, value in zip(("good", "poor"), (pair[0] + 2, pair[1]), strict=True)
    ]
    made += [{"item": k, "method": "none", "morf": None, "lerf": None, "srg": None} for k in range(30)]
    made[0] |= {"srg": None}
    found = summary(made, ["poor", "good", "none"])
    assert list(found) == ["good", "poor", "none"]
    assert [found[name]["defined"] for name in found] == [29, 30, 0]
    assert found["poor"]["compared"] == 29
    mean, low, high = found["poor"]["less than the best by"]
    difference = numbers[1:, 0] + 2 - numbers[1:, 1]
    assert mean == pytest.approx(difference.mean())
    error = difference.std() / 29**0.5
    assert low == pytest.approx(mean - 1.96 * error, abs=0.25 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.25 * error)
    assert found["good"]["less than the best by"] == [0, 0, 0]
    text = printed("a network", {"target": "its logit"}, found)
    assert "| `none` | not defined |" in text
    assert "1 of 30 |" in text


def test_pictures_to_learn_from_are_others_than_those_to_be_told_by():
    made = {str(k): (Path(str(k)), k % 3 == 0) for k in range(31)}
    learn, test = split({name: (file, int(group)) for name, (file, group) in made.items()})
    assert not {file for file, _ in learn} & {file for file, _ in test}
    assert abs(len(learn) - len(test)) <= 2
    assert abs(sum(group for _, group in learn) - sum(group for _, group in test)) <= 1


def test_a_package_that_is_not_there_says_how_to_get_it():
    with pytest.raises(SystemExit, match="pip install --no-deps --target DIR no-such-weights"):
        folder_of("no_such_weights")
