"""The study's folder: whole or absent, whatever happens while it is written."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

from relprop.study.schema import STATUSES, TABLES, arrow
from relprop.study.store import Store, StudyError
from synthetic import CONFIG, STRENGTH, tables, write_study

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "rows.md"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_written_is_read_back_in_order(tmp_path):
    store = Store(tmp_path)
    store.begin(CONFIG)
    store.write(1, tables(3, start=3))
    store.write(0, tables(3, start=0))
    assert store.done() == {0, 1}
    for name in TABLES:
        table = store.read(name)
        assert table.schema.equals(arrow(name))
        index = table["image_index"].to_pylist()
        assert index == sorted(index)
    wanted = [*tables(3, start=0)["rows"], *tables(3, start=3)["rows"]]
    for row, written in zip(wanted, store.read("rows").to_pylist(), strict=True):
        assert written["mu"] == (None if row["mu"] != row["mu"] else row["mu"])
        assert written["class_name"] == row["class_name"]
    assert store.config() == CONFIG


def test_the_same_rows_give_the_same_bytes_however_they_are_cut_short(tmp_path):
    write_study(tmp_path / "a", 6, chunk=2)
    other = Store(tmp_path / "b")
    for part in (2, 0, 1):
        other.begin(CONFIG)
        other.write(part, tables(2, start=2 * part))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    Store(tmp_path / "c").begin(dict(reversed(CONFIG.items())))
    assert (tmp_path / "c" / "run.json").read_bytes() == (tmp_path / "a" / "run.json").read_bytes()


def test_a_part_that_exists_is_left_as_it_is_and_leftovers_go(tmp_path):
    store = Store(tmp_path)
    store.begin(CONFIG)
    leftover = store.parts / ".part-000000.elsewhere.123"
    leftover.mkdir(parents=True)
    (leftover / "rows.parquet").write_bytes(b"half of")
    assert store.done() == set()
    assert store.read("rows").num_rows == 0
    store.write(0, tables(2))
    before = content(store.parts)
    store.write(0, tables(2, seed=1))
    assert content(store.parts) == before
    assert [path.name for path in store.parts.iterdir()] == ["part-000000"]


def test_parts_are_read_in_order_whichever_were_written_and_named(tmp_path):
    store = Store(tmp_path)
    for part in (8, 1, 3):
        store.write(part, tables(2, start=2 * part))
    assert store.read("predictions")["image_index"].to_pylist() == [2, 3, 6, 7, 16, 17]
    assert store.read("predictions", [8, 1])["image_index"].to_pylist() == [2, 3, 16, 17]


def test_a_copy_that_somebody_put_beside_the_parts_is_none_of_them(tmp_path):
    store = write_study(tmp_path, 4, chunk=2)
    shutil.move(store.part(1), store.parts / "part-000001.bak")
    shutil.copytree(store.part(0), store.parts / "part-000000 (copy)")
    assert store.done() == {0}
    assert len(store.read("predictions")) == 2


def test_another_configuration_is_refused_in_one_line_that_names_the_keys(tmp_path):
    store = Store(tmp_path)
    store.begin(CONFIG)
    store.begin(CONFIG)
    with pytest.raises(StudyError) as caught:
        store.begin(CONFIG | {"seed": 7, "libraries": {"torch": "3"}, "limit": 5})
    message = str(caught.value)
    assert "\n" not in message
    for part in ("seed is 0 there, not 7", "libraries.torch is 2 there, not 3", "limit is nothing there, not 5"):
        assert part in message
    assert store.config() == CONFIG


def test_a_folder_without_a_study_or_with_a_broken_one_is_named(tmp_path):
    with pytest.raises(StudyError, match="no study here"):
        Store(tmp_path / "nowhere").config()
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(StudyError, match=r"run\.json: cannot be read"):
        Store(tmp_path).begin(CONFIG)
    store = write_study(tmp_path / "study", 2)
    (store.parts / "part-000000" / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(StudyError, match=r"pairs\.parquet: cannot be read"):
        store.read("pairs")


def test_no_flipped_bit_is_read_as_another_number(tmp_path):
    store = Store(tmp_path)
    store.write(0, tables(3))
    whole, file = store.read("rows"), store.part(0) / "rows.parquet"
    data = file.read_bytes()
    noticed = 0
    for place in range(0, len(data), 17):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        try:
            assert store.read("rows").equals(whole), place  # a bit of what is no number, such as a description
        except StudyError:
            noticed += 1
    assert noticed > 0.5 * len(data) / 17


SPOILT = [
    lambda t: t.pop("pairs"),
    lambda t: t["rows"][0].pop("mu"),
    lambda t: t["rows"][1].update(mu_of_nobody=0.5),
    lambda t: t.update(pairs_of_nobody=[]),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_tables_that_are_not_the_schemas_are_refused(tmp_path, spoil):
    spoilt = tables(2)
    spoil(spoilt)
    with pytest.raises(ValueError, match=r"pairs|mu"):
        Store(tmp_path).write(0, spoilt)
    assert Store(tmp_path).done() == set()


def test_parts_of_nobody_knows_what_are_not_continued(tmp_path):
    store = write_study(tmp_path, 2)
    (tmp_path / "run.json").unlink()
    with pytest.raises(StudyError, match=r"parts of a study, and no run\.json"):
        store.begin(CONFIG)
    assert not (tmp_path / "run.json").exists()


def test_what_is_measured_is_counted_in_pictures(tmp_path):
    rows = tables(3)
    for row in rows["rows"]:
        row.update(status="ok" if row["image_index"] else "no_target")
    store = Store(tmp_path)
    assert store.measured() == 0
    store.write(0, rows)
    assert store.measured() == 2


def test_a_study_of_nothing_is_an_error_that_says_why(tmp_path):
    rows = tables(1)
    for row in rows["rows"]:
        row.update(status="no_target")
    Store(tmp_path / "a").write(0, rows)
    with pytest.raises(StudyError, match="nothing could be measured: the model has no class for this one"):
        Store(tmp_path / "a").measured()
    rows |= {"rows": []}
    rows["predictions"][0]["problem"] = "1.jpg: no objects in it"
    Store(tmp_path / "b").write(0, rows)
    with pytest.raises(StudyError, match=r"nothing could be measured: 1\.jpg: no objects in it"):
        Store(tmp_path / "b").measured()


WRITER = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from synthetic import CONFIG, tables
from relprop.study.store import Store
store = Store(Path(sys.argv[1]))
store.begin(CONFIG)
store.write(0, tables(2, start=0))
# The system kills whoever writes more than so many bytes to a file, after these bytes; Python ignores that signal.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
store.write(1, tables(2, start=2))
"""


