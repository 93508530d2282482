"""Networks by name, and weight files whole, wrapped, broken, dangerous and of another network."""

import hashlib
import pickle
import pkgutil
import socket
import subprocess
import sys
import time
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

import relprop as rp
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load, names, needs, registry
from relprop.models.classes import ClassError, class_index
from relprop.models.families import download, embedded, library_names, torch_cache, torchvision_zoo
from relprop.models.files import checkpoints
from relprop.models.networks import digits

REAL = Path(__file__).parents[2] / "shared" / "real" / "squeezenet1_0_imagenet.safetensors"


@pytest.fixture(scope="module")
def state():
    """The weights of a small network, as a user would have saved them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return torchvision.models.get_model("squeezenet1_1").state_dict()


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache of downloads, and a network on which no name is known."""

    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def same(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def test_names_are_the_embedded_ones_and_torchvisions():
    assert names()[:2] == ["digits-shallow", "digits-deep"]
    assert {"alexnet", "vgg16", "resnet50", "vit_b_16", "squeezenet1_0"} < set(names())
    assert not {"fcn_resnet50", "r3d_18"} & set(names())  # not classifiers of pictures


def test_names_of_torchvision_and_what_it_publishes_are_found_without_importing_it():
    models = torchvision.models
    found = library_names.torchvision()
    assert list(found) == models.list_models(module=models)
    for name, published in found.items():
        entry = models.get_model_weights(name).DEFAULT
        assert (published.url, published.megabytes) == (entry.url, entry.meta["_file_size"])


def test_the_digits_are_listed_by_their_names():
    assert tuple(registry.FAMILIES[0].names()) == digits.NAMES


def test_every_family_has_its_loader_where_the_table_says():
    for family in registry.FAMILIES:
        assert callable(pkgutil.resolve_name(family.loader))


LIGHT = """
import sys
import relprop.models
relprop.models.names(), relprop.models.needs("vgg16")
heavy = {"torch", "torchvision", "timm", "numpy"} & set(sys.modules)
print(sorted(heavy))
"""


def test_a_list_of_names_imports_neither_torch_nor_torchvision():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert rp.models.Preprocess is Preprocess


@pytest.mark.usefixtures("offline")
def test_needs():
    assert needs("digits-deep").startswith("nothing")
    assert needs("vgg16") == "a download of 528 MB, or --weights FILE"


def test_an_embedded_network_is_ready_to_use():
    model = load("digits-shallow")
    assert not model.training
    assert model.classes == digits.CLASSES
    x = model.preprocess(Image.new("RGB", (100, 70), "white"))
    assert x.shape == (3, 64, 64)
    assert torch.allclose(x[:, 0, 0], torch.tensor(model.preprocess.bounds[1]))
    assert model(x[None]).shape == (1, 10)


def test_what_is_attached_is_no_part_of_the_network():
    assert load("digits-shallow").state_dict().keys() == embedded.trained("digits-shallow").state_dict().keys()


def test_a_wrong_name_suggests_the_near_one():
    with pytest.raises(ModelError, match=r"no model 'squezenet1_0'; did you mean squeezenet1_0"):
        load("squezenet1_0")
    with pytest.raises(ModelError, match="relprop models lists them"):
        load("qqqqqq")


def test_random_weights_are_the_same_each_time_and_draw_no_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = load("squeezenet1_1", "random"), load("squeezenet1_1", "random")
    assert torch.equal(torch.rand(3), expected)
    assert same(first, second.state_dict())
    assert not first.training
    assert first.classes[207] == "golden retriever"
    assert first.preprocess.crop == 224


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_networks_that_warn_about_their_initialisation_do_not(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(name, "random").transform_input  # as their published weights want it


@pytest.mark.parametrize("kind", ["safetensors", "torch", "legacy", "wrapped", "parallel", "half"])
def test_a_local_file(kind, state, tmp_path):
    file = tmp_path / "weights.bin"  # told apart by content, not by name
    if kind == "safetensors":
        save_file(state, file)
    elif kind == "wrapped":
        torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, file)
    elif kind == "parallel":
        torch.save({f"module.{key}": value for key, value in state.items()}, file)
    elif kind == "half":
        state = {key: value.half() for key, value in state.items()}
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "torch")
    assert same(load("squeezenet1_1", file), {key: value.float() for key, value in state.items()})


