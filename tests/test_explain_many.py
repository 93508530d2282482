"""Folders, patterns and several pictures on the command line: names, page, table, what is broken, what ends early."""

import csv
import gc
import html
import json
import re
import shlex
import signal
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

import relprop as rp
from relprop.commands import picture_pages
from relprop.commands.asked import Explained, opened
from relprop.commands.explain_many import explained
from relprop.commands.named import named, several
from relprop.commands.picture_requests import ExplainRequest
from relprop.data.clutter import Clutter
from relprop.plots.page import Card, Panel

OWN = """
import signal, torch
from relprop.models import Preprocess

class Net(torch.nn.Sequential):
    calls = 0

    def forward(self, x):
        self.trouble(x)
        return super().forward(x)

    def trouble(self, x):
        pass

class HungryGPU(Net):
    def trouble(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

class HungryCPU(Net):
    def trouble(self, x):
        if len(x) > 2:
            torch.empty(1 << 60, dtype=torch.uint8)

class Starving(Net):
    def trouble(self, x):
        type(self).calls += 1
        if self.calls > 1:  # not yet where it is asked whether it answers
            torch.empty(1 << 60, dtype=torch.uint8)

class Single(Net):
    def trouble(self, x):
        if len(x) > 1:
            raise ValueError("one by one, please")

class Picky(Net):
    def trouble(self, x):
        if (x.detach().flatten(1).amax(1) < 0.4).any():
            raise ValueError("too dark")

class Interrupted(Net):
    def trouble(self, x):
        if (x.detach().flatten(1).amin(1) > 0.9).any():  # at the white picture
            signal.raise_signal(signal.SIGINT)

def build(kind=Net):
    torch.manual_seed(0)
    net = kind(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    ).eval()
    net.preprocess, net.classes = Preprocess(8, 8, (0.5,) * 3, (0.5,) * 3), tuple("abc")
    return net

for kind in (HungryGPU, HungryCPU, Starving, Single, Picky, Interrupted):
    globals()[kind.__name__.lower()] = lambda kind=kind: build(kind)
"""
NET = ("--model", "many_nets:build")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, with networks of one's own in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    Path("many_nets.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("many_nets", None)


def write(path, seed=0, side=(8, 8)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*side, 3), np.uint8)).save(path)
    return path


def pictures(number, folder="in"):
    return [write(f"{folder}/{k}.png", k) for k in range(number)]


def rows_of(folder="relprop-explain", done="explained"):
    with Path(folder, f"{done}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# -- page, table, files ------------------------------------------------------------------------------


def test_a_folder_has_a_page_a_table_and_maps_and_what_is_broken_is_told(call):
    pictures(3)
    Path("in/broken.jpg").write_bytes(b"\xff\xd8\xff")
    Path("in/empty <b>.png").touch()
    Path("in/notes.txt").write_text("no picture")
    result = call("explain", "in", *NET, "--raw", "--figures", "--batch", "2", "--method", "lrp-z", "--json", code=1)
    told = json.loads(result.stdout)
    assert [told[k] for k in ("number", "done", "failed", "page")] == [5, 3, 2, "relprop-explain/explained.html"]
    lines = result.stderr.splitlines()
    assert lines[0].startswith("not explained: in/broken.jpg: ")
    assert lines[1].startswith("not explained: in/empty <b>.png: an empty file")
    assert lines[2:] == [
        "error: 2 of 5 pictures could not be explained; relprop-explain/explained.html and the table say why"
    ]
    model = rp.models.load("many_nets:build")
    rows = rows_of()
    assert [row["picture"] for row in rows] == [f"in/{k}.png" for k in range(3)] + ["in/broken.jpg", "in/empty <b>.png"]
    for row, report in zip(rows[:3], told["pictures"][:3], strict=True):
        x = model.preprocess(Image.open(row["picture"]))[None]
        R = rp.attribute(model, x, method="lrp-z").numpy()
        found = np.load(Path("relprop-explain", row["arrays"]))
        assert found.shape == (1, 3, 8, 8)
        assert np.allclose(found, R, atol=1e-6)
        logits = model(x).detach()[0]
        assert float(row["logit"]) == pytest.approx(float(logits.max()), rel=1e-5)
        assert row["target_class"] == row["predicted_class"] == "abc"[int(logits.argmax())]
        start = sum(float(row[k]) for k in ("relevance_sum", "bias", "eps", "lost"))
        assert start == pytest.approx(float(row["logit"]), rel=1e-4)
        assert float(row["share_on_pixels"]) == pytest.approx(R.sum() / float(row["logit"]), rel=1e-3)
        assert report["explanations"][0]["share_on_pixels"] == float(row["share_on_pixels"])
        for file in (*report["files"], f"relprop-explain/{row['map']}", f"relprop-explain/{row['figure']}"):
            assert Path(file).stat().st_size > 0
    assert [bool(row["problem"]) for row in rows] == [False] * 3 + [True] * 2
    columns = parquet.read_table("relprop-explain/explained.parquet").to_pylist()
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in columns]
    assert as_text == rows
    page = Path("relprop-explain/explained.html").read_text()
    sources = re.findall(r'<img loading="lazy" src="([^"]+)"', page)
    assert len(sources) == 6  # the picture and its map, out of one file
    assert all(Path("relprop-explain", unquote(html.unescape(source))).exists() for source in sources)
    assert "empty &lt;b&gt;.png" in page
    assert "3 of 5 pictures explained." in page


