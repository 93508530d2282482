"""The addresses of the page: maps are rp.explain's to the bit, and what cannot be answered is one clear line."""

import ast
import asyncio
import base64
import io
import json
import re
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image
from starlette.testclient import TestClient
from uvicorn.server import ServerState

import relprop as rp
import text_models
from relprop.commands import serve as command
from relprop.commands.serve_request import ServeRequest
from relprop.commands.serve_study import opened
from relprop.data.clutter import sample_picture
from relprop.data.embedded import embedded
from relprop.data.pictures import open_picture
from relprop.plots.viewer import page as viewer
from relprop.study.store import Store
from relprop.web.app import Served
from relprop.web.bodies import GoneError, Room
from relprop.web.document import DROPPED, python
from relprop.web.guard import Guard, policy
from relprop.web.held import Held
from relprop.web.limits import Limits
from relprop.web.networks import Networks
from relprop.web.refused import Refused
from relprop.web.samples import sample
from relprop.web.serving import Connection, bound
from relprop.web.titles import FOR_TEXTS
from relprop.web.worker import Worker

PORT = 8642
HERE = f"http://127.0.0.1:{PORT}"
METHODS = ["lrp-z", "cmp-alpha2-flat", "gradient"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    model = rp.models.load("digits-shallow")
    rp.study.run(model, embedded(number=6), folder, methods=["lrp-z", "uniform"], measures=("localisation",), chunk=4)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory, study):
    """Two networks of pictures, a model of texts, a study."""
    folder = tmp_path_factory.mktemp("texts") / "llama"
    text_models.save(folder, "llama")
    names = ("digits-shallow", "digits-deep", f"hf:{folder}")
    request = ServeRequest(models=names, study=study)
    opening, told = opened(request), []
    networks = Networks(command.named(request, opening), told.append)
    made = Served(networks, Limits(), "<html></html>", opening)
    made.told, made.texts_name = told, names[2]
    return made


@pytest.fixture(scope="module")
def client(served):
    with TestClient(Guard(served.app(), PORT, served.page), base_url=HERE, follow_redirects=False) as found:
        yield found


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "two digits.png"
    path.write_bytes(sample("digits").data())
    assert np.array_equal(np.asarray(open_picture(path)), sample_picture().image)
    return path


@pytest.fixture(scope="module")
def dropped(client, picture):
    return client.post("/api/pictures?network=digits-shallow", content=picture.read_bytes()).json()


@pytest.fixture
def ask(client, dropped):
    """A good question, but for what is changed."""

    def asked(path="/api/explain", **changed):
        good = {"network": "digits-shallow", "picture": dropped["picture"], "targets": [7, 6], "methods": METHODS}
        return client.post(path, content=json.dumps(good | changed))  # letters as escapes, halves of one too

    return asked


def numbers(document, k=0):
    return np.frombuffer(base64.b64decode(document["maps"][k]["values"]), "<f4").reshape(64, 64)


def image_in(answer):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["image"].partition(",")[2]))))


def refused(answer, status, words):
    line = answer.json()["error"]
    assert (answer.status_code, "\n" in line) == (status, False)
    assert re.search(words, line), line


# -- maps ----------------------------------------------------------------------------------------------


def test_maps_are_those_of_explain_to_the_bit(ask, dropped, picture):
    document = ask().json()
    e = rp.explain(rp.models.load("digits-shallow"), picture, [7, 6], METHODS)
    assert [(each["target"], each["method"]) for each in document["maps"]] == [(t, m) for t in (7, 6) for m in METHODS]
    for k, each in enumerate(document["maps"]):
        assert np.array_equal(numbers(document, k), e.map(each["target"], each["method"]).numpy())
        account = e.account(each["target"], each["method"])
        assert each["account"] == account_of(account)
    assert [row["logit"] for row in document["classes"]] == e.values[:, 0].tolist()
    assert [row["name"] for row in document["classes"]] == ["seven", "six"]
    assert [column.get("attribution", False) for column in document["methods"]] == [False, False, True]
    assert np.array_equal(image_in(document), e.picture())
    assert np.array_equal(image_in(dropped), e.picture())
    assert (document["height"], document["width"]) == (64, 64)


