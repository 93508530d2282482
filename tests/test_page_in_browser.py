"""The page in a browser, with a real server behind it: what one does with it, and that its numbers are the maps'."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import relprop as rp
from relprop.data.clutter import sample_picture
from relprop.data.embedded import embedded
from relprop.plots import marked
from relprop.plots.inline import inline
from relprop.plots.view import coloured
from relprop.plots.viewer import page as viewer
from relprop.plots.viewer.documents import maps_document, picture_address

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
METHODS = ["lrp-z", "cmp-alpha2-flat", "gradient"]
EVIL = "</script><img src=x onerror=\"document.title='taken'\">"
PATIENCE = 30_000

if CHROMIUM is None:
    pytest.skip("no Chromium here; Debian's package is called chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api")
playwright.expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rp.study.run(rp.models.load("digits-deep"), embedded(number=4), folder, methods=["lrp-z", "uniform"])
    return folder


@pytest.fixture(scope="module")
def server(study):
    """A process of its own, as users have it: its address."""
    command = [sys.executable, "-m", "relprop", "serve", "--no-browser", "--port", "0", "--threads", "1"]
    command += ["--study", str(study), "--model", "digits-deep", "--model", "digits-shallow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        else:
            pytest.fail(f"the server did not start: {said}")
        yield found[0]
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A file that is dropped and opened."""
    place = tmp_path_factory.mktemp("dropped").joinpath("a six and a seven.png")
    place.write_bytes(base64.b64decode(picture_address(sample_picture().image).partition(",")[2]))
    return place


@pytest.fixture(scope="module")
def e(picture):
    return rp.explain(rp.models.load("digits-deep"), picture, [6, 7, 1], METHODS)


