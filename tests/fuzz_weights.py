"""Weight files damaged at random, and what becomes of them: read or refused, never anything else.

Run as a program, ``fuzz_weights.py FOLDER COUNT`` gives the reader of each kind that many damaged files under a limit
of memory and time, each in a process of its own, and prints how many were read and how many refused. A reader stops at
the first file that raises anything but a `ModelError`, takes long, or executes code.
"""

import faulthandler
import json
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
from collections import Counter, OrderedDict
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import keras_files
from forks import for_each
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError
from relprop.models.files import cards, checkpoints, hdf5_child, keras_weights, weight_files
from relprop.models.files.cards import Card, Check, Origin

KINDS = ("h5", "weights.h5", "safetensors", "torch", "legacy")
EXTRA = 2 << 30
"""Bytes of address space beyond what the process has when it begins."""
SECONDS = 20
"""For one file."""
TRACE = "trace"
"""The file that code in a weight file would leave."""


class Bomb:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return open, (TRACE, "w")


class Hiding:
    """Unpickled it is a state dict whose own methods cannot be called."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return OrderedDict, ([*self.state.items()],), dict.fromkeys(("items", "values", "get", "keys", "pop"), 3)


def tiny():
    """A network of a few hundred parameters, with BatchNorm's counters among them."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5)).eval()


@cache
def filled(kind):
    """The network that files of a kind are read into, one after the other."""
    return keras_files.torch_vgg() if kind.endswith("h5") else tiny()


def card():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    ones = (1.0, 1.0, 1.0)
    preprocess = Preprocess(8, (8, 9), (104.0, 117.0, 123.0), ones, channels="BGR", scale=255.0, mean_image=image)
    check = Check("ramps", "0" * 64, ((3, 2.5), (0, -1.0)))
    return Card("tiny", tuple("abcde"), preprocess, Origin("a.caffemodel", "1" * 64, "caffe"), check, "0.1.0")


def whole(kind, path):
    """Write a file with nothing wrong."""
    state = tiny().state_dict()
    if kind == "h5":
        keras_files.write(path, keras_files.weights(keras_files.small()))
    elif kind == "weights.h5":
        keras_files.write(path, keras_files.weights(keras_files.small()), ".weights.h5")
    elif kind == "safetensors":
        texts, tensors = cards.write(card())
        save_file(state | tensors, path, metadata=texts)
    else:
        torch.save({"epoch": 3, "state_dict": state}, path, _use_new_zipfile_serialization=kind == "torch")


def read(kind, path):
    """Read a file as `relprop.models.load` does, into a network."""
    name = "vgg16" if kind.endswith("h5") else "tiny"
    network = filled(kind)
    found = weight_files.weights_for(name, path)
    checkpoints.fit(network, found.state, found.source, name)
    found.names(checkpoints.classes_in(found.state, network), ())
    if found.preprocess is not None:
        assert found.preprocess.bounds
    return found


# Damage