def account_of(account):
    if account.start is None:
        return None
    names = {"start": "start", "pixels": "total", "biases": "bias", "lost": "lost", "eps": "eps"}
    return {name: getattr(account, of) for name, of in names.items()}


def test_the_code_gives_the_same_map(ask, picture, monkeypatch):
    document = ask(methods=["cmp-alpha2-flat"]).json()
    monkeypatch.chdir(picture.parent)
    names = {}
    exec(document["code"].replace("picture.png", picture.name), names)
    assert np.array_equal(names["R"].numpy(), numbers(document))


def test_no_name_of_a_class_becomes_code(served):
    hostile = ("x\nimport os", "x\rimport os", "x\x00", "x\x0cimport os")
    plain, *others = (
        ast.dump(ast.parse(python(served.networks.all[0], DROPPED, [1], METHODS, ("", name))))
        for name in ("x", *hostile)
    )
    assert others == [plain] * len(hostile)


def test_classes_that_are_named_by_numbers_are_asked_for_by_their_place(ask, served, monkeypatch):
    expected = ask(targets=[3]).json()
    model = served.networks.named("digits-shallow").model
    monkeypatch.setattr(model, "classes", tuple(str(k) for k in range(1, 11)))
    found = ask(targets=[3]).json()
    assert (found["classes"][0]["index"], found["classes"][0]["name"]) == (3, "4")
    assert found["maps"] == expected["maps"]


def test_mu_of_a_box_is_that_of_the_measures(ask, picture):
    document = ask().json()
    e = rp.explain(rp.models.load("digits-shallow"), picture, [7, 6], METHODS)
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 3:34, 24:53] = True
    for k, each in enumerate(document["maps"]):
        R = e.relevance[each["method"]][0 if each["target"] == 7 else 1]
        mine = rp.metrics.inside_total_ratio(torch.from_numpy(numbers(document, k).copy())[None], mask)
        assert torch.equal(mine, rp.metrics.inside_total_ratio(R, mask))


def test_one_forward_pass_serves_all_classes_and_methods(ask, served):
    ask()
    calls = []
    hook = served.networks.named("digits-shallow").model.register_forward_hook(lambda *_: calls.append(1))
    assert ask(targets=[1, 2, 3], methods=["lrp-z", "lrp-alpha2", "cmp-alpha1"]).status_code == 200
    hook.remove()
    assert len(calls) == 1


def test_all_classes_are_told_the_highest_first(dropped):
    logits = [row["logit"] for row in dropped["classes"]]
    assert logits == sorted(logits, reverse=True)
    assert len(logits) == 10
    assert all(row["probability"] is None for row in dropped["classes"])  # the digits are many labels


def test_each_network_is_loaded_once_and_told_in_a_line(ask, client, served):
    deep = client.post("/api/samples/digits?network=digits-deep").json()
    assert ask(network="digits-deep", picture=deep["picture"]).status_code == 200
    assert ask(network="digits-deep", picture=deep["picture"]).status_code == 200
    assert sum(line.startswith("loaded digits-deep in") for line in served.told) == 1
    about = {each["name"]: each for each in client.get("/api/networks").json()["networks"]}
    assert about["digits-deep"]["classes"] == 10
    assert about["digits-deep"]["prepared"].startswith("shorter side to 64")


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("turned.jpg", lambda image: image.save),
        ("moving.gif", lambda image: image.quantize().save),
        ("clear.png", lambda image: _clear(image).save),
        ("grey16.png", lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256).save),
        ("plain.webp", lambda image: image.save),
        ("plain.bmp", lambda image: image.save),
    ],
)
def test_pictures_of_every_kind_are_seen_as_everywhere(client, tmp_path, kind, make):
    image, path = Image.fromarray(sample_picture().image).resize((90, 70)), tmp_path / kind
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"turned.jpg": {"exif": exif}, "moving.gif": {"save_all": True, "append_images": [image.rotate(90)]}}
    make(image)(path, **more.get(kind, {}))
    answer = client.post("/api/pictures?network=digits-shallow", content=path.read_bytes()).json()
    model = rp.models.load("digits-shallow")
    assert np.array_equal(image_in(answer), np.asarray(model.preprocess.picture(open_picture(path))))
    logits = {row["index"]: row["logit"] for row in answer["classes"]}
    assert [logits[k] for k in range(10)] == model(model.preprocess(open_picture(path))[None])[0].tolist()


