"""Every claim is found where it was put, is not where it was not, and is open where there is nothing to see."""

import pyarrow as pa
import pytest

from relprop.study.claims import claims
from relprop.study.paper import published
from relprop.study.results import arranged
from relprop.study.schema import TABLES, arrow
from relprop.study.store import StudyError
from synthetic import CONFIG, STRENGTH, tables


def made(strength=STRENGTH, config=CONFIG, change=lambda t: None, pictures=120):
    rows = tables(pictures, strength=strength)
    change(rows)
    return arranged(
        str(config["name"]), config, {name: pa.Table.from_pylist(rows[name], schema=arrow(name)) for name in TABLES}
    )


def found(*args, **kwargs):
    return {claim.number: claim for claim in claims(made(*args, **kwargs))}


SHALLOW = CONFIG | {"name": "shallow", "model": {"name": "digits-shallow", "depth": 5}}


def test_all_eleven_are_reported_with_figures_in_order():
    result = claims(made())
    assert [claim.number for claim in result] == list(range(1, 12))
    assert all(claim.text.endswith(".") and claim.figures.endswith(".") for claim in result)
    assert [claim.held for claim in result[:5]] == [True] * 5
    assert [claim.held for claim in result[6:9]] == [True] * 3
    assert result[10].held is True


def without(*names):
    return {name: power for name, power in STRENGTH.items() if name not in names}


def flipped(table, **change):
    """Spoil a table's rows."""

    def apply(rows):
        for row in rows[table]:
            row.update({key: make(row) for key, make in change.items()})

    return apply


OTHER_PART = {"object": "context", "context": "object"}


@pytest.mark.parametrize(
    ("number", "strength", "change"),
    [
        (1, STRENGTH, flipped("occlusion", part=lambda r: OTHER_PART[r["part"]])),
        (2, STRENGTH | {"gradient": 0.8}, lambda t: None),
        (3, STRENGTH | {"guided-backprop": 2.65}, lambda t: None),
        (4, STRENGTH | {"cmp-alpha1": 3.4}, lambda t: None),
        (5, STRENGTH | {"lrp-alpha2": 2.95, "lrp-alpha1": 1.05, "cmp-alpha1": 1.1}, lambda t: None),
        (7, STRENGTH | {"lrp-epsilon": 1.7}, lambda t: None),
        (8, STRENGTH, flipped("pairs", cosine=lambda r: 0.0 if r["method"].startswith("lrp") else 0.5)),
        (9, STRENGTH | {"pattern-attribution": 2.2}, lambda t: None),
        (9, STRENGTH | {"pattern-attribution": 0.3, "lrp-alpha1": 1.4}, lambda t: None),
        (10, STRENGTH, flipped("rows", mu=lambda r: 0.9 if r["method"] == "lrp-z" else 0.1)),
        (11, STRENGTH, flipped("rows", negative_inside_others=lambda r: r["others_area"] / 2)),
    ],
)
def test_a_claim_that_the_data_contradicts_is_not_held(number, strength, change):
    assert found(strength, change=change)[number].held is False


@pytest.mark.parametrize(
    ("number", "strength", "change"),
    [
        (1, STRENGTH, lambda t: t["occlusion"].clear()),
        (2, {"uniform": 1.0}, lambda t: None),
        (3, without("cmp-alpha2-flat", "cmp-alpha2", "cmp-alpha1-flat", "cmp-alpha1"), lambda t: None),
        (4, without("cmp-alpha2-flat"), lambda t: None),
        (5, without("lrp-alpha1"), lambda t: None),
        (6, STRENGTH, lambda t: None),
        (7, without("lrp-z"), lambda t: None),
        (8, STRENGTH, lambda t: t["pairs"].clear()),
        (9, without("pattern-attribution"), lambda t: None),
        (10, {"lrp-z": 1.5, "uniform": 1.0}, lambda t: None),
        (11, STRENGTH, flipped("rows", negative_inside_others=lambda r: None)),
    ],
)
def test_a_claim_that_this_data_cannot_tell_says_why(number, strength, change):
    claim = found(strength, change=change)[number]
    assert claim.held is None
    assert claim.figures


def test_depth_takes_two_networks_in_either_order():
    deep, shallow = made(), made(STRENGTH | {"lrp-z": 2.4}, SHALLOW)
    for one, other in ((deep, shallow), (shallow, deep)):
        claim = claims(one, other)[5]
        assert claim.held is True
        assert claim.figures.index("shallow") < claim.figures.index("digits")
    assert claims(made(STRENGTH | {"lrp-z": 2.4}), made(config=SHALLOW))[5].held is False
    assert claims(deep, deep)[5].held is None


def test_a_better_method_that_the_paper_had_not_is_named():
    claim = found({"grad-cam": 9.0} | STRENGTH)[4]
    assert claim.held is True
    assert "grad-cam" in claim.figures


def test_rows_of_two_runs_are_not_mixed():
    with pytest.raises(StudyError, match="measured twice"):
        made(change=lambda t: t["rows"].append(t["rows"][0]))


def test_the_papers_rows_are_for_the_papers_data_alone():
    assert published("VOC 2007").rows[0].mu_w == 2.716
    assert published("imagenet").network == "VGG-16"
    assert published("ImageNet-2012 validation").network == "VGG-16"
    assert [published(name) for name in ("digits", "voc2012", "imagenet-v2", "")] == [None] * 4
    for half in (published("voc2007"), published("imagenet")):
        order = [row.mu_w for row in half.rows]
        assert order == sorted(order, reverse=True)
