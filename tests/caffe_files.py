"""Caffe's files written by hand, byte by byte, and damaged: what its readers are tested with.

Run as a program, ``caffe_files.py FOLDER COUNT``, it gives the reader of each kind that many damaged files under a
limit of memory, each reader in a process of its own, and prints how many were read and refused.
"""

import json
import math
import random
import resource
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from forks import for_each
from relprop.models import ModelError
from relprop.models.files import caffe, caffe_description, caffe_weights

CONV, POOL, NORM, FULL = "Convolution", "Pooling", "LRN", "InnerProduct"
LOCAL = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}
OLD_NAMES = {CONV: "CONVOLUTION", POOL: "POOLING", NORM: "LRN", FULL: "INNER_PRODUCT", "ReLU": "RELU"}
OLD_NAMES |= {"Dropout": "DROPOUT", "Softmax": "SOFTMAX"}
OLD_NUMBERS = {CONV: 4, "Dropout": 6, FULL: 14, NORM: 15, POOL: 17, "ReLU": 18, "Softmax": 20}
SETTINGS = {CONV: "convolution", POOL: "pooling", NORM: "lrn", FULL: "inner_product"}
PLACES = {CONV: (106, 10), POOL: (121, 19), NORM: (118, 18), FULL: (117, 17)}  # in layers new and old
NUMBERS = {
    CONV: {"num_output": 1, "pad": 3, "kernel_size": 4, "group": 5, "stride": 6},
    POOL: {"pool": 1, "kernel_size": 2, "stride": 3},
    NORM: {"local_size": 1, "alpha": 2, "beta": 3, "k": 5},
    FULL: {"num_output": 1},
}
METHODS = {"MAX": 0, "AVE": 1}


def caffenet(classes=1000):
    """The reference network's layers, from its publication: name, type, settings."""
    pool = {"pool": "MAX", "kernel_size": 3, "stride": 2}
    third = {"pad": 1, "kernel_size": 3}
    return [
        ("conv1", CONV, {"num_output": 96, "kernel_size": 11, "stride": 4}),
        ("relu1", "ReLU", {}),
        ("pool1", POOL, pool),
        ("norm1", NORM, LOCAL),
        ("conv2", CONV, {"num_output": 256, "pad": 2, "kernel_size": 5, "group": 2}),
        ("relu2", "ReLU", {}),
        ("pool2", POOL, pool),
        ("norm2", NORM, LOCAL),
        ("conv3", CONV, {"num_output": 384} | third),
        ("relu3", "ReLU", {}),
        ("conv4", CONV, {"num_output": 384, "group": 2} | third),
        ("relu4", "ReLU", {}),
        ("conv5", CONV, {"num_output": 256, "group": 2} | third),
        ("relu5", "ReLU", {}),
        ("pool5", POOL, pool),
        *_head(classes),
    ]


def vgg16(classes=1000, widths=(64, 128, 256, 512, 512), hidden=4096):
    """VGG_ILSVRC_16_layers, likewise."""
    layers = []
    for block, (width, depth) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), 1):
        for n in range(1, depth + 1):
            layers += [(f"conv{block}_{n}", CONV, {"num_output": width, "pad": 1, "kernel_size": 3})]
            layers += [(f"relu{block}_{n}", "ReLU", {})]
        layers += [(f"pool{block}", POOL, {"pool": "MAX", "kernel_size": 2, "stride": 2})]
    return layers + _head(classes, hidden)


def _head(classes, hidden=4096):
    layers = []
    for n in (6, 7):
        layers += [(f"fc{n}", FULL, {"num_output": hidden}), (f"relu{n}", "ReLU", {}), (f"drop{n}", "Dropout", {})]
    return [*layers, ("fc8", FULL, {"num_output": classes}), ("prob", "Softmax", {})]


def wired(layers):
    """Add to each layer the blob it reads and the one it writes; ReLU and dropout work in place."""
    blob = "data"
    for name, kind, settings in layers:
        top = blob if kind in ("ReLU", "Dropout") else name
        yield name, kind, settings, blob, top
        blob = top


