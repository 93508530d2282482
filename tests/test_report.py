"""What people read: the same figures in every format, and a page that needs nothing else."""

import base64
import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from relprop.plots.named import on_a_line
from relprop.plots.palette import PAPER, looks
from relprop.study.report import drawings, report
from relprop.study.results import arranged, read_study
from relprop.study.schema import TABLES, arrow
from relprop.study.statistics import Estimate
from relprop.study.store import Store, StudyError
from relprop.study.tables import FORMATS, Table, by_sign, localisation, statuses
from relprop.study.tables_logit import PARTS, median_on_pixels, shares
from relprop.study.verdict import Verdict
from relprop.support.errors import InputError
from synthetic import CONFIG, STRENGTH, tables, write_study

NUMBER = re.compile(r"-?\d+\.\d{3}")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    shallow = {"name": "shallow", "data": "VOC 2007", "model": {"name": "digits-shallow", "depth": 5}}
    write_study(folder / "deep", 120)
    write_study(folder / "shallow", 60, CONFIG | shallow)
    (folder / "out" / "grids").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "out" / "grids" / "figure-1_digits.png")
    return folder, report([folder / "deep", folder / "shallow"], folder / "out")


class Page(HTMLParser):
    """Tags, their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_every_file_is_there(written):
    folder, done = written
    out = folder / "out"
    names = {str(path.relative_to(out)) for path in done.files}
    for name in ("table1", "logit", "secondary", "accuracy", "statuses", "problems", "claims"):
        assert {f"digits/tables/{name}.{kind}" for kind in ("md", "tex", "csv")} <= names
    for name in ("fig2-occlusion", "fig3-localisation", "claim8-similarity", "claim11-contradiction"):
        with Image.open(out / "shallow" / "figures" / f"{name}.png") as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(1 << 20)) > 20
        assert (out / "shallow" / "figures" / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    assert all(path.is_file() for path in done.files)
    assert done.files[-1] == done.page == out / "report.html"
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    assert set(done.claims) == {"digits", "shallow"}
    assert done.claims["digits"][5].verdict is not Verdict.NOT_MEASURABLE


def test_the_formats_hold_the_same_figures(written):
    folder, _ = written
    place = folder / "out" / "digits" / "tables"
    markdown = [line for line in (place / "table1.md").read_text().splitlines() if line.startswith("| ")][2:]
    latex = [line for line in (place / "table1.tex").read_text().splitlines() if line.endswith(r"\\")][1:]
    rows = list(csv.DictReader(io.StringIO((place / "table1.csv").read_text())))
    table = localisation(read_study(folder / "deep"))
    for line, tex, row, cells in zip(markdown, latex, rows, table.rows, strict=True):
        estimates = [cell for cell in cells if isinstance(cell, Estimate)]
        shown = [f"{value:.3f}" for e in estimates for value in (e.mean, e.low, e.high)]
        assert NUMBER.findall(line) == NUMBER.findall(tex) == shown
        assert line.split(" | ")[0].strip("| ") == tex.split(" & ")[0] == row["method"] == cells[0]
        for name, cell in zip(table.columns, cells, strict=True):
            if isinstance(cell, Estimate):
                assert float(row[name]) == cell.mean
                assert float(row[f"{name} low"]) == cell.low
                assert int(row[f"{name} defined"]) == cell.defined
    order = [float(row["mu_w"]) for row in rows]
    assert order == sorted(order, reverse=True)
    assert rows[0]["difference"] == ""
    assert {row["method"] for row in rows} == set(STRENGTH)


def test_the_papers_figures_stand_beside_the_papers_data_only(written):
    folder, _ = written
    places = (folder / "out" / name / "tables" / "table1.csv" for name in ("digits", "shallow"))
    ours, theirs = (csv.DictReader(io.StringIO(place.read_text())) for place in places)
    assert "paper mu_w" not in ours.fieldnames
    beside = {row["method"]: row["paper mu_w"] for row in theirs}
    assert beside["cmp-alpha2-flat"] == "2.716"
    assert beside["gradient"] == ""


def test_means_in_the_table_are_the_rows(written):
    folder, _ = written
    rows = Store(folder / "deep").read("rows").to_pylist()
    small = [r["mu"] for r in rows if r["method"] == "lrp-alpha1" and 0 < r["s_in"] <= 0.25 * r["s_tot"]]
    defined = [mu for mu in small if mu is not None]
    row = next(row for row in localisation(read_study(folder / "deep")).rows if row[0] == "lrp-alpha1")
    assert row[2].mean == pytest.approx(np.mean(defined))
    assert (row[2].defined, row[2].total) == (len(defined), len(small))
    assert len(defined) < len(small)


def test_the_page_is_whole_and_needs_nothing_else(written):
    _, done = written
    text = done.page.read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 * 4 + 1
    for image in images:
        kind, data = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", image["src"]).groups()
        content = base64.b64decode(data)
        assert content.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
        assert image["alt"]
        assert b"<script" not in content
    words = " ".join(page.text)
    for word in ("held", "not held", "no_positive_relevance", "truncated file", "mean AP", "run.json"):
        assert word in words
    assert "prefers-color-scheme: dark" in text


def test_the_page_opens_with_two_sentences_and_the_papers_figures_beside_ours(written):
    folder, done = written
    text = done.page.read_text()
    opening = text[text.index(">Abstract</h2>") : text.index(">digits</h2>")]
    (sentences,) = re.findall(r"<p>(.*?)</p>", opening)
    assert len(re.findall(r"\.(?: |$)", sentences)) == 2
    study = read_study(folder / "deep")
    best = study.means("mu_w", study.common()).mean[study.ranking[0]]
    assert f"cmp-alpha2-flat has the highest mean mu_w ({best:.2f} [" in sentences
    number = sum(claim.verdict is Verdict.HELD for claim in done.claims["digits"])
    assert f"{number} held" in sentences
    rows = re.findall(r'<th scope="row"><span>(\d+)</span>', opening)
    assert rows == [str(number) for number in range(1, 12)]
    third = opening[opening.index("<span>3</span>") : opening.index("<span>4</span>")]
    for figure in ("+0.347", "+0.002", done.claims["digits"][2].decided_by[0].number):  # the paper's two, and ours
        assert figure in third
    assert "2.716" in opening
    assert 'data-head="digits-shallow"' in opening


def spoiled(change, pictures=60):
    rows = tables(pictures)
    for row in rows["rows"]:
        change(row)
    found = {name: pa.Table.from_pylist(rows[name], schema=arrow(name)) for name in TABLES}
    return arranged("digits", CONFIG, found)


def test_a_negative_logit_is_named_where_a_map_is_nowhere_positive():
    def negative(row):
        if row["image_index"] % 3 == 0:
            row["logit"] = -2.0
            if row["method"] == "lrp-alpha2" and row["status"] == "ok":
                row.update(status="no_positive_relevance", mu=None, mu_w=None)

    study = spoiled(negative)
    table = statuses(study)
    row = dict(zip(table.columns, next(row for row in table.rows if row[0] == "lrp-alpha2"), strict=True))
    assert row["of them, logit negative"] == row["no_positive_relevance"] > 10
    maps = int((study.rows.status == "no_positive_relevance").sum())
    because = int(((study.rows.status == "no_positive_relevance") & (study.rows.logit < 0)[:, None]).sum())
    assert (
        f"Of {maps} maps that are nowhere positive {because} explain a negative logit." in localisation(study).caption
    )
    assert because < maps  # others, of lrp-alpha1, have another reason
    positive, other = by_sign(study)
    assert [table.name for table in (positive, other)] == ["table1-positive", "table1-negative"]
    assert next(row for row in other.rows if row[0] == "lrp-alpha2")[5] == f"0/{(study.rows.logit < 0).sum()}"
    mu_w = study.rows.values["mu_w"][study.rows.logit > 0, study.position("lrp-z")]
    assert next(row for row in positive.rows if row[0] == "lrp-z")[1].mean == pytest.approx(np.nanmean(mu_w))
    assert by_sign(spoiled(lambda row: None)) == []


def test_how_much_of_the_logit_lies_on_pixels():
    def account(row):
        taken = {"cmp-alpha1": 0.25, "lrp-z": 0.5}.get(row["method"])
        if taken is None:  # of what does not begin as the logit, such as a gradient, there is no share
            row.update(relevance_sum=1.0, bias=0.0, eps=0.0, lost=0.0)
        else:
            logit = row["logit"]
            row.update(relevance_sum=logit * (1 - taken), bias=logit * taken / 2, eps=0.0, lost=logit * taken / 2)

    study = spoiled(account)
    assert median_on_pixels(study, "cmp-alpha1") == pytest.approx(0.75, abs=1e-6)
    assert np.isnan([median_on_pixels(study, method) for method in ("gradient", "not-measured")]).all()
    table = shares(study)
    row = next(row for row in table.rows if row[0] == "lrp-z")
    assert row[1:3] == (pytest.approx(0.5, abs=1e-6), "0.50 to 0.50")
    assert row[3:6] == pytest.approx((0.25, 0, 0.25), abs=1e-6)
    assert row[-1] == (study.rows.status[:, 0] != "").sum()
    assert len(table.columns) == len(PARTS) + 3


def test_the_page_is_split_by_sign_where_that_is_asked_for(tmp_path, written):
    study = tables(30)
    for row in study["rows"]:
        row["logit"] = -1.0 if row["image_index"] < 9 else 1.0
    Store(tmp_path / "study").begin(CONFIG)
    Store(tmp_path / "study").write(0, study)
    split = report(tmp_path / "study", tmp_path / "split", "sign")
    assert split.page.read_text().count("Localisation, logit") == 2
    assert (tmp_path / "split" / "tables" / "table1-negative.csv").is_file()
    assert "Localisation, logit" not in written[1].page.read_text()
    with pytest.raises(InputError, match="split by sign"):
        report(tmp_path / "study", tmp_path / "split", "class")


def test_figure_3_shows_the_papers_methods_in_colour_and_others_as_ghosts(written):
    folder, _ = written
    study = read_study(folder / "deep")
    figure = next(drawing.figure for drawing in drawings(study) if drawing.name == "fig3-localisation")
    axis, counts = figure.axes
    coloured = {line.get_label() for line in axis.lines} - {"uniform map"}
    assert coloured & {*map(on_a_line, STRENGTH)} == {on_a_line(name) for name in set(PAPER) & set(STRENGTH)}
    ghosts = [line for line in axis.lines if line.get_color() == "#c4c4c4"]
    assert len(ghosts) == len(set(STRENGTH) - set(PAPER) - {"uniform"}) == 2
    numbers = [bar.get_height() for bar in counts.patches]
    assert sum(numbers) == (study.common()(study.rows) & (study.rows.where >= 0)).sum()
    assert min(numbers) >= 20
    assert [bar.get_width() for bar in counts.patches][-1] > 20  # large objects are rare: their bins were joined


def test_the_same_rows_give_the_same_report(written):
    folder, _ = written
    again = report(folder / "deep", folder / "again")
    for path in again.files:
        if path.stem not in ("report", "claims"):  # which the other study has a say in
            assert path.read_bytes() == (folder / "out" / "digits" / path.relative_to(folder / "again")).read_bytes()


def test_one_study_needs_no_folder_of_its_own_and_can_lack_almost_everything(tmp_path):
    config = {"name": "<b>bare & odd</b>"}
    bare = tables(3, strength={"my|own_map": 2.0})
    for row in bare["predictions"]:
        row.update(scores=[], top5=[], problem="bad | <i>file</i>")
    bare |= {"pairs": [], "occlusion": []}
    Store(tmp_path / "bare").begin(config)
    Store(tmp_path / "bare").write(0, bare)
    done = report(tmp_path / "bare", tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "table1.md").read_text().count(r"my\|own_map") >= 1
    text = done.page.read_text()
    Page(text)
    claimed = text[text.index('<ol class="claims">') : text.index("</ol>")]
    assert claimed.count("not measurable") == 10  # all but the second
    assert "1 stayed undecided and 10 could not be measured" in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_a_study_of_which_no_picture_could_be_measured_is_reported_all_the_same(tmp_path):
    rows = tables(2) | {"rows": [], "pairs": [], "occlusion": []}
    Store(tmp_path / "study").begin(CONFIG)
    Store(tmp_path / "study").write(0, rows)
    done = report(tmp_path / "study", tmp_path / "out")
    assert {claim.verdict for claim in done.claims["digits"]} == {Verdict.NOT_MEASURABLE}
    assert "no mu_w is defined" in done.page.read_text().lower()


def test_a_study_without_rows_or_no_study_is_refused(tmp_path):
    Store(tmp_path).begin(CONFIG)
    with pytest.raises(StudyError, match="nothing is measured yet"):
        report(tmp_path, tmp_path / "out")
    with pytest.raises(StudyError, match="no study"):
        report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_latex_is_escaped_and_balanced():
    table = Table("t", "A 50 % caption.", ("mu_w", "a&b"), (("x_y {50 %} #1 \\ ~^$", None), ("plain", 0.5)))
    text = FORMATS["tex"](table)
    assert r"x\_y \{50 \%\} \#1 \textbackslash{} \textasciitilde{}\textasciicircum{}\$ & --" in text
    assert r"$\mu_w$ & a\&b" in text
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin") == text.count(r"\end") == 2
    table = Table("t", "Numbers.", ("picture", "mu_w common"), (("[a].jpg", "-0.062 [-0.158, 0.041]"), ("lrp-z", "-1")))
    rows = [line.removesuffix(r" \\") for line in FORMATS["tex"](table).splitlines() if line.endswith(r"\\")]
    assert rows[0] == r"picture & $\mu_w$ common"
    assert rows[1:] == ["{}[a].jpg & $-0.062$ [$-0.158$, 0.041]", "lrp-z & $-1$"]


def test_every_latex_table_can_be_read(written):
    _, done = written
    for path in (path for path in done.files if path.suffix == ".tex"):
        body = [line for line in path.read_text().splitlines() if not line.startswith("%")]
        assert body[0] == r"\documentclass[border=6pt]{standalone}"
        (columns,) = (re.sub(r"p\{6cm\}", "p", line).split("@{}")[1] for line in body if r"\begin{tabular}" in line)
        rows = [line for line in body if line.endswith(r"\\")]
        assert rows
        for line in rows:
            plain = re.sub(r"\\[&%$#_{}\\]", "", line)
            assert plain.count("&") == len(columns) - 1
            assert plain.count("$") % 2 == 0
            assert plain.count("{") == plain.count("}")
            assert not set(re.sub(r"\$[^$]*\$", "", plain)) & set("#_^~%<>\N{MINUS SIGN}")


def test_no_two_methods_look_the_same():
    options = [f"{name}:eps=0.1" for name in STRENGTH]
    found = looks([*STRENGTH, *options, "cmp-alpha1-zbox", "cmp-alpha2-zbox", "mine", "yours"])
    assert len(set(found.values())) == len(found)
    assert looks(["lrp-z", "mine"])["lrp-z"] == looks(["cmp-alpha1", "lrp-z"])["lrp-z"]


def test_relprop_alone_imports_none_of_this():
    code = "import sys, relprop; assert not {'pyarrow', 'matplotlib', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