@pytest.fixture
def tab(browser):
    """A page that fails the test where its script fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    opened, failures = context.new_page(), []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    yield opened
    context.close()
    assert not failures


def ready(tab, address):
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]", state="attached")
    return tab


@pytest.fixture(scope="module")
def static(e, tmp_path_factory):
    """A page of three classes, one with a name that is an attack."""
    document = maps_document(e, boxes=[(24, 3, 53, 34)], network="digits-deep", code="import relprop")
    document["classes"][2]["name"] = EVIL
    path = tmp_path_factory.mktemp("static") / "maps.html"
    path.write_text(viewer(document, title=EVIL), encoding="utf-8")
    return path.as_uri()


def number(words):
    return float(words.replace("\N{MINUS SIGN}", "-"))


def told(tab, place):
    """The numbers that all maps tell at the cross-hair, and where it is."""
    words = [each.inner_text() for each in tab.locator(".readout").all()]
    assert {each.split(" at ")[1] for each in words} == {f"{place[0]}, {place[1]}"}
    return [np.float32(number(each.split(" at ")[0])) for each in words]


def expected(e, place, targets=(6, 7, 1)):
    return [np.float32(e.map(t, m)[place[1], place[0]]) for t in targets for m in METHODS]


def boxed(tab):
    return [
        {cell.get_attribute("data-measure"): cell.get_attribute("data-value") for cell in row.locator("td").all()}
        for row in tab.locator("#box-table tbody tr").all()
    ]


def measured(e, box, targets=(6, 7, 1)):
    """mu, mu_w and what lies inside, as relprop.metrics has them."""
    left, top, right, bottom = box
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    for target in targets:
        for method in METHODS:
            R = e.map(target, method)[None].double()
            yield {
                "inside": float((R * mask).sum()),
                "mu": float(rp.metrics.inside_total_ratio(R, mask)),
                "area": float(mask.double().mean()),
                "mu_w": float(rp.metrics.weighted_inside_total_ratio(R, mask)),
                "negative": float(rp.metrics.inside_total_ratio(-R, mask)),
            }


def demand_equal(rows, wanted):
    assert len(rows) == len(wanted)
    for row, right in zip(rows, wanted, strict=True):
        for name, value in right.items():
            assert (float(row[name]) if row[name] else np.nan) == pytest.approx(value, rel=1e-5, nan_ok=True), name


def saved(tab, button):
    with tab.expect_download() as download:
        button.click()
    return download.value.path().read_bytes()


def test_every_map_tells_exactly_its_number_and_names_are_text(tab, static, e):
    ready(tab, static)
    assert tab.title() == EVIL
    assert tab.locator("h2", has_text="<img").count() == 1
    assert tab.locator("main img").count() == 0
    surface = tab.locator(".surface").first
    area = surface.bounding_box()
    surface.hover(position={"x": area["width"] * 30.5 / 64, "y": area["height"] * 20.5 / 64})
    assert told(tab, (30, 20)) == expected(e, (30, 20))
    assert e.account(6, "lrp-z").words() in tab.locator("figure").first.inner_text()
    assert "attribution" in tab.locator("figure").nth(2).inner_text()
    assert "The network says no" in tab.locator(".row").nth(2).inner_text()


def test_colours_are_those_of_the_figures(tab, static, e):
    ready(tab, f"{static}#under=40&scale=method&sign=both")
    view = rp.plots.View(scale="method", overlay=0.4)
    maps = {m: [np.float64(e.map(t, m)) for t in (6, 7, 1)] for m in METHODS}
    ranges = view.ranges(maps)
    for place, (row, method) in {0: (0, "lrp-z"), 7: (2, "cmp-alpha2-flat")}.items():
        painted = (
            tab.locator(".surface canvas")
            .nth(place)
            .evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data]")
        )
        colours = coloured(maps[method][row], ranges[method][row], view, e.picture())
        assert np.abs(np.reshape(painted, (64, 64, 4))[..., :3] - 255 * colours).max() <= 1.01


def test_by_keyboard_alone(tab, static, e):
    ready(tab, static)
    for _ in range(80):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.className") == "surface":
            break
    assert told(tab, (32, 32)) == expected(e, (32, 32))
    tab.keyboard.press("Shift+ArrowLeft")
    tab.keyboard.press("ArrowUp")
    assert told(tab, (22, 31)) == expected(e, (22, 31))
    playwright.expect(tab.locator("#spoken")).to_contain_text("22, 31: ")
    tab.keyboard.press("b")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "b"):
        tab.keyboard.press(key)
    box = (22, 31, 33, 42)
    demand_equal(boxed(tab), list(measured(e, box)))
    tab.keyboard.press("Escape")
    assert not boxed(tab)
    for edge, value in zip(("left", "top", "right", "bottom"), (3, 5, 64, 40), strict=True):
        tab.fill(f"#box-form [name={edge}]", str(value))
    tab.keyboard.press("Enter")
    demand_equal(boxed(tab), list(measured(e, (3, 5, 64, 40))))
    tab.fill("#box-form [name=right]", "2")
    tab.keyboard.press("Enter")
    assert "four whole numbers" in tab.inner_text("#alarm")
    assert len(boxed(tab)) == 9


def demand_accessible(tab):
    """No serious finding of axe and no scrolling sideways, on a desk and on a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for width in (1280, 390):
        tab.set_viewport_size({"width": width, "height": 800})
        tab.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(tab).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_all_can_be_read_by_all(tab, static):
    ready(tab, f"{static}#box=3,5,40,40")
    demand_accessible(tab)
    tab.click("#show-help")
    demand_accessible(tab)