def damaged(data, rng):
    """One to three kinds of damage; half of it near the beginning, where headers are."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 2048))
        data = rng.choice(DAMAGES)(data, at, rng) or bytearray(b"\0")
    return bytes(data)


def flip(data, at, rng):
    data[at] ^= 1 << rng.randrange(8)
    return data


def overwrite(data, at, rng):
    data[at : at + 8] = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(8), b"\x7f" + b"\xff" * 7, b"99999999"))
    return data


def number(data, at, rng):
    """A length or an address becomes another, often a huge one."""
    value = rng.choice((0, 1, 255, 1 << 16, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1))
    size = rng.choice((1, 2, 4, 8))
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    return data


def cut(data, at, rng):
    return data[:at]


def drop(data, at, rng):
    del data[at : at + rng.randrange(1, 64)]
    return data


def double(data, at, rng):
    data[at:at] = data[at : at + rng.randrange(1, 256)]
    return data


def insert(data, at, rng):
    data[at:at] = rng.choice(AWKWARD)
    return data


def swap(data, at, rng):
    """Two stretches change places."""
    other, length = rng.randrange(len(data)), rng.randrange(1, 32)
    data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    return data


AWKWARD = (
    b'{"relprop":' * 50,
    b"[" * 5000,
    b"NaN",
    b"1e999",
    b"-1",
    b'"',
    b"cposix\nsystem\n(S'touch trace'\ntR.",
    b'cbuiltins\neval\n(S\'open("trace", "w")\'\ntR',
    pickle.dumps(Bomb(), protocol=2)[2:],
    b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"}q\x00h\x00s",
    b"\x00" * 64,
)
DAMAGES = (flip, flip, overwrite, number, cut, drop, double, insert, swap)


# Files made on purpose


def made(kind, folder):
    """Files that no accident makes, each of which must be refused; those called "fine" must not."""
    if kind not in ("torch", "legacy"):
        return
    state = tiny().state_dict()
    itself = {}
    itself["state_dict"] = itself
    noted = OrderedDict(state)
    noted._metadata = {"": 3, "0": {"version": "x"}, "1": {"version": 2}, 4: 5}
    hidden = nn.Parameter(torch.zeros(5))
    hidden.is_floating_point = 3
    odd = {
        "code": state | {"0.weight": Bomb()},
        "far too large": state | {"4.bias": torch.zeros(1).expand(1 << 40)},
        "sparse": state | {"0.weight": torch.zeros(4, 3, 3, 3).to_sparse()},
        "complex": state | {"0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.complex64)},
        "whole numbers": state | {"0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.int64)},
        "quantised": state | {"4.bias": torch.quantize_per_tensor(torch.zeros(5), 0.1, 0, torch.qint8)},
        "nowhere": state | {"4.bias": torch.zeros(5, device="meta")},
        "a number for a name": {3: torch.zeros(5)},
        "itself": itself,
        "a list": [state],
        "fine notes": noted,
        "fine mapping": Hiding(state),
        "fine tensor": state | {"4.bias": hidden},
    }
    for name, content in odd.items():
        torch.save(content, folder / name, _use_new_zipfile_serialization=kind == "torch")
        yield folder / name


SERVER = """
import importlib.util, os, sys
import h5py, numpy
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
for line in sys.stdin:
    path, seconds = line.rstrip("\\n").rsplit(" ", 1)
    pid = os.fork()
    if pid == 0:
        try:
            child.main(path, int(seconds), open(sys.argv[2], "wb"))
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Reads files as `hdf5_child` does when it is started for each, but starts h5py only once; a fork reads each file."""


class Server:
    """Stands for `keras_weights._start`; what it gives, for the child."""

    def __init__(self, folder):
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        words = [sys.executable, "-c", SERVER, hdf5_child.__file__, str(self.pipe)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, path, seconds):
        self.process.stdin.write(f"{path} {seconds}\n")
        self.pid, self.code = int(self.process.stdout.readline()), None
        self.stdout = self.pipe.open("rb")
        return self

    def kill(self):
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        if self.code is None:
            self.code = int(self.process.stdout.readline())
            outcomes["crashed"] += self.code < 0 and self.code != -signal.SIGKILL
        return self.code


outcomes = Counter()


def hammer(kind, folder, count):
    """Give the reader `count` damaged files, and those that are damaged with intent."""
    path = folder / "a"
    whole(kind, path)
    read(kind, path)
    data, rng = path.read_bytes(), random.Random(0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA, used + EXTRA))
    for made_path in made(kind, folder):
        outcomes["made"] += 1
        outcome = "read" if made_path.name.startswith("fine") else "refused"
        before = outcomes[outcome]
        attempt(kind, made_path)
        assert outcomes[outcome] == before + 1, made_path
    for _ in range(count):
        path.write_bytes(damaged(data, rng))
        attempt(kind, path)


def work(kind, folder, count):
    """All that is done to one reader, and what is printed of it."""
    folder.mkdir()
    os.chdir(folder)
    if kind.endswith("h5"):
        keras_weights._start, keras_weights.PATIENCE = Server(folder), 5
    hammer(kind, folder, count)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps({"kind": kind} | outcomes | {"peak_mib": int(peak[1]) // 1024}))


def attempt(kind, path):
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        read(kind, path)
        outcomes["read"] += 1
    except ModelError as error:
        told = str(error)
        assert told.isprintable(), ascii(told)
        assert len(told) < 700, told
        outcomes["refused"] += 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert not Path(TRACE).exists(), "code was executed"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for_each(KINDS, lambda kind: work(kind, Path(sys.argv[1]) / kind, int(sys.argv[2])))
