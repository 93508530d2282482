"""Published weights: what a name needs, downloads that are checked and kept, and the way out without a network."""

import hashlib
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import torch
import torchvision
from huggingface_hub import constants

from loaded_networks import failure_in_one_line
from relprop.models import ModelError, needs
from relprop.models.families import download, torch_cache


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache of downloads, and a network on which no name is known."""

    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("offline")
def test_needs():
    assert needs("digits-deep").startswith("nothing")
    assert needs("vgg16") == "a download of 528 MB, or --weights FILE"


@pytest.mark.usefixtures("offline")
def test_without_a_network_one_line_names_the_way_out():
    told = failure_in_one_line("vgg16", "download")
    assert "Name or service not known" in told
    assert "pass it with --weights FILE" in told


@pytest.mark.parametrize("name", ["vit_b_16", "fcn_resnet50", "timm:resnet18"])
def test_nothing_is_downloaded_unasked_and_no_server_is_asked(name, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a server was asked")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for way in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, way, refused)
    told = failure_in_one_line(name, None)
    assert told.startswith(f"{name}: its weights are not on this machine")
    assert "--weights download" in told
    assert not list(tmp_path.iterdir())


def test_no_room_for_a_download(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    assert "set TORCH_HOME" in failure_in_one_line("vgg16", "download")


@pytest.fixture
def server():
    """A web server on this machine; yields (its address, what it serves by path)."""
    served = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = served.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", served
        httpd.shutdown()
        thread.join()


def test_a_download_is_checked_and_kept(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    address, served = server
    content = bytes(3_000_000)
    path = f"/model-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    served[path] = content
    kept = download.fetch(address + path, "model")
    assert kept.read_bytes() == content
    assert kept.parent == tmp_path / "hub" / "checkpoints"  # where torchvision looks as well
    served.clear()
    assert download.fetch(address + path, "model") == kept
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]


def test_a_download_that_came_damaged_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    address, served = server
    served["/model-0123abcd.pth"] = b"other content"
    with pytest.raises(ModelError, match="came damaged"):
        download.fetch(f"{address}/model-0123abcd.pth", "model")
    with pytest.raises(ModelError, match="Not Found"):
        download.fetch(f"{address}/gone-0123abcd.pth", "model")
    assert not list(tmp_path.rglob("*.pth*"))


@pytest.mark.parametrize("settings", [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "~/b"}, {"HOME": "/c"}])
def test_where_weights_are_kept_is_known_without_torch(settings, monkeypatch):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    expected = torch_cache.cached("https://there/a.pth")
    assert str(expected.parent.parent) == torch.hub.get_dir()
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert torch_cache.cached("https://there/a.pth") == expected


def test_torchvisions_own_loading_agrees_on_where_weights_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    assert torch_cache.cached(entry.url) == tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"


def test_a_server_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(ModelError, match="timed out"):
            download.fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/model-0123abcd.pth", "model")
    assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None
    assert not list(tmp_path.rglob("*.pth*"))