def test_texts_are_coloured_tokens_with_one_mark_in_all(tab, tmp_path):
    values = {(5, "lrp-z"): [0.5, -0.25, 2.0], (7, "lrp-z"): [0.125, 1.0, -3.0]}
    document = {
        "mode": "static",
        "tokens": ["<b>", " cat", " sat"],
        "classes": [{"index": 5, "name": "on", "logit": 3.0}, {"index": 7, "name": "<i>", "logit": -2.0}],
        "methods": [{"name": "lrp-z", "title": "LRP_z"}],
        "maps": [{"target": t, "method": m, "values": numbers} for (t, m), numbers in values.items()],
    }
    path = tmp_path / "text.html"
    path.write_text(viewer(document, title="a text"), encoding="utf-8")
    ready(tab, path.as_uri())
    assert [each.inner_text() for each in tab.locator(".tokens").first.locator(".token > span").all()] == [
        "<b>",
        "cat",
        "sat",
    ]
    tab.locator(".tokens").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert [each.inner_text() for each in tab.locator(".readout").all()] == [
        "\N{MINUS SIGN}0.25 at token 1",
        "1 at token 1",
    ]
    hues = [each.evaluate("token => getComputedStyle(token).backgroundColor") for each in tab.locator(".token").all()]
    assert hues[2] == f"rgb{marked.tint(1.0)}"
    assert hues[5] == f"rgb{marked.tint(-1.0)}"
    demand_accessible(tab)


def test_a_picture_from_dropping_to_the_link(tab, server, picture, e, tmp_path):
    ready(tab, server)
    drop(tab, picture)
    playwright.expect(tab.locator(".row")).to_have_count(2)
    for method in METHODS:
        tab.check(f'#methods input[value="{method}"]')
    playwright.expect(tab.locator("figure")).to_have_count(6)
    assert [each.inner_text().split()[0] for each in tab.locator(".row h2").all()] == ["seven", "six"]
    before = pixels(tab)
    tab.locator("#under").evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    tab.wait_for_timeout(150)
    assert (pixels(tab) != before).any()
    surface = tab.locator(".surface").nth(1)
    area = surface.bounding_box()
    at = [
        (area["x"] + area["width"] * (x + 0.5) / 64, area["y"] + area["height"] * (y + 0.5) / 64)
        for x, y in ((8, 12), (40, 50))
    ]
    tab.mouse.move(*at[0])
    assert told(tab, (8, 12)) == expected(e, (8, 12), (7, 6))
    tab.mouse.down()
    tab.mouse.move(*at[1], steps=3)
    tab.mouse.up()
    wanted = list(measured(e, (8, 12, 41, 51), (7, 6)))
    demand_equal(boxed(tab), wanted)
    array = np.load(io.BytesIO(saved(tab, tab.locator(".savers button", has_text="NPY").nth(1))))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, e.map(7, METHODS[1]).numpy())
    drawn = Image.open(io.BytesIO(saved(tab, tab.locator("#save button", has_text="PNG"))))
    assert drawn.format == "PNG"
    assert drawn.width > 3 * 400
    assert saved(tab, tab.locator("#save button", has_text="PDF"))[:5] == b"%PDF-"
    kept = json.loads(saved(tab, tab.locator("#save button", has_text="JSON")))
    demand_equal([{k: str(v) for k, v in each["box"].items() if v is not None} for each in kept["maps"]], wanted)
    tab.click("#show-code")
    code = tab.inner_text("#code-text").replace('"picture.png"', repr(str(picture)))
    found = {}
    exec(code, found)
    for target in (7, 6):
        for method in METHODS:
            assert torch.equal(found["e"].map(target, method), e.map(target, method))
    tab.keyboard.press("Escape")
    link = tab.evaluate("location.href")
    looked = pixels(tab)
    tab.goto("about:blank")
    ready(tab, link)
    playwright.expect(tab.locator("figure")).to_have_count(6)
    demand_equal(boxed(tab), wanted)
    assert tab.input_value("#under") == "0"
    assert (pixels(tab) == looked).all()