def test_a_strip_shows_the_picture_and_the_map_in_the_colours_of_the_figure(call):
    (path,) = pictures(1)
    call("explain", "in", *NET, "--method", "lrp-z", "--raw")
    grid = np.asarray(Image.open("relprop-explain/maps/0.png-explained.png"))
    assert np.array_equal(grid[:8, :8], np.asarray(Image.open(path)))
    R = np.load("relprop-explain/arrays/0.png-explained.npy")[0].sum(0)
    reddish = grid[:8, 10:18, 0].astype(int) - grid[:8, 10:18, 2]
    strong = np.abs(R) > 0.2 * np.abs(R).max()
    assert strong.sum() > 5
    assert np.array_equal(np.sign(reddish[strong]), np.sign(R[strong]))


def test_a_second_run_gives_the_same_bytes_and_explains_no_figure_of_the_first(call):
    pictures(2, ".")
    call("explain", "0.png", *NET)  # 0-explained.png, beside it
    call("explain", ".", *NET)
    first = files_in(".")
    result = call("explain", ".", *NET)
    assert result.stderr == "3 files left out: figures that relprop has written\n"
    assert files_in(".") == first
    assert len(rows_of()) == 2
    call("explain", "0-explained.png", "1.png", *NET)  # by its name it is one
    assert [row["picture"] for row in rows_of()] == ["0-explained.png", "1.png"]


def test_names_never_meet(call):
    for name in ("a/cat.jpg", "a/cat.png", "b/cat.jpg", "b/Cat.JPG", f"b/{'x' * 200}.png"):
        write(name)
    call("explain", "a", "b/", "a/cat.png", *NET, "--out", "out")
    call("compare", "a", "b", *NET, "--out", "out", "--method", "lrp-z", "--target", "c")
    maps = [row["map"] for row in rows_of("out")]
    assert maps[:4] == [f"maps/{name}-explained.png" for name in ("a/cat.jpg", "a/cat.png", "b/Cat.JPG", "b/cat.jpg~2")]
    assert len({name.casefold() for name in maps}) == 5
    assert max(len(Path(name).name) for name in maps) < 150
    assert len(list(Path("out/maps").rglob("*.png"))) == 10
    assert {(row["target_class"], row["method"]) for row in rows_of("out", "compared")} == {("c", "lrp-z")}
    call("explain", "a/cat.jpg", *NET)
    call("compare", "a/cat.jpg", *NET, "--method", "lrp-z")
    assert Path("cat-explained.png").exists()
    assert Path("cat-compared.png").exists()


