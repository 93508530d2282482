"""Every claim is found where it was put, is not where it was not, and is open where there is nothing to see."""

import json

import numpy as np
import pyarrow as pa
import pytest

from relprop.study.claims import claims
from relprop.study.paper import published
from relprop.study.results import arranged
from relprop.study.schema import TABLES, arrow
from relprop.study.store import StudyError
from relprop.study.verdict import Verdict, absent, closest, condition
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
    assert [str(claim.verdict) for claim in result] == [
        *["held"] * 5,
        "not measurable",
        *["held"] * 3,
        "undecided",
        "held",
    ]
    for claim in result:  # every verdict but the absent one names the interval that it is from
        assert ("Decided by: " in claim.figures) == bool(claim.decided_by) == (claim.number != 6)
        assert all(each.number in claim.figures for each in claim.decided_by)


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
    pictures = 480 if number == 10 else 120  # few objects take more than half of the picture
    assert found(strength, change=change, pictures=pictures)[number].verdict is Verdict.NOT_HELD


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
    assert claim.verdict is Verdict.NOT_MEASURABLE
    assert claim.figures.endswith(".")
    assert not claim.decided_by


def test_depth_takes_two_networks_in_either_order():
    deep, shallow = made(), made(STRENGTH | {"lrp-z": 2.4}, SHALLOW)
    for one, other in ((deep, shallow), (shallow, deep)):
        claim = claims(one, other)[5]
        assert claim.verdict is Verdict.HELD
        assert claim.figures.index("shallow") < claim.figures.index("digits")
    assert claims(made(STRENGTH | {"lrp-z": 2.4}), made(config=SHALLOW))[5].verdict is Verdict.NOT_HELD
    assert claims(deep, deep)[5].verdict is Verdict.NOT_MEASURABLE
    lacking = made(without("lrp-alpha2"), SHALLOW)
    assert claims(deep, lacking)[5].figures == "shallow: Not measured: lrp-alpha2."


def test_a_better_method_that_the_paper_had_not_is_named():
    claim = found({"grad-cam": 9.0} | STRENGTH)[4]
    assert claim.verdict is Verdict.HELD
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


def test_methods_that_were_not_all_measured_tell_nothing_of_all():
    three = {name: STRENGTH[name] for name in ("cmp-alpha2-flat", "lrp-z", "uniform")}
    result = found(three)
    for number in (3, 4, 5, 7, 8, 9, 11):
        assert result[number].verdict is Verdict.NOT_MEASURABLE
    assert "guided-backprop" in result[3].figures
    assert "lrp-z" not in result[3].figures
    assert result[2].verdict is Verdict.HELD  # of those that were measured, and says so
    assert "of the paper's not measured: cmp-alpha1" in result[2].figures


@pytest.mark.parametrize(
    ("draws", "pictures", "verdicts"),
    [
        ((0.1, 0.3), 20, ("held", "not held")),
        ((-0.3, -0.1), 20, ("not held", "held")),
        ((-0.1, 0.3), 20, ("undecided", "undecided")),
        ((0.1, 0.3), 19, ("undecided", "undecided")),
        ((np.nan, np.nan), 20, ("undecided", "undecided")),
    ],
)
def test_the_interval_decides_not_the_mean(draws, pictures, verdicts):
    for below, verdict in zip((False, True), verdicts, strict=True):
        asked = condition("it", 1.2, np.array(draws) + 1, pictures, bound=1, below=below)
        assert asked.verdict == verdict
    assert ("a verdict takes 20" in asked.text) == (pictures < 20)


def test_what_one_comparison_refutes_no_other_saves():
    held, fell, open_ = (condition("it", m, np.array([m - 0.1, m + 0.1]), 50) for m in (0.5, -0.5, 0.0))
    assert closest([held, open_]).verdict is Verdict.UNDECIDED
    assert closest([open_, fell, held]).value == -0.5
    assert closest([held, fell]).alike == 2
    assert absent("it").verdict is Verdict.NOT_MEASURABLE


def test_few_pictures_leave_everything_open():
    small = found(pictures=15)
    assert {claim.verdict for claim in small.values()} == {Verdict.UNDECIDED, Verdict.NOT_MEASURABLE}
    assert "14 pictures, where a verdict takes 20" in small[2].figures  # on one the object was cropped out