def prototxt(layers, old=False, side=227):
    """The network as a text, in Caffe's format of today or of 2014."""
    lines = ['name: "net"', 'input: "data"', *(f"input_dim: {n}" for n in (1, 3, side, side))]
    for name, kind, settings, bottom, top in wired(layers):
        typed = OLD_NAMES[kind] if old else f'"{kind}"'
        lines += [f"{'layers' if old else 'layer'} {{", f'  name: "{name}"  # of {len(layers)}', f"  type: {typed}"]
        lines += [f'  bottom: "{bottom}" top: "{top}"']
        told = " ".join(f"{key}: {value}" for key, value in settings.items())
        lines += [f"  {SETTINGS[kind]}_param {{ {told} }}"] if settings else []
        lines += ["}"]
    return "\n".join(lines) + "\n"


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """A field of a message, in protobuf's wire format."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, legacy=False, double=False, shape=None):
    """A BlobProto; `legacy`: with four sides instead of a shape."""
    shape = array.shape if shape is None else shape
    if legacy:
        sides = (1,) * (4 - len(shape)) + tuple(shape)
        said = b"".join(field(n, side) for n, side in enumerate(sides, 1))
    else:
        said = field(7, field(1, b"".join(varint(side) for side in shape)))
    return said + field(8 if double else 5, array.astype("<f8" if double else "<f4").tobytes())


def caffemodel(layers, weights, old=False, described=True, **blobs):
    """The network with its weights: {name: arrays}. Not `described`: names, types and weights alone."""
    out = [field(1, "net")]
    for name, kind, settings, bottom, top in wired(layers):
        number = NUMBERS.get(kind, {})
        said = b"".join(field(number[key], METHODS.get(value, value)) for key, value in settings.items())
        parts = [field(4, name), field(5, OLD_NUMBERS[kind])] if old else [field(1, name), field(2, kind)]
        if described:
            parts += [field(2 if old else 3, bottom), field(3 if old else 4, top)]
            parts += [field(PLACES[kind][old], said)] if settings else []
        parts += [field(6 if old else 7, blob(array, **{"legacy": old} | blobs)) for array in weights.get(name, ())]
        out += [field(2 if old else 100, b"".join(parts))]
    return b"".join(out)


def small_weights():
    """For every weighted layer of CaffeNet a few numbers, of no shape that fits."""
    rng = np.random.default_rng(0)
    return {
        name: [rng.normal(size=(2, 3)).astype("f4"), rng.normal(size=2).astype("f4")]
        for name, kind, _ in caffenet()
        if kind in (CONV, FULL)
    }


def damaged(data, count):
    """`count` damaged copies of `data`; the same each time."""
    rng = random.Random(0)
    for n in range(count):
        yield _DAMAGES[n % len(_DAMAGES)](bytearray(data), rng)


def _cut(data, rng):
    return data[: rng.randrange(len(data))]


def _flip(data, rng):
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _overwrite(data, rng):
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(1, 6)] = rng.randbytes(rng.randrange(1, 6))
    return data


def _insert(data, rng):
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randrange(1, 40))
    return data


def _double(data, rng):
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randrange(1, 200)]
    return data


def _drop(data, rng):
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 100)]
    return data


def _enlarge(data, rng):
    """A huge number where, among others, the lengths of fields and the sides of shapes stand."""
    at = rng.randrange(len(data))
    data[at : at + 1] = varint(rng.choice((1 << 28, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, -1)))
    return data


def _digits(data, rng):
    """A huge or negative number where a text has one."""
    at = [n for n, byte in enumerate(data) if chr(byte).isdigit()]
    n = rng.choice(at) if at else 0
    data[n : n + 1] = rng.choice((b"9" * 40, b"-1", b"1e999", b"0x7fffffffffffffff", b"nan", b"'a'", b"{", b"[1,2]"))
    return data


_DAMAGES = (_cut, _flip, _overwrite, _insert, _double, _drop, _enlarge, _digits)

SHAPES = (
    (-1, -6),
    (0, 6),
    (0,),
    (),
    (1 << 32, 1 << 32),
    (1 << 62, 4),
    ((1 << 63) - 1,) * 32,
    (1 << 20, 1 << 20, 0),
    (-(1 << 63),),
    (2,) * 33,
    (1,) * 100_000 + (6,),
    (2,) * 200_000,
    (1 << 40,),
)


def awkward_blobs():
    """Blobs whose shape is none, or is not what they hold."""
    six = np.arange(6, dtype="f4")
    packed = field(5, six.tobytes())
    yield from (blob(six, shape=shape) for shape in SHAPES)
    yield from (blob(six, shape=shape, legacy=True) for shape in SHAPES if len(shape) < 4)
    yield blob(np.full(6, np.nan, "f4"))
    yield blob(np.full(6, 1e300), double=True)
    yield packed  # no shape
    yield field(7, field(1, varint(6)))  # no numbers
    yield field(7, field(1, varint(6))) + b"".join(field(5, float(x)) for x in six)  # not packed
    yield field(7, field(1, varint(6))) + field(5, six.tobytes()[:-1])
    yield field(7, field(1, varint(12))) + packed + packed  # in two parts, which protobuf allows
    yield blob(six) + field(8, six.astype("f8").tobytes())
    yield blob(six) + field(1, 7)
    yield field(7, field(1, varint(6)) * 50_000) + packed
    yield blob(six) + field(5, b"") * 100_000


def awkward(kind):
    """Files made to be awkward to the reader of a kind."""
    if kind == "prototxt":
        return list(_awkward_texts())
    deep = b"\x0b" * 50_000  # a group in a group, and so on
    nested = b""
    for _ in range(5_000):
        nested = field(2, nested)
    either = [
        b"",
        b"\n",
        b"\x00",
        b"\xff" * 100,
        deep,
        nested,
        nested[:-1],
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ]
    if kind == "binaryproto":
        return [*either, *awkward_blobs()]
    old = kind == "old"
    number, name, blobs = (2, 4, 6) if old else (100, 1, 7)
    good = field(blobs, blob(np.arange(6, dtype="f4")))
    either += [field(number, field(name, "a") + field(blobs, one)) for one in awkward_blobs()]
    either += [field(number, field(name, word) + good) for word in ("", "a" * 100_000, "a\nb", "\0", b"\xff\xfe")]
    either += [field(number, b"") * 200_000, field(number, field(name, "a") + good) * 20_000]
    either += [b"".join(field(number, field(name, f"{n}") + good) for n in range(20_000))]
    either += [field(number, field(3, "a") * 200_000 + good), field(2, field(1, field(1, "a")))]
    return [*either, field(2, field(4, "a")) + field(100, field(1, "b") + good)]


def _awkward_texts():
    line = "layer { name: 'a' type: 'ReLU' bottom: 'b' top: 'b' }"
    yield from (
        b"",
        b"\n",
        b"\x00",
        b"\xff\xfe",
        b"{",
        b"}",
        b"#",
        b"'",
        b"layer",
        b"layer {" * 100_000,
        b"[" * 500_000,
    )
    for text in (
        "a {" * 50_000,
        "a <" * 50_000 + ">" * 50_000,
        "x: [" * 50_000,
        "x { y: [ { " * 20_000,
        "x: '" + "a" * 900_000,
        "x: '" + "\\" * 900_000,
        "name: " + "'a' " * 200_000,
        "layer { name: " + "'a' " * 200_000 + "}",
        "input_dim: " + "9" * 900_000,
        "x: " + "9" * 900_000,
        "x: " + "1" * 500_000 + "e" + "1" * 400_000,
        "x: " + "-" * 900_000,
        "#" * 900_000,
        " " * 900_000 + "x",
        "\n" * 900_000,
        "layer {" + "bottom: 'b' " * 80_000 + "}",
        "layer {} " * 100_000,
        line * 15_000,
        line + " " * (1 << 20),
        "input_dim: [" + "1," * 400_000,
        "layer { convolution_param { kernel_size: [" + "3," * 200_000 + "3] } }",
        "[type.googleapis.com/x] { a: 1 }",
        "[" + "a." * 400_000 + "a] { }",
        "layers { type: NOTHING }",
        "layers { type: 99 } layers { layer { name: 'a' } }",
        "layer { name: 'a' } layers { name: 'b' }",
        "layer { name: 'a' name: 'b' }",
        "layer { name: '\\xff' }",
        "layer { name: '\\n' }",
        "layer { blobs { data: 1.0 shape { dim: -1 } } }",
        "layer { blobs { shape { dim: 9223372036854775807 dim: 9223372036854775807 } } }",
        "layer { lrn_param { alpha: 1e999 } type: 'LRN' bottom: 'a' }",
        "solver_mode: GPU",
    ):
        yield text.encode()


def undamaged(kind):
    """A small file of a kind that its reader reads."""
    if kind == "binaryproto":
        image = np.random.default_rng(0).uniform(0, 255, (1, 3, 4, 4))
        return blob(image, legacy=True)
    if kind == "prototxt":
        return prototxt(caffenet()).encode() + b"layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc8' }"
    return caffemodel(caffenet(), small_weights(), old=kind == "old")


KINDS = ("new", "old", "prototxt", "binaryproto")
EXTRA = 1 << 31
"""Bytes that the readers may ask for beyond what the program holds before."""


def hammer(kind, folder, count):
    """Give the reader the awkward files and `count` damaged ones; what it does but read or refuse ends the program."""
    file = Path(folder) / "damaged"

    def read():
        if kind == "binaryproto":
            return [caffe.read_mean(file)]
        net = caffe.read_prototxt(file) if kind == "prototxt" else caffe.read_caffemodel(file)
        try:
            caffe_description.check(net, "caffenet", "damaged")
            caffe_weights.caffenet_state(net.weighted, "damaged")
        except ModelError as error:
            check_line(error)
        return [blob for layer in net.layers for blob in layer.blobs]

    def check_line(error):
        assert str(error).isprintable(), str(error)
        assert 20 < len(str(error).replace(str(file), "")) < 600, str(error)

    file.write_bytes(undamaged(kind))
    read()
    started, size = held("VmHWM"), held("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + EXTRA, size + EXTRA))
    outcomes = Counter()
    made = awkward(kind)
    for data in (*made, *damaged(undamaged(kind), count)):
        file.write_bytes(data)
        try:
            blobs = read()
        except ModelError as error:
            check_line(error)
            outcomes["refused"] += 1
        else:
            assert all(math.prod(t.shape) == t.numel() > 0 and t.isfinite().all() for t in blobs)
            outcomes["read"] += 1
    print(json.dumps({"kind": kind, "made": len(made)} | outcomes | {"grown_mib": (held("VmHWM") - started) >> 20}))


def held(what):
    """Bytes of memory that Linux counts for this program: VmSize, or VmHWM, the most that ever were in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


if __name__ == "__main__":
    for_each(KINDS, lambda kind: hammer(kind, sys.argv[1], int(sys.argv[2])))