def test_what_is_meant_by_names_folders_and_patterns(place):
    for name in ("in/a/1.png", "in/b/2.png", "in/b/3.jpg", "in/4[1].png", "other/1.png"):
        write(name)
    Path("in/b/note.txt").touch()

    def meant(*words):
        return [each.name for each in named([Path(word) for word in words])[0]]

    assert meant("in") == ["4[1].png", "a/1.png", "b/2.png", "b/3.jpg"]
    assert meant("in/**/*.png") == ["4[1].png", "a/1.png", "b/2.png"]
    assert meant("in/b/*") == ["2.png", "3.jpg"]
    assert meant("in/a", "other") == ["in/a/1.png", "other/1.png"]
    assert meant("in/4[1].png", place / "in" / "a", "in/a/../a/1.png") == ["4[1].png", "a/1.png"]
    assert not several([Path("in/4[1].png")])
    assert several([Path("in/?.png")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "none: a folder, not a picture, and there is none in it; name one that has some"),
        (["in", "in/*.jgp"], "in/*.jgp: no picture's name fits this pattern"),
        (["in", "--out", "map.png"], "map.png: of several pictures a page and more is written; name a folder"),
        (["in", "--target", "d"], "'d'"),
        (["in", "--method", "lrp-zed"], "did you mean lrp-z"),
        (["in", "--device", "cuda:99"], "try --device cpu"),
    ],
)
def test_what_holds_for_all_is_one_line_before_anything_is_written(call, words, message):
    pictures(2)
    Path("none").mkdir()
    told = call("explain", *words, *NET, code=1)
    assert message in told.stderr
    assert told.stderr.count("\n") == 1
    assert told.stdout == ""
    assert not list(Path().rglob("*explained*"))


def test_pages_turn_and_old_ones_go(place, monkeypatch):
    monkeypatch.setattr(picture_pages, "CARDS", 2)

    def written(number):
        pages = picture_pages.Pages(place / "out", "explained", "lead.", coarse=True)
        for k in range(number):
            pages.add(Card(f"picture {k}", "note", "maps/a.png", 2, 1.0, [Panel(0, 0, "the picture")]))
        pages.finish(f"{number} pictures.", 0)
        return [page.read_text() for page in pages.written]

    first, second, third = written(5)
    assert 'href="explained-2.html">next page' in first
    assert 'href="explained.html">page before' in second
    assert "next page" not in third
    assert [re.findall(r"<h3>picture (\d)", page) for page in (first, second, third)] == [["0", "1"], ["2", "3"], ["4"]]
    assert len(written(4)) == len(list(Path("out").iterdir())) == 2
    assert len(written(1)) == len(list(Path("out").iterdir())) == 1


# -- what goes wrong on the way -----------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_done(call):
    pictures(9)
    Image.new("RGB", (8, 8), "white").save("in/6.png")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests in the background ignores it
    try:
        result = call("explain", "in", "--model", "many_nets:interrupted", "--batch", "2", code=130)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.stderr.splitlines()[-1] == "interrupted"
    done = len(rows_of())
    assert done == 6
    assert f"{done} of 9 pictures explained; it was stopped after {done}" in result.stdout
    assert len(list(Path("relprop-explain/maps").iterdir())) == done
    assert f"it was stopped after {done}." in Path("relprop-explain/explained.html").read_text()
    assert parquet.read_table("relprop-explain/explained.parquet").num_rows == done
    assert not list(Path("relprop-explain").glob(".*"))


@pytest.mark.parametrize("hungry", ["hungrygpu", "hungrycpu"])
def test_where_memory_runs_out_half_the_batch_is_explained(call, hungry):
    pictures(10)
    told = call("explain", "in", "--model", f"many_nets:{hungry}", "--batch", "8", "--raw", "--out", "halved").stderr
    assert told == "no memory for 7 pictures at once; going on with 1\n"
    told = call("explain", "in", *NET, "--batch", "1", "--raw", "--out", "small").stderr
    assert told == ""
    assert rows_of("halved") == rows_of("small")
    assert files_in("halved/arrays") == files_in("small/arrays")