def test_methods_are_compared_where_all_of_them_are_defined():
    """A method that is undefined wherever all do badly would win by the mean over what it defines."""

    def spoil(rows):
        for row in rows["rows"]:
            hard = row["image_index"] % 2
            row["mu_w"] = (
                None if hard and row["method"] == "lrp-z" else (1.5 if hard else 4.0) + (row["method"] != "lrp-z")
            )

    study = made(change=spoil)
    z = study.position("lrp-z")
    assert study.ranking[-1] == z
    assert study.mu_w.mean[z] > study.mu_w.mean[study.position("cmp-alpha1")]
    assert study.count(study.common()) == np.isfinite(study.rows.values["mu_w"][:, z]).sum() < len(study.rows.picture)
    assert found(change=spoil)[3].decided_by[0].value == pytest.approx(-0.0, abs=1e-9)  # of the other rivals, alike


def test_a_claim_as_data_has_its_verdict_as_a_word():
    data = json.loads(json.dumps([claim.as_data() for claim in claims(made())]))
    assert data[2]["verdict"] == "held"
    decided = data[2]["decided_by"][0]
    assert decided["low"] > decided["bound"] == 0
    assert data[5]["decided_by"] == []


def test_the_object_matters_most_where_it_is_small_and_a_quarter_is_small():
    def sizes(small, large):
        def apply(rows):
            for row in rows["occlusion"]:
                quarter = row["image_index"] % 2 == 0
                row.update(s_in=1024 if quarter else 2048, delta=0.0 if row["part"] == "context" else -1.0)
                row["delta"] *= small if quarter else large

        return apply

    assert found(change=sizes(9, 5))[1].verdict is Verdict.HELD
    other = found(change=sizes(5, 9))[1]
    assert other.verdict is Verdict.NOT_HELD  # though occluding the object lowers the logit more in both
    assert other.decided_by[0].verdict is Verdict.HELD


def test_composing_is_the_mean_of_two_gains():
    mu_w = {"cmp-alpha1": 2.0, "cmp-alpha2": 3.0, "lrp-alpha1": 1.0, "lrp-alpha2": 2.2}  # 1 and 0.8 against 1.2
    claim = found(change=flipped("rows", mu_w=lambda r: mu_w.get(r["method"], 1.5)))[5]
    assert claim.verdict is Verdict.NOT_HELD
    assert claim.decided_by[0].value == pytest.approx(0.9 - 1.2)


def test_in_the_deeper_network_the_composites_must_not_suffer_too():
    deep, shallow = made(STRENGTH | {"lrp-alpha2": 4.0}), made(STRENGTH | {"lrp-z": 2.4}, SHALLOW)
    claim = claims(deep, shallow)[5]
    assert [each.verdict for each in claim.decided_by] == [Verdict.HELD, Verdict.NOT_HELD]
    assert claim.verdict is Verdict.NOT_HELD


def test_differences_of_either_sign_are_differences():
    def apart(row):
        return row["mu"] + (row["method"] == "lrp-epsilon") * (0.05 if row["image_index"] % 2 else -0.05)

    assert found(change=flipped("rows", mu=apart))[7].verdict is Verdict.NOT_HELD


def test_alpha_beta_must_lose_where_there_are_several_classes():
    def no_loss(rows):
        several = {row["image_index"] for row in rows["pairs"]}
        for row in rows["rows"]:
            row["mu_w"] = 3.0 - (row["method"].startswith("lrp-alpha") and row["image_index"] not in several)

    claim = found(change=no_loss)[8]
    assert [each.verdict for each in claim.decided_by] == [Verdict.HELD, Verdict.NOT_HELD]


def test_methods_converge_over_half_of_the_picture_the_baseline_left_out():
    def spans(row):
        share = row["s_in"] / row["s_tot"]
        if row["method"] == "uniform" or share == 0.5:
            return 0.0
        return {"cmp-alpha1": 0.9, "lrp-z": 0.8}.get(row["method"], 0.85) if share > 0.5 else min(0.9, share + 0.3)

    def change(rows):
        for row in rows["rows"]:
            if row["s_in"]:
                row["s_in"] = (409, 2048, 3000)[row["image_index"] % 3]
                row["mu"] = spans(row) if row["s_in"] != 409 or row["method"] != "lrp-z" else 0.1

    claim = found(change=change)[10]
    assert claim.verdict is Verdict.HELD
    assert claim.decided_by[0].value == pytest.approx(0.1 - 0.5 * 0.3, abs=1e-3)