def _clear(image):
    clear = image.convert("RGBA")
    clear.putalpha(100)
    return clear


def test_a_picture_whose_camera_wrote_nonsense_is_explained(client):
    buffer = io.BytesIO()
    Image.fromarray(sample_picture().image).save(buffer, "JPEG", exif=b"Exif\x00\x00nonsense")
    assert client.post("/api/pictures?network=digits-shallow", content=buffer.getvalue()).status_code == 200


def test_a_picture_that_is_a_line_is_not_made_a_thousand_times_as_large(client):
    buffer = io.BytesIO()
    Image.new("L", (1, 3000)).save(buffer, "PNG")
    answer = client.post("/api/pictures?network=digits-shallow", content=buffer.getvalue())
    refused(answer, 413, "1 x 3000 pixels, of which one side may be 50 times the other")


def test_scans_are_counted_in_a_jpeg_of_several_pictures_and_not_behind_it(client):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", progressive=True)
    data, end = buffer.getvalue()[:-2], buffer.getvalue()[-2:]
    scan = data[data.rindex(b"\xff\xda") :]
    directory = struct.pack("<HHHI4sHHIIHHIII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2, 0xB002, 7, 32, 50, 0)
    entries = struct.pack("<IIIHHIIIHH", 0x030000, 99, 0, 0, 0, 0, 99, 8, 0, 0)
    several = b"MPF\0" + struct.pack("<2sHI", b"II", 42, 8) + directory + entries
    mpo = data[:2] + b"\xff\xe2" + struct.pack(">H", len(several) + 2) + several + data[2:]
    with Image.open(io.BytesIO(mpo + end)) as image:
        assert image.format == "MPO"
    path = "/api/pictures?network=digits-shallow"
    for file in (data, mpo):
        refused(client.post(path, content=file + 100 * scan + end), 413, "more than 100 scans")
    film = b"\xff\xda" * 200  # a camera's, behind its picture
    assert client.post(path, content=data + end + film).status_code == 200


def test_figures_are_those_of_the_plots(ask, picture):
    look = {"under": 30, "scale": "method", "sign": "+", "percentile": 99, "box": [24, 3, 53, 34]}
    asked = {"targets": [7], "methods": ["lrp-z"]}
    answer = ask("/api/figure?format=pdf", **asked, **look)
    e = rp.explain(rp.models.load("digits-shallow"), picture, [7], ["lrp-z"])
    drawn = rp.plots.grid(e, overlay=0.3, scale="method", sign="+", percentile=99, boxes=[(24, 3, 53, 34)])
    assert answer.content == rp.plots.render(drawn, "pdf")
    assert ask("/api/figure?format=svg", **asked).content.startswith(b"<?xml")
    refused(ask("/api/figure?format=gif", **asked), 422, "choose from pdf, svg, png")
    refused(ask("/api/figure", **asked, scale="huge"), 422, "scale is 'huge'")
    refused(ask("/api/figure", **asked, box=[1, 2]), 422, "four whole numbers")


def test_what_a_network_takes_is_known_before_it_is_loaded(served):
    networks = command.named(ServeRequest(models=("digits-deep", served.texts_name)))
    assert [(network.kind, network.model) for network in networks] == [("pictures", None), ("text", None)]
    assert [network.name for network in networks] == ["digits-deep", "hf:llama"]  # without the folder it lies in


# -- texts ---------------------------------------------------------------------------------------------


def test_tokens_have_the_relevance_of_explain(client, served):
    name = next(each.name for each in served.networks.all if each.name.startswith("hf:"))
    text = "The capital of France is"
    read = client.post("/api/texts", json={"network": name, "text": text}).json()
    model = rp.models.load(served.texts_name)
    assert read["tokens"] == ["The", " capital", " of", " France", " is"]
    likely = model(**model.encode(text)).logits[0, -1].detach().double().softmax(0)
    assert read["next"][0]["index"] == int(likely.argmax())
    assert read["next"][0]["probability"] == pytest.approx(float(likely.max()), abs=1e-6)
    token = read["next"][1]["index"]
    asked = {"network": name, "text": read["text"], "targets": [token, " Paris"], "methods": ["cp-lrp", "attnlrp"]}
    document = client.post("/api/explain", json=asked).json()
    e = rp.explain(model, model.encode(text), [rp.at(-1, token), rp.at(-1, " Paris")], ["cp-lrp", "attnlrp"])
    for k, each in enumerate(document["maps"]):
        assert each["values"] == e.relevance[each["method"]][k // 2, 0].tolist()
        assert each["account"]["start"] == float(e.values[k // 2, 0])
    names = {}
    exec(document["code"], names)
    assert names["R"].tolist() == document["maps"][0]["values"]


def test_every_method_that_is_offered_for_texts_explains_one(client, served):
    name = next(each.name for each in served.networks.all if each.name.startswith("hf:"))
    read = client.post("/api/texts", json={"network": name, "text": "The cat sat on the mat"}).json()
    asked = {"network": name, "text": read["text"], "targets": [read["next"][0]["index"]], "methods": sorted(FOR_TEXTS)}
    answer = client.post("/api/explain", json=asked)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["maps"]) == len(FOR_TEXTS)


# -- a study -------------------------------------------------------------------------------------------


def test_rows_are_filtered_and_sorted_as_they_stand_in_the_files(client, study):
    table = Store(study).read("rows").to_pylist()
    told = client.get("/api/study/rows?method=lrp-z&sort=-mu&limit=3&offset=1").json()
    own = sorted((row for row in table if row["method"] == "lrp-z"), key=lambda row: -row["mu"])
    assert told["total"] == len(own)
    assert [row["mu"] for row in told["rows"]] == [row["mu"] for row in own][1:4]
    assert [row["picture"] for row in told["rows"]] == [str(row["image_index"]) for row in own][1:4]
    assert (told["methods"], told["statuses"]) == (["lrp-z", "uniform"], ["ok"])
    among = client.get("/api/study/rows?mu_from=0.2&mu_to=0.5&class=E&limit=500").json()
    assert {(row["picture"], row["class"], row["method"]) for row in among["rows"]} == {
        (str(row["image_index"]), row["class_name"], row["method"])
        for row in table
        if 0.2 <= row["mu"] <= 0.5 and "e" in row["class_name"]
    }
    in_order = client.get("/api/study/rows?limit=500").json()["rows"]
    assert [row["mu_w"] for row in in_order] == [row["mu_w"] for row in table]


def test_a_picture_of_the_study_gives_the_rows_mu_again(client, study, ask):
    row = next(row for row in Store(study).read("rows").to_pylist() if row["method"] == "lrp-z")
    found = client.post(f"/api/study/pictures/{row['image_index']}?network=digits-shallow").json()
    document = ask(picture=found["picture"], targets=[row["target"]], methods=["lrp-z"]).json()
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    things = embedded(number=6)[row["image_index"]].things
    for (left, top, right, bottom), thing in zip(document["boxes"], things, strict=True):
        assert (left, top, right, bottom) == thing.box
        mask[:, top:bottom, left:right] |= thing.name == row["class_name"]
    R = torch.from_numpy(numbers(document).copy())[None].double()
    assert float(rp.metrics.inside_total_ratio(R, mask)) == pytest.approx(row["mu"], abs=1e-6)
    names = {}
    exec(document["code"], names)
    assert np.array_equal(names["R"].numpy(), numbers(document))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("method=lrpz", "did you mean lrp-z"),
        ("status=okay", "did you mean ok"),
        ("sort=mew", "cannot be sorted by 'mew'"),
        ("limit=100000", "500 are told at most"),
        ("offset=-1", "whole number from 0"),
        ("offset=99999", "down to the 20000th"),
        ("mu_from=much", "a number such as 0.5"),
    ],
)
def test_a_query_that_is_none_is_refused(client, words, line):
    refused(client.get(f"/api/study/rows?{words}"), 422, line)


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "status", "line"),
    [
        ({"network": "digits-shalow"}, 404, "did you mean digits-shallow"),
        ({"picture": "0" * 64}, 404, "drop the picture again"),
        ({"picture": "../x"}, 400, "no id of a picture"),
        ({"targets": ["sevn"]}, 422, "did you mean seven"),
        ({"targets": [10]}, 422, "its classes are 0 to 9"),
        ({"targets": list(range(17))}, 413, "16 are taken at once"),
        ({"targets": []}, 400, '"targets" is missing'),
        ({"targets": [True]}, 400, "whole numbers or names"),
        ({"methods": ["lrp-zz"]}, 422, "did you mean lrp-z"),
        ({"methods": ["lrp-z:eps=1"]}, 422, "no option 'eps'"),
        ({"methods": ["os:system"]}, 422, "no method is named 'os'"),
        ({"methods": ["pattern-attribution:patterns=/etc/passwd"]}, 422, "files are not read"),
        ({"methods": ["cmp-alpha1:head=x.toml"]}, 422, "files are not read"),
        ({"methods": ["smoothgrad:samples=1000"]}, 422, "samples is 64 at most"),
        ({"methods": ["attention-rollout"]}, 422, "attention"),
        ({"methods": [f"smoothgrad:seed={10**60}"]}, 422, "must be a whole number from 0 to"),
        ({"methods": ["lrp-epsilon:eps=1e300"]}, 422, "too large a number"),
        ({"targets": [10**150]}, 422, "cannot be the name or place of any"),
        ({"targets": ["\ud800"]}, 422, "cannot be the name or place of any"),
        ({"targets": [-1]}, 422, "its classes are 0 to 9"),
    ],
)
def test_a_question_that_cannot_be_answered_is(ask, changed, status, line):
    refused(ask(**changed), status, line)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}, 200),
        ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"https://127.0.0.1:{PORT}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_no_other_site_can_drive_it(client, headers, status):
    answer = client.post("/api/samples/digits?network=digits-shallow", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(client):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/api/networks", headers=link).status_code == 403
    assert client.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_the_policy_names_the_pages_own_script_and_style(served):
    told = policy(viewer(None, title="x"))
    assert told.count("'sha256-") >= 2
    assert "unsafe" not in told
    assert "http" not in told


def test_a_body_without_a_size_is_read_no_further_than_it_may_be(client):
    refused(client.post("/api/pictures", content=(bytes(10**6) for _ in range(30))), 413, "more than 20 MB")
    refused(client.post("/api/explain", content=bytes(70_000)), 413, "64 kB")


def test_an_address_that_there_is_not(client):
    refused(client.get("/api/picturs"), 404, "nothing is at /api/picturs")
    refused(client.get("/api/explain"), 405, "GET is not for /api/explain")
    assert client.get("/api/networks/").status_code == 404


def test_the_document_names_the_limits_that_there_are():
    told, own = (Path(__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8"), Limits()
    words = (
        f"{own.bytes // 10**6} MB, counted",
        f"{own.under_way // 10**6} MB of all",
        f"{own.pixels // 10**6} million pixels, as",
        f"more than {own.scans} scans",
        f"is worked on, {own.waiting} wait",
        f"`--timeout` ({own.seconds:g} s)",
        f"{own.maps} maps a question, {own.characters:,} characters and {own.tokens:,} tokens",
        f"127.0.0.1:{ServeRequest().port} ",
    )
    assert [each for each in words if each not in told] == []


# -- the parts -----------------------------------------------------------------------------------------


def waiting(worker, number):
    """Work that stands still until it is let go, and as much behind it as there is room for."""
    let_go, done = threading.Event(), []

    async def never():
        await asyncio.Event().wait()

    async def ask():
        first = asyncio.create_task(worker.run(let_go.wait, never))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(worker.run(lambda k=k: done.append(k), never)) for k in range(number)]
        await asyncio.sleep(0.05)
        return first, others

    return let_go, done, ask, never


def test_beyond_its_bound_nothing_waits():
    worker = Worker(2, 30)
    let_go, done, ask, never = waiting(worker, 2)

    async def main():
        first, others = await ask()
        with pytest.raises(Refused) as told:
            await worker.run(lambda: None, never)
        let_go.set()
        await asyncio.gather(first, *others)
        return told.value

    told = asyncio.run(main())
    assert (told.status, dict(told.headers)) == (429, {"Retry-After": "2"})
    assert done == [0, 1]


def test_what_nobody_waits_for_is_not_begun():
    worker = Worker(2, 30)
    let_go, done, ask, _ = waiting(worker, 2)

    async def main():
        first, others = await ask()
        gone = asyncio.Event()
        others[0].cancel()
        await asyncio.sleep(0)
        left = asyncio.create_task(worker.run(lambda: done.append("left"), gone.wait))  # there is room again
        await asyncio.sleep(0.05)
        gone.set()
        with pytest.raises(GoneError):
            await left
        let_go.set()
        await asyncio.gather(first, others[1])

    asyncio.run(main())
    assert done == [1]


def test_an_answer_that_takes_too_long_is_given_up():
    worker = Worker(4, 0.2)
    let_go, done, ask, _ = waiting(worker, 1)

    async def main():
        first, others = await ask()
        return await asyncio.gather(first, *others, return_exceptions=True)

    working, in_turn = asyncio.run(main())
    let_go.set()
    assert (working.status, in_turn.status) == (504, 503)
    time.sleep(0.1)
    assert not done


def test_what_is_read_at_once_is_bounded():
    room = Room(100)

    async def main():
        async with room.of(60):
            with pytest.raises(Refused, match="too many uploads"):
                async with room.of(60):
                    pass
        assert room.taken == 0

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_connection_that_asks_for_nothing_is_let_go(served, monkeypatch, sent):
    monkeypatch.setattr(Connection, "idle", 0.05)
    config, state = uvicorn.Config(Guard(served.app(), PORT, served.page), lifespan="off"), ServerState()

    async def main():
        loop = asyncio.get_running_loop()
        there = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        async with there:
            reader, writer = await asyncio.open_connection(*there.sockets[0].getsockname())
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert (b"421" in answer) == sent.endswith(b"\r\n\r\n")
            writer.close()

    asyncio.run(main())


def test_what_is_held_is_bounded():
    held = Held(10, len)
    for k in range(5):
        held.put(k, b"1234")
    assert [held.get(k) is not None for k in range(5)] == [False, False, False, True, True]
    held.get(3)
    held.put(5, b"1234567")
    assert [held.get(k) is not None for k in (3, 4, 5)] == [False, False, True]


# -- the command ---------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told_with_a_free_one(call):
    with bound(0) as taken:
        port = taken.getsockname()[1]
        told = call("serve", "--no-browser", "--port", port, code=1).stderr
        assert re.fullmatch(rf"error: port {port} cannot be had \(.+\); the next free one: --port \d+\n", told)


def test_without_the_extra_it_says_what_to_install(call, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    told = call("serve", code=1).stderr
    assert told == 'error: relprop serve needs starlette and uvicorn; pip install "relprop[web]"\n'


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--model", "digits-dep"], "did you mean digits-deep"),
        (["--model", "vgg16", "--model", "vgg11", "--weights", "a.safetensors"], "of which network"),
        (["--model", "vgg16", "--model", "vgg11", "--weights", "vgg1=a"], "did you mean"),
        (["--study", "nowhere"], "no study here"),
        (["--data", "voc", "--root", "x"], "--study FOLDER"),
        (["--device", "cud"], "did you mean cuda"),
    ],
)
def test_what_cannot_be_served_is_said_before_it_begins(call, words, line):
    told = call("serve", "--no-browser", "--port", 0, *words, code=1).stderr
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert line in told


def test_a_study_of_other_data_is_not_shown_as_if_it_were_this(call, study, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ["--study", study, "--data", "folder", "--root", tmp_path, "--annotations", tmp_path]
    told = call("serve", "--no-browser", "--port", 0, *words, code=1).stderr
    assert "was measured on 6 pictures of embedded-multi" in told or "a.png" in told
