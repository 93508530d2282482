"""Parts that share files: the same rows, whatever happens while they are put together; and readers that stream."""

import json
import os
import resource
import shutil
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from relprop.commands.requests import StudyRequest
from relprop.commands.study import task_of
from relprop.study import blocks, compact, files, statistics, store, tables
from relprop.study.blocks import Blocks, columns
from relprop.study.claims import claims
from relprop.study.compact import Compacted
from relprop.study.files import same
from relprop.study.report import drawings
from relprop.study.results import arranged, read_study
from relprop.study.runner import run
from relprop.study.statistics import Resamples
from relprop.study.store import Store, StudyError
from relprop.study.tables_logit import shares
from synthetic import CONFIG, STRENGTH, write_study
from synthetic import tables as made
from test_study import contents, rows_of
from test_study_continued import pictures, study  # noqa: F401 - a fixture

DOCS = Path(__file__).parent.parent / "docs"
THREE = {"lrp-z": 1.5, "cmp-alpha2-flat": 3.2, "uniform": 1.0}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Four parts of two pictures are read at once, eight share a folder."""
    monkeypatch.setattr(store, "AT_ONCE", 8)
    monkeypatch.setattr(compact, "GROUPS", 2)


def written(folder, parts=11, chunk=2, **more):
    config = CONFIG | {"chunk": chunk, "data": {"name": "digits", "number": parts * chunk}, "methods": [*THREE]} | more
    return write_study(folder, parts * chunk, config, chunk=chunk, strength=THREE)


def names(kept):
    return sorted(path.name for path in kept.parts.iterdir())


def told(kept):
    return {table: kept.read(table) for table in kept.tables()}


def all_same(one, other):
    return one.keys() == other.keys() and all(same(one[table], other[table]) for table in one)


def test_what_is_put_together_reads_as_before(tmp_path):
    kept = written(tmp_path)
    before, some = told(kept), kept.read("rows", [1, 2, 5, 9, 10])
    steps = []
    assert compact.compact(kept, steps.append) == Compacted(parts=11, folders=2, together=11, apart=0)
    assert steps == [8, 3]
    assert names(kept) == ["parts-000000-000007", "parts-000008-000010"]
    assert kept.done() == set(range(11))
    assert all_same(told(kept), before)
    assert same(kept.read("rows", [10, 1, 9, 2, 5]), some)
    assert kept.measured() == Store(written(tmp_path / "apart").folder).measured()
    assert [numbers for numbers, _ in kept.blocks(["pairs"])] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    stamps = {path: path.stat().st_mtime_ns for path in kept.folder.rglob("*")}
    assert compact.compact(kept) == Compacted(0, 0, 11, 0)
    assert {path: path.stat().st_mtime_ns for path in kept.folder.rglob("*")} == stamps


def test_parts_that_others_are_still_to_stand_beside_stay_until_they_do(tmp_path):
    kept = written(tmp_path)
    third = {path.name: path.read_bytes() for path in kept.part(3).iterdir()}
    before = told(kept)
    shutil.rmtree(kept.part(3))
    shutil.rmtree(kept.part(10))
    assert compact.compact(kept) == Compacted(0, 0, 0, 9)
    kept.part(3).mkdir()
    for name, data in third.items():
        (kept.part(3) / name).write_bytes(data)
    assert compact.compact(kept) == Compacted(8, 1, 8, 2)
    kept.write(10, made(2, start=20, strength=THREE))
    assert compact.compact(kept) == Compacted(3, 1, 11, 0)
    assert all_same(told(kept), before)


def test_parts_of_which_nothing_says_how_many_there_will_be_are_put_together_too(tmp_path):
    kept = write_study(tmp_path, 20, CONFIG | {"chunk": 2}, chunk=2, strength=THREE)
    assert compact.compact(kept) == Compacted(10, 2, 10, 0)
    for part in (10, 11):
        kept.write(part, made(2, start=2 * part, strength=THREE))
    assert compact.compact(kept) == Compacted(2, 1, 12, 0)
    assert kept.read("predictions")["image_index"].to_pylist() == list(range(24))


def killed_at(moment, work):
    """Do the work in a fork of this process that ends, as if killed, at its n-th step on files; whether it did."""
    pid = os.fork()
    if not pid:
        steps = iter(range(moment))

        def hook(event, _):
            if (
                event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
                and next(steps, None) is None
            ):
                os._exit(9)

        try:
            sys.addaudithook(hook)
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(tmp_path):
    kept = written(tmp_path / "study", parts=2)
    whole, before = told(kept), contents(tmp_path / "study")
    moment, seen = 0, set()
    while True:
        shutil.rmtree(kept.parts)
        for name, data in before.items():
            (kept.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (kept.folder / name).write_bytes(data)
        if not killed_at(moment, lambda: compact.compact(kept)):
            break
        seen.add(tuple(name for name in names(kept) if name[0] != "."))
        assert kept.done() == {0, 1}
        assert all_same(told(kept), whole)
        compact.compact(kept)
        assert [name for name in names(kept) if name[0] != "."] == ["parts-000000-000001"]
        assert all_same(told(kept), whole)
        moment += 1
    assert len(seen) >= 4  # both apart, both in both places, one, none
    assert names(kept) == ["parts-000000-000001"]


def test_a_study_that_is_put_together_goes_on_and_notices_what_it_did(tmp_path, pictures):  # noqa: F811
    run(study(pictures), tmp_path / "whole")
    run(study(pictures), tmp_path / "out", shard=(1, 2))
    kept = Store(tmp_path / "out")
    assert compact.compact(kept).parts == 0
    run(study(pictures), tmp_path / "out")
    assert compact.compact(kept) == Compacted(3, 1, 3, 0)
    stamps = contents(tmp_path / "out")
    run(study(pictures), tmp_path / "out")
    assert contents(tmp_path / "out") == stamps
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    together = kept.many(0, 2)
    picture, file = pictures / "3.png", together / "pairs.parquet"
    data, edited = file.read_bytes(), picture.read_bytes()
    picture.write_bytes(edited[:-5])
    with pytest.raises(StudyError, match=r"3\.png is not the file that was measured.*remove parts-000000-000002 from"):
        run(study(pictures), tmp_path / "out")
    picture.write_bytes(edited)
    file.write_bytes(data[:150] + bytes([data[150] ^ 1]) + data[151:])
    with pytest.raises(StudyError, match=r"pairs\.parquet: cannot be read .*remove its folder"):
        run(study(pictures), tmp_path / "out")
    shutil.rmtree(together)
    run(study(pictures), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_damaged_part_stops_it_and_stays(tmp_path):
    kept = written(tmp_path, parts=3)
    file = kept.part(1) / "occlusion.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StudyError, match=r"part-000001/occlusion\.parquet: cannot be read"):
        compact.compact(kept)
    assert names(kept) == ["part-000000", "part-000001", "part-000002"]


@pytest.mark.parametrize("fault", ["another order", "a flipped bit"])
def test_what_is_not_read_back_as_it_was_written_takes_no_parts_place(tmp_path, monkeypatch, fault):
    kept = written(tmp_path, parts=3)
    before, write = told(kept), files.write_many

    def failing(path, first, parts, together):
        write(path, first, parts[::-1] if fault == "another order" else parts, together)
        if fault == "a flipped bit":
            data = path.read_bytes()
            path.write_bytes(data[:150] + bytes([data[150] ^ 1]) + data[151:])

    monkeypatch.setattr(files, "write_many", failing)
    with pytest.raises(StudyError, match="not read back as it was written; see to the disk"):
        compact.compact(kept)
    assert names(kept) == ["part-000000", "part-000001", "part-000002"]
    assert all_same(told(kept), before)


def test_it_reads_on_where_parts_are_put_together_meanwhile(tmp_path):
    kept = written(tmp_path)
    before = told(kept)["rows"]
    found = kept.blocks(["rows"])
    rows = [next(found)[1]["rows"]]
    compact.compact(kept)
    rows += [block["rows"] for _, block in found]
    assert same(blocks.pa.concat_tables(rows), before)


def test_the_command_says_what_it_did(tmp_path, call):
    kept = written(tmp_path)
    shutil.rmtree(kept.part(10))
    out = call("compact", tmp_path).stdout
    assert f"{tmp_path}: 8 parts put into 1 folders; 8 parts share folders now; 2 have a folder each" in out
    assert json.loads(call("compact", tmp_path, "--json").stdout)["together"] == 8
    assert "nothing to put together" in call("compact", tmp_path).stdout


def test_the_size_of_a_part_can_be_chosen_and_is_part_of_the_study():
    assert [task_of(StudyRequest(limit=9, chunk=chunk)).config()["chunk"] for chunk in (1, 4)] == [1, 4]
    assert list(task_of(StudyRequest(limit=9, chunk=4)).parts()) == [0, 1, 2]


def figures(made):
    """What the axes of a figure hold, as numbers."""
    return [line.get_xydata() for axis in made.axes for line in axis.lines]


def test_figures_of_pieces_are_those_of_the_whole(tmp_path, monkeypatch):
    """Pieces of a few pictures, in files as soon as there is something, against all rows at once."""
    config = CONFIG | {"chunk": 2, "methods": ["lrp-z", "cmp-alpha1", "cmp-alpha2", "lrp-alpha1", "lrp-alpha2"]}
    strength = {name: STRENGTH[name] for name in config["methods"]}
    kept = write_study(tmp_path / "study", 48, config, chunk=2, strength=strength)
    compact.compact(kept)
    whole = arranged("digits", config, told(kept))
    there, drawn = made_of(whole), [figures(drawing.figure) for drawing in drawings(whole)]
    for module in (blocks, statistics):
        monkeypatch.setattr(module, "IN_MEMORY", 1 << 10)
    monkeypatch.setattr(statistics, "_CHUNK", 7)
    pieces = read_study(kept.folder)
    assert len(pieces.row_blocks) == 6 > len(whole.row_blocks) == 1
    assert np.array_equal(pieces.rows.values["mu_w"], whole.rows.values["mu_w"], equal_nan=True)
    assert np.array_equal(pieces.rows.status, whole.rows.status)
    for one, other in zip(made_of(pieces), there, strict=True):
        assert_close(one, other)
    for drawing, other in zip(drawings(pieces), drawn, strict=True):
        for mine, its in zip(figures(drawing.figure), other, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-12, atol=1e-12)


def made_of(found):
    """Every table of a study as text, its claims too."""
    makers = (tables.localisation, tables.secondary, tables.accuracy, tables.statuses, tables.problems, shares)
    return [tables.comma_separated(make(found)) for make in makers] + [str(claim.figures) for claim in claims(found)]


def assert_close(one, other):
    """The same words, and numbers alike to 1e-12."""
    for a, b in zip(one.replace("\n", ",").split(","), other.replace("\n", ",").split(","), strict=True):
        if a != b:
            assert float(a) == pytest.approx(float(b), rel=1e-12, abs=1e-12)


def test_blocks_come_back_as_often_as_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(blocks, "IN_MEMORY", 100)
    kept = Blocks()
    for k in range(3):
        kept.append(np.full((k + 1, 5), float(k)))
    assert [len(block) for block in kept] == [1, 2, 3]
    assert kept.whole().sum() == 5 * (2 + 6)
    assert [column.tolist() for column in columns(kept)] == [[0, 1, 1, 2, 2, 2]] * 5
    assert list(kept.each(len)) == list(kept.each(len)) == [1, 2, 3]


@pytest.mark.parametrize("make", [lambda: Blocks().append(b"x" * 5000), lambda: Resamples(50, times=100)])
def test_no_room_for_what_is_read_back_is_one_line(monkeypatch, make):
    for module in (blocks, statistics):
        monkeypatch.setattr(module, "IN_MEMORY", 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"no room for what .* TMPDIR=FOLDER"):
            make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_guides_first_query_finds_every_row_once_wherever_it_lies(tmp_path):
    kept = written(tmp_path / "study")
    shutil.rmtree(kept.part(10))
    sql = (DOCS / "rows.md").read_text().split("```sql\n")[1].split(";")[0].replace("'study/", f"'{tmp_path}/study/")
    before = duckdb.sql(sql).fetchall()
    assert compact.compact(kept) == Compacted(8, 1, 8, 2)
    for row, was in zip(duckdb.sql(sql).fetchall(), before, strict=True):
        assert row == pytest.approx(was)
    assert sum(row[-1] for row in before) == kept.read("rows").num_rows


def test_a_picture_in_two_parts_is_refused(tmp_path):
    kept = written(tmp_path, parts=5)
    shutil.rmtree(kept.part(4))
    shutil.copytree(kept.part(0), kept.part(4))
    with pytest.raises(StudyError, match="a picture was measured twice"):
        read_study(kept.folder)