@pytest.mark.skipif(not REAL.exists(), reason="no shared/real beside the repository: no real weights")
def test_the_real_squeezenet():
    model = load("squeezenet1_0", REAL)
    otter = REAL.parent / "imagenet_samples" / "n02444819_otter.JPEG"
    logits = model(model.preprocess(Image.open(otter))[None])
    assert model.classes[logits.argmax()] == "otter"


def test_a_file_with_other_classes_makes_a_network_with_as_many(tmp_path):
    with torch.random.fork_rng(devices=[]):
        save_file(torchvision.models.get_model("squeezenet1_1", num_classes=7).state_dict(), tmp_path / "a")
    model = load("squeezenet1_1", tmp_path / "a")
    assert model.classes == tuple(f"class {index}" for index in range(7))
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 7)


def test_an_embedded_network_with_a_local_file(tmp_path):
    state = {key: value + 1 for key, value in digits.architecture("digits-shallow").state_dict().items()}
    save_file(state, tmp_path / "a")
    assert same(load("digits-shallow", tmp_path / "a"), state)


def renamed(state, renames):
    """The state with parts of its keys replaced and torch's notes on versions brought to version 1."""
    old = type(state)()
    for key, value in state.items():
        for new_part, old_part in renames.items():
            key = key.replace(new_part, old_part)  # noqa: PLW2901 - one rename after the other
        old[key] = value
    old._metadata = {path: {"version": 1} for path in state._metadata}
    return old