def test_killed_half_way_and_continued_it_is_as_if_never_killed(tmp_path):
    write_study(tmp_path / "calm", 4, chunk=2)
    folder = tmp_path / "killed"
    ended = subprocess.run([sys.executable, "-c", WRITER, str(folder), str(HERE)], check=False)
    assert ended.returncode == -signal.SIGXFSZ
    store = Store(folder)
    assert store.done() == {0}
    assert len(list(store.parts.iterdir())) == 2  # the leftover is there, and nothing reads it
    assert 2000 in {path.stat().st_size for path in store.parts.glob(".*/*.parquet")}  # half of a file
    assert store.read("rows").num_rows == len(tables(2)["rows"])
    write_study(folder, 4, chunk=2)
    assert content(folder) == content(tmp_path / "calm")


def test_a_full_disk_is_one_clear_error_and_spoils_nothing(tmp_path):
    store = write_study(tmp_path, 2)
    before = content(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # no file may grow beyond: the write itself fails
    try:
        with pytest.raises(StudyError, match="make room and run the same command again") as caught:
            store.write(1, tables(2, start=2))
        with pytest.raises(StudyError, match=r"run\.json: not written"):
            Store(tmp_path / "new").begin(CONFIG | {"long": "x" * 9000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == before
    store.write(1, tables(2, start=2))
    assert store.done() == {0, 1}


def test_two_that_write_the_same_parts_leave_each_once(tmp_path):
    command = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
    command += "from synthetic import write_study; write_study(Path(sys.argv[1]), 40, chunk=2)"
    command = [sys.executable, "-c", command, str(tmp_path), str(HERE)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    alone = write_study(tmp_path / "alone", 40, chunk=2)
    assert content(tmp_path / "parts") == content(alone.parts)


def test_two_that_begin_at_once_agree_or_one_is_refused(tmp_path):
    refused = []

    def begin(seed):
        try:
            Store(tmp_path).begin(CONFIG | {"seed": seed})
        except StudyError:
            refused.append(seed)

    Store(tmp_path).begin(CONFIG | {"seed": 1})
    threads = [threading.Thread(target=begin, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [2]
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 1


def test_the_readers_guide_has_every_column_and_status():
    text = DOCS.read_text()
    for name, columns in TABLES.items():
        section = text.split(f"### {name}.parquet")[1].split("\n#")[0]
        lines = [f"| `{c.name}` | {c.kind} | {'yes' if c.null else ''} | {c.text} |" for c in columns]
        assert re.findall(r"^\| `.*$", section, re.MULTILINE) == lines
    for name, meaning in STATUSES.items():
        assert f"| `{name}` | {meaning} |" in text


def test_the_guides_queries_run_in_duckdb(tmp_path):
    store = write_study(tmp_path / "study", 20, chunk=5)
    (store.parts / ".part-000009.host.1").mkdir()
    shutil.copy(store.parts / "part-000000" / "rows.parquet", store.parts / ".part-000009.host.1")
    sql = re.search(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)[1].replace("'study/", f"'{tmp_path}/study/")
    means, pictures = (duckdb.sql(query).fetchall() for query in sql.split(";") if query.strip())
    assert means[0][0] == "cmp-alpha2-flat"
    assert len(means) == len(STRENGTH)
    assert sum(row[-1] for row in means) == store.read("rows").num_rows
    assert len(pictures) == 10