def test_a_study_is_filtered_sorted_and_opened(tab, server):
    ready(tab, server)
    rows = tab.locator("#study-rows tbody tr")
    playwright.expect(rows.first).to_be_visible()
    tab.select_option("#study [name=method]", "lrp-z")
    playwright.expect(tab.locator("#study-rows td", has_text="uniform")).to_have_count(0)
    tab.select_option("#study [name=sort]", "-mu_w")
    playwright.expect(tab.locator("#working")).to_be_hidden()
    mu_w = [float(row.locator("td").nth(4).inner_text()) for row in rows.all()]
    assert len(mu_w) >= 4
    assert mu_w == sorted(mu_w, reverse=True)
    name, method = (rows.first.locator("td").nth(k).inner_text() for k in (0, 1))
    rows.first.locator("button").click()
    playwright.expect(tab.locator(".row h2", has_text=name)).to_be_visible()
    assert tab.locator(f'figcaption[title="{method}"]').count() >= 1
    assert tab.locator("rect.given").count() >= 2
    tab.fill("#study [name=class]", "no such class")
    playwright.expect(tab.locator("#study-rows")).to_contain_text("No row")
    demand_accessible(tab)


def test_on_an_error_nothing_is_lost_and_what_to_do_is_said(tab, server, picture, tmp_path):
    ready(tab, server)
    tab.locator("#samples button").first.click()
    playwright.expect(tab.locator(".row")).to_have_count(2)
    before = pixels(tab)
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:300])
    tab.set_input_files("#file", broken)
    playwright.expect(tab.locator("#alarm")).to_be_visible()
    assert (pixels(tab) == before).all()
    assert tab.locator("#classes input:checked").count() == 2
    gone = f"{server}#network=digits-deep&picture={'0' * 64}&targets=3&methods=lrp-z&under=10"
    tab.goto("about:blank")
    ready(tab, gone)
    playwright.expect(tab.locator("#alarm")).to_contain_text("again")
    tab.set_input_files("#file", picture)
    playwright.expect(tab.locator("figure")).to_have_count(1)
    assert "three" in tab.inner_text(".row h2")
    assert tab.input_value("#under") == "10"


def test_another_network_chosen_while_a_picture_is_looked_at_is_the_one_that_explains_it(tab, server, picture):
    ready(tab, server)
    held = []
    tab.route("**/api/pictures?network=digits-deep", lambda route: held.append(route))
    tab.set_input_files("#file", picture)
    tab.select_option("#network", "digits-shallow")
    playwright.expect(tab.locator("#working")).to_be_visible()
    while not held:
        tab.wait_for_timeout(50)
    held[0].continue_()
    playwright.expect(tab.locator(".row")).to_have_count(2)
    playwright.expect(tab.locator("#working")).to_be_hidden()
    model = rp.models.load("digits-shallow")
    order = model(model.preprocess(Image.open(picture))[None])[0].argsort(descending=True).tolist()
    listed = [int(box.get_attribute("value")) for box in tab.locator("#classes input").all()]
    assert listed == order[: len(listed)]


def test_a_link_that_is_followed_within_the_page_is_shown(tab, server):
    ready(tab, server)
    tab.locator("#samples button").first.click()
    playwright.expect(tab.locator(".row")).to_have_count(2)
    tab.wait_for_timeout(300)
    tab.evaluate("address => { location.href = address.replace(/targets=[^&]*/, 'targets=3'); }", tab.url)
    playwright.expect(tab.locator(".row")).to_have_count(1)
    assert "three" in tab.inner_text(".row h2")


def test_a_notebook_shows_the_same_in_a_frame_of_its_own(tab, e, tmp_path):
    html = inline(e)
    assert len(html) < 1_500_000
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><title>notebook</title>{html}", encoding="utf-8")
    tab.goto(path.as_uri())
    tab.click("summary")
    frame = tab.frame_locator("iframe").first
    surface = frame.locator(".surface").first
    surface.click(position={"x": 3, "y": 3})
    words = frame.locator(".readout").first.inner_text().split(" at ")
    x, y = (int(each) for each in words[1].split(", "))
    assert np.float32(number(words[0])) == np.float32(e.map(6, METHODS[0])[y, x])


def drop(tab, path):
    """Drop a file on the page, as a hand does."""
    letters = list(path.read_bytes())
    tab.evaluate(
        """([bytes, name]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            const how = { dataTransfer: carried, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", how));
        }""",
        [letters, path.name],
    )


def pixels(tab):
    """The colours of the first map."""
    return np.array(
        tab.locator(".surface canvas").first.evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
    )