def test_published_files_of_an_older_layout_that_torch_translates(tmp_path):
    model = torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(renamed(model.state_dict(), {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."}), tmp_path / "a")
    checkpoints.fit(model, checkpoints.read(tmp_path / "a"), "a", "vit")
    assert same(model, state)


def test_published_files_of_an_older_layout_that_we_translate(tmp_path):
    model = torchvision.models.DenseNet(4, (1, 1), 4, num_classes=5)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    dotted = renamed(model.state_dict(), {f"{part}{n}.": f"{part}.{n}." for part in ("norm", "conv") for n in (1, 2)})
    published = {key: value for key, value in dotted.items() if "num_batches" not in key}
    torch.save(published, tmp_path / "a")
    checkpoints.fit(model, torchvision_zoo._translated(checkpoints.read(tmp_path / "a")), "a", "densenet")
    assert same(model, state)


def test_a_file_of_mnasnet_without_notes_is_of_the_present_layout(tmp_path):
    with torch.random.fork_rng(devices=[]):
        state = torchvision.models.get_model("mnasnet0_5").state_dict()
    save_file(state, tmp_path / "a")
    assert same(load("mnasnet0_5", tmp_path / "a"), state)


def test_auxiliary_classifiers_in_a_file_are_left_out(tmp_path):
    with torch.random.fork_rng(devices=[]):
        state = torchvision.models.get_model("googlenet", init_weights=False).state_dict()
    assert any(key.startswith("aux1.") for key in state)
    torch.save(state, tmp_path / "a")
    load("googlenet", tmp_path / "a")


def failure(name, weights):
    """The message of the error, which must be a single line."""
    with pytest.raises(ModelError) as caught:
        load(name, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_weight_files(tmp_path, state):
    save_file(state, tmp_path / "squeeze.safetensors")
    assert "did you mean squeeze.safetensors?" in failure("squeezenet1_1", tmp_path / "sqeeze.safetensors")
    assert "did you mean IMAGENET1K_V1?" in failure("squeezenet1_1", "IMAGENET1K_V7")
    assert "did you mean random?" in failure("digits-deep", "rndom")
    assert "a folder" in failure("squeezenet1_1", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["safetensors", "torch", "legacy"])
def test_truncated_weight_files(kind, share, tmp_path, state):
    file = tmp_path / "a"
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "torch")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert str(file) in failure("squeezenet1_1", file)


def test_damaged_weight_file(tmp_path, state):
    torch.save(state, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    content[30:400] = bytes(370)
    (tmp_path / "a").write_bytes(content)
    assert "damaged" in failure("squeezenet1_1", tmp_path / "a")


def test_a_web_page_is_no_weight_file(tmp_path):
    (tmp_path / "a.pth").write_text("<!DOCTYPE html><title>404</title>")
    assert "no weight file of a known format" in failure("squeezenet1_1", tmp_path / "a.pth")


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return open, (self.trace, "w")


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle"])
def test_code_in_a_weight_file_is_not_executed(kind, tmp_path):
    bomb, trace = {"features.0.weight": Bomb(tmp_path / "trace")}, tmp_path / "trace"
    if kind == "pickle":
        (tmp_path / "a").write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, tmp_path / "a", _use_new_zipfile_serialization=kind == "torch")
    failure("squeezenet1_1", tmp_path / "a")
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "a")
    assert "save model.state_dict() instead" in failure("squeezenet1_1", tmp_path / "a")


def test_a_torchscript_archive_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about torch.jit
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "a")
    assert "a TorchScript archive, which holds code" in failure("squeezenet1_1", tmp_path / "a")


def test_no_state_dict(tmp_path):
    torch.save([1, 2, 3], tmp_path / "a")
    assert "holds no state dict" in failure("squeezenet1_1", tmp_path / "a")
    torch.save({"epoch": 3}, tmp_path / "a")
    assert "holds no state dict" in failure("squeezenet1_1", tmp_path / "a")


def test_weights_of_another_network_name_the_first_keys(tmp_path, state):
    save_file(state, tmp_path / "a")
    told = failure("resnet18", tmp_path / "a")
    assert "does not fit resnet18 (missing: conv1.weight, bn1.weight, bn1.bias, ... (102 in all)" in told
    assert "unexpected: " in told
    told = failure("squeezenet1_0", tmp_path / "a")
    assert "of another shape: features.0.weight 64x3x3x3 for 96x3x7x7" in told


@pytest.mark.usefixtures("offline")
def test_without_a_network_one_line_names_the_way_out():
    told = failure("vgg16", None)
    assert "Name or service not known" in told
    assert "pass it with --weights FILE" in told


def test_no_room_for_a_download(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    assert "set TORCH_HOME" in failure("vgg16", None)


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


def test_published_weights_come_from_the_cache(state, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    torch_cache.cached(entry.url).parent.mkdir(parents=True)
    torch.save(state, torch_cache.cached(entry.url))
    assert same(load("squeezenet1_1"), state)
    assert same(load("squeezenet1_1", "IMAGENET1K_V1"), state)
    assert needs("squeezenet1_1").startswith("nothing")


def test_every_network_of_torchvision_has_preprocessing_and_classes():
    for name in library_names.torchvision():
        entry = torchvision_zoo._published(name)["DEFAULT"]
        assert len(entry.meta["categories"]) == 1000
        low, high = torchvision_zoo._preprocess(entry).bounds
        assert all(low[c] < 0 < high[c] for c in range(3))


def test_classes_by_index_and_by_name():
    classes = ("tench", "Staffordshire bullterrier", "space-bar", "crane", "crane")
    assert class_index("2", classes) == 2
    assert class_index("staffordshire_Bullterrier", classes) == 1
    assert class_index("space bar", classes) == 2
    with pytest.raises(ClassError, match=r"no class 'tensh' in this network; did you mean tench\?"):
        class_index("tensh", classes)
    with pytest.raises(ClassError, match=r"did you mean Staffordshire bullterrier\?"):
        class_index("bullterrier", classes)
    with pytest.raises(ClassError, match="no class 5 in this network; its classes are 0 to 4"):
        class_index("5", classes)
    with pytest.raises(ClassError, match="name of 3 and 4: give the index"):
        class_index("crane", classes)
    with pytest.raises(ClassError, match="; choose from tench, Staff"):
        class_index("zzz", classes)
    with pytest.raises(ClassError, match="name one like 'class 0', or give its index"):
        class_index("zzz", [f"class {index}" for index in range(100)])


def test_prefixes_and_wrappers_are_read_through():
    weight = {"a.weight": torch.zeros(2)}
    assert checkpoints._unwrapped({"model": {"state_dict": weight}}, Path("f")) == weight
    assert checkpoints._unprefixed({"module.model.a.weight": weight["a.weight"]}) == weight
    assert checkpoints._unprefixed({"model.a": torch.zeros(1), "b": torch.zeros(1)}).keys() == {
        "model.a",
        "b",
    }
