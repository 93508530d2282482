"""What tests of Caffe share: its files on disk, and the layers with weights of the networks read from them."""

from torch import nn

import caffe_files as files
from relprop.models.files import caffe_description

CLASSES = 20
SMALL = files.small_weights()


def written(folder, data, name="network.caffemodel"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def weighted(name, classes):
    modules = caffe_description.structure(name, classes).named_modules()
    return [(path, m) for path, m in modules if isinstance(m, (nn.Conv2d, nn.Linear))]
