"""VGG from Keras' files: the same numbers and the same answers as Keras, and no harm from files made to do harm."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import keras_files as files
from relprop.models import ModelError, load
from relprop.models.files import checkpoints, hdf5_child, keras_weights, weight_files

LAYOUTS = [*files.NAMES, "whole", ".weights.h5"]


@pytest.fixture(scope="module")
def found():
    """Weights of the small VGG."""
    return files.weights(files.small())


@pytest.fixture
def file(tmp_path, found):
    """A file of the small VGG, as Keras 1 wrote it."""
    return files.write(tmp_path / "a.h5", found)


def failure(path, name="vgg16"):
    """The message of the error, which must be a single line."""
    with pytest.raises(ModelError) as caught:
        keras_weights.state(path, name)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    return str(caught.value)


def answer(state):
    """What the small VGG of torchvision answers to the picture."""
    model = files.torch_vgg()
    checkpoints.fit(model, state, "it", "vgg16")
    with torch.no_grad():
        return model(keras_weights.PREPROCESS(Image.fromarray(files.picture()))[None])[0].numpy()


def in_keras(path, folder):
    """Let Keras read a file of the whole VGG-16, and write what it writes and answers into a folder."""
    words = [sys.executable, files.__file__, path, folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


# The numbers


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(layout, tmp_path, found):
    state = keras_weights.state(files.write(tmp_path / "a.h5", found, layout), "vgg16")
    assert list(state) == [*files.torch_vgg().state_dict()]
    for path, layer in (
        ("features.0", "block1_conv1"),
        ("features.28", "block5_conv3"),
        ("classifier.6", "predictions"),
    ):
        kernel, bias = (torch.from_numpy(array) for array in found[layer])
        turned = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        assert torch.equal(state[f"{path}.weight"], turned)
        assert torch.equal(state[f"{path}.bias"], bias)


def test_the_first_linear_layer_takes_height_width_channel_in_the_order_of_torch(file, found):
    weight = keras_weights.state(file, "vgg16")["classifier.0.weight"]
    kernel = found["fc1"][0]
    for unit, channel, y, x in ((0, 0, 0, 0), (3, 4, 0, 2), (5, 1, 6, 3)):
        assert weight[unit, (channel * 7 + y) * 7 + x] == kernel[(y * 7 + x) * 5 + channel, unit]


def test_vgg19(tmp_path):
    found = files.weights(files.small(blocks=keras_weights.BLOCKS["vgg19"]))
    state = keras_weights.state(files.write(tmp_path / "a.h5", found), "vgg19")
    assert torch.equal(state["features.34.bias"], torch.from_numpy(found["block5_conv4"][1]))
    assert "unknown block3_conv4" in failure(tmp_path / "a.h5", "vgg16")


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4"])
def test_other_floats(dtype, tmp_path, found):
    state = keras_weights.state(files.write(tmp_path / "a.h5", found, dtype=dtype), "vgg16")
    assert state["classifier.6.bias"].dtype == torch.float32
    assert torch.equal(state["classifier.6.bias"], torch.from_numpy(found["predictions"][1].astype(dtype).astype("f4")))


def test_packed_weights(tmp_path, found):
    packed = files.write(tmp_path / "a.h5", found, chunks=True, compression="gzip", shuffle=True, fletcher32=True)
    state = keras_weights.state(packed, "vgg16")
    assert torch.equal(state["classifier.6.bias"], torch.from_numpy(found["predictions"][1]))


def test_preprocessing_is_that_of_keras_application():
    x = keras_weights.PREPROCESS(Image.new("RGB", (500, 300), (255, 0, 100)))
    assert x.shape == (3, 224, 224)
    assert x[:, 0, 0].tolist() == pytest.approx([100 - 103.939, 0 - 116.779, 255 - 123.68], abs=1e-4)


@pytest.mark.slow
def test_what_keras_writes_and_reads_answers_as_in_keras(tmp_path):
    """The small VGG in every layout, and VGG-16 in its true size; one test, as Keras takes long to start."""
    path = files.write(tmp_path / "vgg16.h5", files.weights(files.layers()))
    in_keras(path, tmp_path)
    expected = np.load(tmp_path / "logits.npy")
    for name in ("small.weights.h5", "whole.h5", "legacy.h5"):
        logits = answer(keras_weights.state(tmp_path / name, "vgg16"))
        assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
    with pytest.raises(ModelError, match=r"small.keras: a .keras archive; save the weights alone"):
        weight_files.open_weights(tmp_path / "small.keras", "vgg16")
    expected = np.load(tmp_path / "whole.npy")
    model = load("vgg16", path)
    path.unlink()  # 553 MB
    with torch.no_grad():
        logits = model(model.preprocess(Image.fromarray(files.picture()))[None])[0].numpy()
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
    assert model.preprocess == keras_weights.PREPROCESS
    assert model.classes[207] == "golden retriever"


# Other files


def test_other_networks(file, tmp_path, found):
    assert "read for vgg16 and vgg19 alone, not for resnet50" in failure(file, "resnet50")
    with pytest.raises(ModelError, match="alone, not for digits-deep"):
        load("digits-deep", file)
    with pytest.raises(ModelError, match=r"does not fit vgg16 .*features.0.weight 2x3x3x3 for 64x3x3x3"):
        load("vgg16", file)
    without = {name: arrays for name, arrays in found.items() if name not in ("fc1", "fc2", "predictions")}
    assert "no fc1, fc2, predictions); a file without its top" in failure(files.write(tmp_path / "b.h5", without))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"block1_conv1": None}, "no block1_conv1"),
        ({"conv\x1b[2J": 0}, r"unknown conv\x1b[2J"),
        ({"block1_conv1": np.zeros((2, 3, 3, 3))}, "Theano"),
        ({"block1_conv1": np.zeros((3, 3, 3))}, "shape [3, 3, 3]"),
        ({"fc1": np.zeros((244, 6))}, "the kernel of fc1 has shape [244, 6]"),
        ({"fc2": np.zeros((6, 6, 1))}, "the kernel of fc2 has shape [6, 6, 1]"),
        ({"fc2": np.zeros(6)}, "the kernel of fc2 has shape [6]"),
    ],
)
def test_layers_that_do_not_fit(changed, told, tmp_path, found):
    ((layer, kernel),) = changed.items()
    arrays = (
        {None: None, 0: found["fc2"]}.get(kernel) if not isinstance(kernel, np.ndarray) else (kernel, found[layer][1])
    )
    assert told in failure(files.write(tmp_path / "a.h5", found | {layer: arrays}))


def edited(file, edit):
    with h5py.File(file, "r+") as opened:
        edit(opened)
    return file


def replaced(group, name, **said):
    del group[name]
    return group.create_dataset(name, **said)


FC2 = "fc2/fc2_W_1:0"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda f: f.attrs.__delitem__("layer_names"), "without Keras' layer_names"),
        (lambda f: f.attrs.__setitem__("layer_names", 3), "is no list of names"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"x" * 1000]), "is no list of names"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"fc1", b"/fc2"]), "/fc2: named, but not there"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"gone"]), "gone: named, but not there"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"fc1", b"fc1"]), "fc1 has a kernel twice"),
        (lambda f: f.attrs.__setitem__("layer_names", ["\x1b[31m"]), r"\x1b[31m: named, but not there"),
        (lambda f: f["fc2"].attrs.__delitem__("weight_names"), "no attribute weight_names"),
        (lambda f: f["fc2"].attrs.__setitem__("weight_names", [b"fc2_W_1:0"]), "must have a kernel and a bias"),
        (lambda f: f["fc2"].move("fc2_W_1:0", "gamma:0"), "fc2_W_1:0: named, but not there"),
        (lambda f: (f["fc2"].move("fc2_W_1:0", "gamma:0"), name(f, b"gamma:0")), "holds gamma:0, which is neither"),
        (lambda f: name(f, b"fc2_b_1:0"), "fc2 has a bias twice"),
        (lambda f: replaced(f, FC2, shape=(6, 6), dtype="i4"), "of type int32"),
        (lambda f: replaced(f, FC2, data=np.array(["a", "b"], "S1")), r"of type |S1"),
        (lambda f: replaced(f, FC2, shape=(), dtype="f4"), "of shape []"),
        (lambda f: replaced(f, FC2, shape=(0, 6), dtype="f4"), "of shape [0, 6]"),
        (lambda f: replaced(f, FC2, data=h5py.Empty("f4")), "damaged"),
        (lambda f: replaced(f, FC2, shape=(1,), dtype=h5py.ref_dtype), "of type object"),
        (lambda f: replaced(f, FC2, shape=(6, 6), dtype="f4", compression="lzf"), "a filter other than deflate"),
        (lambda f: replaced(f, FC2, shape=(1 << 14, 1 << 13), dtype="f4"), "bytes of weights, which is refused"),
        (lambda f: replaced(f, FC2, shape=(1 << 40, 6), dtype="f4"), "bytes of weights, which is refused"),
        (lambda f: replaced(f, FC2, shape=(6, 1 << 40), dtype="f4"), "as no weight is"),
        (lambda f: replaced(f, FC2, shape=(1 << 30, 6), chunks=(1 << 28, 1), dtype="f4"), "as no weight is"),
        (
            lambda f: replaced(f, FC2, data=np.zeros((1 << 22, 6), "f4"), chunks=(1 << 16, 6), compression="gzip"),
            "bytes of weights, which is refused",
        ),
    ],
)
def test_files_that_are_none_of_keras(edit, told, file):
    assert told in failure(edited(file, edit))


def name(file, weight):
    file["fc2"].attrs["weight_names"] = [weight, b"fc2_b_1:0"]


def test_files_that_point_elsewhere(file, tmp_path, found):
    """A weight that lies in another file of this machine is never read, however the file points to it."""
    other = files.write(tmp_path / "other.h5", found)
    (tmp_path / "raw").write_bytes(bytes(144))

    def virtual(f):
        layout = h5py.VirtualLayout((6, 6), "f4")
        layout[:] = h5py.VirtualSource(str(other), FC2, (6, 6))
        del f[FC2]
        f.create_virtual_dataset(FC2, layout)

    pointers = {
        "a link to elsewhere": lambda f: f.__setitem__(FC2, h5py.ExternalLink(str(other), FC2)),
        "fc2_W_1:0: a link": lambda f: f.__setitem__(FC2, h5py.SoftLink("/fc1/fc1_W_1:0")),
        "in another file": lambda f: f.create_dataset(FC2, (6, 6), "f4", external=str(tmp_path / "raw")),
    }
    for told, point in pointers.items():
        assert told in failure(edited(file, lambda f, point=point: (f.pop(FC2), point(f))))
    assert "in another file" in failure(edited(file, virtual))


def test_a_keras_3_file_that_does_not_name_its_layers(tmp_path, found):
    path = files.write(tmp_path / "a.h5", found, ".weights.h5")
    assert "does not name its layers" in failure(edited(path, lambda f: f["layers/dense/vars"].attrs.clear()))
    assert "fc1 holds 2, which is neither" in failure(
        edited(
            path,
            lambda f: (
                f["layers/dense/vars"].attrs.__setitem__("name", "fc1"),
                f.move("layers/dense/vars/0", "layers/dense/vars/2"),
            ),
        )
    )


def test_files_cut_short(file):
    content = file.read_bytes()
    for share in (0.0001, 0.01, 0.5, 0.99):
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ModelError, match=r"a\.h5: "):
            weight_files.open_weights(file, "vgg16")


# The process that reads


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os; os.abort()", "HDF5's library fails on it"),
        ("import os, sys; sys.stdout.buffer.write(b'{'); os.abort()", "HDF5's library fails on it"),
        ('print(\'{"weights": [["fc1", "kernel", [1000]]]}\')', "HDF5's library fails on it"),
        ("import time; time.sleep(60)", "not read after 1 seconds"),
        ("while True: print(end='')", "not read after 1 seconds"),
    ],
)
def test_a_reader_that_crashes_lies_or_hangs(program, told, file, tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(hdf5_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(keras_weights, "PATIENCE", 1)
    assert told in failure(file)


HARM = """
import importlib.util, linecache, socket, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child._confine(9)
child._close_doors()
for harm in sys.argv[2:]:
    try:
        exec(harm)
    except Exception as error:
        print(type(error).__name__, error, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux'")
def test_the_reader_has_nothing_to_do_harm_with(tmp_path):
    closed = ["open('/etc/hostname')", "open('trace', 'w')", "socket.socket()"]
    harms = ["bytearray(3 << 30)", *closed, "open(1, 'wb', 0, closefd=False).write(b'x')"]
    with (tmp_path / "out").open("wb") as out:
        words = [sys.executable, "-c", HARM, hdf5_child.__file__, *harms]
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    told = done.stderr.splitlines()
    assert [line.split()[0] for line in told] == ["MemoryError", "OSError", "OSError", "OSError", "OSError"]
    assert all("Too many open files" in line for line in told[1:4])
    assert "File too large" in told[4]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_reader_sees_nothing_of_the_folder_it_is_started_in(file, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("open('trace', 'w')")
    (tmp_path / "h5py.py").write_text("open('trace', 'w')")
    monkeypatch.chdir(tmp_path)
    keras_weights.state(Path("a.h5"), "vgg16")
    assert not (tmp_path / "trace").exists()
