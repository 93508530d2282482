"""Weight files whole, from the cache, wrapped, of older layouts, broken, dangerous and of another network."""

import pickle
import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from loaded_networks import failure_in_one_line, same
from relprop.models import load, needs
from relprop.models.families import torch_cache, torchvision_zoo
from relprop.models.files import checkpoints
from relprop.models.networks import digits

REAL = Path(__file__).parents[2] / "shared" / "real" / "squeezenet1_0_imagenet.safetensors"


@pytest.fixture(scope="module")
def state():
    """The weights of a small network, as a user would have saved them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return torchvision.models.get_model("squeezenet1_1").state_dict()


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


def test_missing_weight_files(tmp_path, state):
    save_file(state, tmp_path / "squeeze.safetensors")
    assert "did you mean squeeze.safetensors?" in failure_in_one_line("squeezenet1_1", tmp_path / "sqeeze.safetensors")
    assert "did you mean IMAGENET1K_V1?" in failure_in_one_line("squeezenet1_1", "IMAGENET1K_V7")
    assert "did you mean random?" in failure_in_one_line("digits-deep", "rndom")
    assert "a folder" in failure_in_one_line("squeezenet1_1", tmp_path)


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
    assert str(file) in failure_in_one_line("squeezenet1_1", file)


def test_damaged_weight_file(tmp_path, state):
    torch.save(state, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    content[30:400] = bytes(370)
    (tmp_path / "a").write_bytes(content)
    assert "damaged" in failure_in_one_line("squeezenet1_1", tmp_path / "a")


def test_a_web_page_is_no_weight_file(tmp_path):
    (tmp_path / "a.pth").write_text("<!DOCTYPE html><title>404</title>")
    assert "a web page, not a weight file" in failure_in_one_line("squeezenet1_1", tmp_path / "a.pth")


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
    failure_in_one_line("squeezenet1_1", tmp_path / "a")
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "a")
    assert "save model.state_dict() instead" in failure_in_one_line("squeezenet1_1", tmp_path / "a")


def test_a_torchscript_archive_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about torch.jit
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "a")
    assert "a TorchScript archive, which holds code" in failure_in_one_line("squeezenet1_1", tmp_path / "a")


def test_no_state_dict(tmp_path):
    torch.save([1, 2, 3], tmp_path / "a")
    assert "holds no state dict" in failure_in_one_line("squeezenet1_1", tmp_path / "a")
    torch.save({"epoch": 3}, tmp_path / "a")
    assert "holds no state dict" in failure_in_one_line("squeezenet1_1", tmp_path / "a")


def test_weights_of_another_network_name_the_first_keys(tmp_path, state):
    save_file(state, tmp_path / "a")
    told = failure_in_one_line("resnet18", tmp_path / "a")
    assert "does not fit resnet18 (missing: conv1.weight, bn1.weight, bn1.bias, ... (102 in all)" in told
    assert "unexpected: " in told
    told = failure_in_one_line("squeezenet1_0", tmp_path / "a")
    assert "of another shape: features.0.weight 64x3x3x3 for 96x3x7x7" in told


def test_published_weights_come_from_the_cache(state, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    torch_cache.cached(entry.url).parent.mkdir(parents=True)
    torch.save(state, torch_cache.cached(entry.url))
    assert same(load("squeezenet1_1"), state)
    assert same(load("squeezenet1_1", "IMAGENET1K_V1"), state)
    assert needs("squeezenet1_1").startswith("nothing")


def test_prefixes_and_wrappers_are_read_through():
    weight = {"a.weight": torch.zeros(2)}
    assert checkpoints._unwrapped({"model": {"state_dict": weight}}, Path("f")) == weight
    assert checkpoints._unprefixed({"module.model.a.weight": weight["a.weight"]}) == weight
    assert checkpoints._unprefixed({"model.a": torch.zeros(1), "b": torch.zeros(1)}).keys() == {
        "model.a",
        "b",
    }