@pytest.mark.parametrize("words", [["explain", "in"], ["explain", "in/0.png"], ["compare", "in/0.png"]])
def test_where_there_is_no_memory_for_one_is_one_line(call, words):
    pictures(1)
    told = call(*words, "--model", "many_nets:starving", code=1).stderr
    assert told.startswith("error: ")
    assert "can't allocate memory" in told
    assert told.count("\n") == 1


def test_a_study_halves_its_batches_too(call):
    rows = {}
    Path("map.json").write_text(json.dumps({"zero": [0], "one": [1], "two": [0], "three": [1], "four": [2]}))
    for out, batch, net in (("halved", 8, "hungrycpu"), ("small", 2, "build")):
        words = ("--class-map", "map.json", "--limit", "12", "--methods", "lrp-z,uniform", "--out", out)
        told = call("study", "--model", f"many_nets:{net}", "--batch", batch, *words).stderr
        rows[out] = {p.name: p.read_bytes() for p in sorted(Path(out).rglob("*.parquet"))}
        assert told.count("no memory for") == (out == "halved")
    assert rows["halved"] == rows["small"]
    assert len(rows["small"]) >= 3


def test_a_network_that_takes_one_picture_at_a_time(call):
    pictures(6)
    told = call("explain", "in", "--model", "many_nets:single", "--batch", "3").stderr
    assert told == "many_nets:single does not take 2 pictures at once; going on one by one\n"
    assert len(rows_of()) == 6


def test_a_picture_that_the_network_fails_on_is_not_the_end_of_the_others(call):
    pictures(4)
    Image.new("RGB", (8, 8)).save("in/3.png")
    told = call("explain", "in", "--model", "many_nets:picky", "--batch", "4", code=1).stderr
    assert "too dark" in told.splitlines()[0]
    assert "1 of 4 pictures" in told
    assert [bool(row["problem"]) for row in rows_of()] == [False, False, False, True]


def test_what_is_explained_is_not_kept(place):
    pictures(30)
    asked = opened(ExplainRequest(pictures=(Path("in"),), model="many_nets:build"), 1)
    most = 0
    gc.freeze()  # what is there already is none of them, and would be gone through again and again
    try:
        for _ in explained(asked, named([Path("in")])[0], 3):
            most = max(most, sum(type(each) is Explained for each in gc.get_objects()))
    finally:
        gc.unfreeze()
    assert 1 <= most <= 6  # of 30: those of one batch, and of the one before


@pytest.mark.parametrize("command", [["study", "--limit", "2"], ["patterns", "--limit", "2"], ["explain"], ["tune"]])
@pytest.mark.parametrize(
    ("device", "message"), [("cuda:99", "'cuda:99' cannot be used here ("), ("cdua", "; did you mean cuda?")]
)
def test_a_device_that_there_is_not_is_one_line_with_those_that_there_are(call, command, device, message):
    told = call(*command, "--model", "many_nets:build", "--device", device, code=1).stderr
    assert message in told
    assert "; there is: cpu" in told
    assert told.count("\n") == 1


# -- the document -------------------------------------------------------------------------------------


def test_the_documents_commands_run(call):
    document = (Path(__file__).parents[1] / "docs" / "folders.md").read_text()
    (block,) = re.findall(r"^```\n((?:relprop .*\n)+)```", document, flags=re.MULTILINE)
    lines = block.splitlines()
    assert len(lines) == 4
    for k, name in enumerate(("a.png", "more/a.jpg", "more/b.jpg")):
        path = Path("photos") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(Clutter("test", "multi")[k].image).save(path)
    for line in lines:
        call(*shlex.split(line)[1:])
    assert {path.name for path in Path("two").iterdir()} >= {"explained.html", "compared.html", "compared.csv", "maps"}
    written = {path.name for path in Path("relprop-explain").rglob("*")}
    table = document[document.index("| file |") :].partition("\n\n")[0]
    told = {name for row in table.splitlines() for name in re.findall(r"`([\w./]+?)/?`", row.split("|")[1])}
    assert told == {"explained.html", "explained.csv", "explained.parquet", "arrays", "figures"}
    assert told - {"figures"} <= written
    assert "a.jpg-explained.lrp-z.npy" in written
