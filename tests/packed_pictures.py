"""The same pictures with the same boxes in a folder, tar shards, Parquet and elsewhere; and a small network."""

import io
import json
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet
from torch import nn

from annotated_pictures import one, write, xml
from relprop.data.preprocess import Preprocess

BOXES = {  # half-open, by picture and class; ids are those of a folder
    "a.png": [("six", (1, 1, 12, 14)), ("two", (15, 15, 24, 24))],
    "b.png": [("two", (0, 2, 9, 20)), ("two", (10, 2, 20, 20))],
    "c.png": [("six", (4, 4, 20, 20))],
    "in/a.png": [("six", (2, 3, 8, 9))],
    "in/d.png": [("two", (5, 5, 10, 22))],
}
BROKEN = "c.png"


def drawn(seed, side=24):
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


FILES = {name: drawn(k) if name != BROKEN else drawn(k)[:300] for k, name in enumerate(BOXES)}


def objects(name):
    """As Hugging Face has them."""
    found = BOXES[name]
    bbox = [[x0, y0, x1 - x0, y1 - y0] for _, (x0, y0, x1, y1) in found]
    return {"bbox": [list(map(float, each)) for each in bbox], "category": [kind for kind, _ in found]}


def json_of(name):
    return json.dumps({"boxes": [box for _, box in BOXES[name]], "labels": [kind for kind, _ in BOXES[name]]}).encode()


def xml_of(name):
    boxes = ((kind, (x0 + 1, y0 + 1, x1, y1)) for kind, (x0, y0, x1, y1) in BOXES[name])
    return xml(*(one(kind, box) for kind, box in boxes), size=(24, 24)).encode()


def coco():
    found = [(k, kind, box) for k, name in enumerate(BOXES) for kind, box in BOXES[name]]
    return json.dumps(
        {
            "images": [{"id": k, "file_name": name} for k, name in enumerate(BOXES)],
            "categories": [{"id": k, "name": name} for k, name in enumerate(("six", "two"))],
            "annotations": [
                {"image_id": k, "category_id": ("six", "two").index(kind), "bbox": [x0, y0, x1 - x0, y1 - y0]}
                for k, kind, (x0, y0, x1, y1) in found
            ],
        }
    ).encode()


def write_folder(place):
    for name, data in FILES.items():
        write(place / name).write_bytes(data)
        write((place / name).with_suffix(".xml")).write_bytes(xml_of(name))
    return place


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shards(place, said, ending):
    """Two shards, of two and of three samples."""
    names = list(BOXES)
    for shard, some in enumerate((names[:2], names[2:])):
        members = {}
        for name in some:
            members |= {name: FILES[name], name.replace(".png", f".{ending}"): said(name)}
        write_tar(place / f"val-{shard:03}.tar", members)
    return place


def write_parquet(path, **options):
    rows = [{"image": {"bytes": FILES[name], "path": name}, "objects": objects(name)} for name in BOXES]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def write_memory(root):
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe(f"{root}/{name}", data)
        system.pipe(f"{root}/{name.replace('.png', '.xml')}", xml_of(name))
    system.pipe(f"{root}-boxes.json", coco())
    return f"memory://{root}"


def network():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    net.preprocess = Preprocess(16, (16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    net.classes = ("six", "two")
    return net.eval()
