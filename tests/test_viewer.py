"""What the component is given: a map's own numbers, and names that stay data; where it is offered, and where not."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import relprop as rp
from relprop.commands import closer
from relprop.data.preprocess import Preprocess
from relprop.plots.inline import inline
from relprop.plots.viewer import frame, page
from relprop.plots.viewer.documents import maps_document

EVIL = "</script><script>alert(1)</script><!-- & \u2028"
METHODS = ["lrp-epsilon", "gradient"]


@pytest.fixture(scope="module")
def e():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3)).eval()
    net.classes, net.preprocess = (EVIL, "b", "c"), Preprocess(32, 32, (0.5,) * 3, (0.5,) * 3)
    return rp.explain(net, torch.randn(2, 3, 32, 32), [0, 1, 2], METHODS)


def document_in(html):
    return json.loads(re.search(r'<script type="application/json" id="document">(.*?)</script>', html, re.DOTALL)[1])


def numbers(given):
    return np.frombuffer(base64.b64decode(given["values"]), "<f4")


def test_the_page_holds_the_maps_numbers_and_says_what_they_hold(e):
    found = document_in(page(maps_document(e, 1, boxes=[(1, 2, 3, 4)]), title="t"))
    assert [row["name"] for row in found["classes"]] == [f"{EVIL} (class 0)", "b (class 1)", "c (class 2)"]
    assert [method["attribution"] for method in found["methods"]] == [False, True]
    assert found["boxes"] == [[1, 2, 3, 4]]
    for each in found["maps"]:
        method, place = each["method"], each["target"]
        np.testing.assert_array_equal(numbers(each), e.map(place, method, 1).numpy().ravel())
        account = each["account"]
        assert (account is None) == (method == "gradient")
        if account:
            assert account["start"] == pytest.approx(float(e.values[place, 1]), rel=1e-6)
            taken = sum(account[name] for name in ("pixels", "biases", "eps", "lost"))
            assert taken == pytest.approx(account["start"], abs=1e-5)


def test_nothing_in_a_document_ends_its_script_or_runs(e):
    html = page(maps_document(e), title=EVIL)
    assert html.count("</script>") == html.count("<script") == 3
    assert "alert(1)</script>" not in html
    policy = re.search(r'content="(default-src [^"]*)"', html)[1]
    assert "connect-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    assert document_in(html)["classes"][0]["name"].startswith(EVIL)
    held = frame(maps_document(e), title=EVIL)
    assert held.count("<") == held.count(">") == 2
    assert "allow-same-origin" not in held


def test_a_page_that_has_a_server_may_ask_it_alone():
    html = page(None, title="t")
    assert document_in(html) == {"mode": "serve"}
    assert "connect-src &#39;self&#39;" in html


def test_a_notebook_holds_the_component_where_the_maps_are_few(e):
    shown = inline(e)
    assert shown.count("<iframe") == 1
    numbers_, pictures = 2 * len(METHODS) * 3 * 32 * 32, 2 * 5_000
    assert len(re.search(r"<iframe.*</iframe>", shown, re.DOTALL)[0]) < 40_000 + 6 * numbers_ + pictures
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3)).eval()
    large = rp.explain(net, torch.randn(1, 3, 256, 256), [0, 1, 2], ["lrp-epsilon"])
    assert "<iframe" not in inline(large)
    assert "data:image/png" in inline(large)


def test_a_folders_page_leads_to_closer_ones_as_long_as_they_are_small(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{k}.png")
    monkeypatch.setattr(closer, "OF_ALL", 2 * 64 * 64)
    call("explain", "0.png", "1.png", "2.png", "--model", "digits-shallow", "--method", "lrp-z", "--out", "out")
    pages = sorted(path.name for path in Path("out/closer").iterdir())
    assert pages == ["0.png-explained.html", "1.png-explained.html"]
    whole = Path("out/explained.html").read_text()
    assert re.findall(r'href="(closer/[^"]+)"', whole) == [f"closer/{name}" for name in pages]
    assert "1 picture without a page to look closer" in whole
    found = document_in(Path("out/closer/1.png-explained.html").read_text())
    ran = {}
    exec(found["code"], ran)
    np.testing.assert_allclose(numbers(found["maps"][0]), ran["R"].numpy().ravel(), rtol=1e-5, atol=1e-7)
