"""What relprop reads of Caffe's protobuf messages, declared here: field numbers are the file format.

Caffe's own declaration is not needed: fields that are not listed are skipped. Two fields are declared otherwise than
Caffe does, as bytes that look the same in the file: names, so that one that is not UTF-8 can be refused in our
words; and packed numbers, so that a hundred million of them arrive as one block instead of a Python object each.
"""

from __future__ import annotations

from functools import cache
from typing import Any

SCHEMA = {
    "Net": "layers 2 OldLayer*, input_dim 4 int64*, input_shape 8 Shape*, layer 100 Layer*",
    "Shape": "dim 1 int64*",
    "Blob": "num 1 int64, channels 2 int64, height 3 int64, width 4 int64, data 5 bytes*, shape 7 Shape, "
    "double_data 8 bytes*",
    "Layer": "name 1 bytes, type 2 bytes, bottom 3 bytes*, top 4 bytes*, blobs 7 Blob*, transform_param 100 Transform, "
    "convolution_param 106 Convolution, inner_product_param 117 InnerProduct, lrn_param 118 LocalNorm, "
    "pooling_param 121 Pooling, relu_param 123 ReLU, input_param 143 Input",
    # The format of 2014, whose layers are called `layers` and typed by number.
    "OldLayer": "layer 1 Oldest, bottom 2 bytes*, top 3 bytes*, name 4 bytes, type 5 OldType, blobs 6 Blob*, "
    "convolution_param 10 Convolution, inner_product_param 17 InnerProduct, lrn_param 18 LocalNorm, "
    "pooling_param 19 Pooling, relu_param 30 ReLU, transform_param 36 Transform",
    # The format before that, which is recognised and refused.
    "Oldest": "name 1 bytes",
    "Convolution": "num_output 1 uint32, bias_term 2 bool=true, pad 3 uint32*, kernel_size 4 uint32*, "
    "group 5 uint32=1, stride 6 uint32*, pad_h 9 uint32, pad_w 10 uint32, kernel_h 11 uint32, kernel_w 12 uint32, "
    "stride_h 13 uint32, stride_w 14 uint32, dilation 18 uint32*",
    "InnerProduct": "num_output 1 uint32, bias_term 2 bool=true, transpose 6 bool=false",
    "Pooling": "pool 1 PoolMethod=MAX, kernel_size 2 uint32*, stride 3 uint32*, pad 4 uint32*, kernel_h 5 uint32, "
    "kernel_w 6 uint32, stride_h 7 uint32, stride_w 8 uint32, pad_h 9 uint32, pad_w 10 uint32, "
    "global_pooling 12 bool=false, round_mode 13 RoundMode=CEIL",
    "LocalNorm": "local_size 1 uint32=5, alpha 2 float=1, beta 3 float=0.75, norm_region 4 NormRegion=ACROSS_CHANNELS, "
    "k 5 float=1",
    "ReLU": "negative_slope 1 float=0",
    "Input": "shape 1 Shape*",
    "Transform": "crop_size 3 uint32",
}
"""Message by message: the name, number and type of each field; a star for repeated, then the default."""

ENUMS = {
    "OldType": "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT IM2COL "
    "IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX SOFTMAX_LOSS "
    "SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA ARGMAX THRESHOLD "
    "DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION",
    "PoolMethod": "MAX AVE STOCHASTIC",
    "RoundMode": "CEIL FLOOR",
    "NormRegion": "ACROSS_CHANNELS WITHIN_CHANNEL",
}
"""The names of each enumeration's values, from 0."""

_PACKAGE = "relprop.caffe"


def message(name: str) -> Any:
    """Return an empty message of `SCHEMA`, of protobuf's own class."""
    return _classes()[name]()


@cache
def _classes() -> dict[str, Any]:
    """Protobuf's classes by message, in a pool of their own, so that Caffe may be imported beside relprop."""
    from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]  # noqa: PLC0415 - for Caffe only
        FileDescriptorProto,
    )
    from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]  # noqa: PLC0415
    from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # noqa: PLC0415

    file = FileDescriptorProto(name="relprop/caffe.proto", package=_PACKAGE, syntax="proto2")
    for name, values in ENUMS.items():
        file.enum_type.add(name=name, value=[{"name": v, "number": n} for n, v in enumerate(values.split())])
    for name, fields in SCHEMA.items():
        file.message_type.add(name=name, field=[_field(words) for words in fields.split(", ")])
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in SCHEMA}


def _field(words: str) -> dict[str, Any]:
    """One field of `SCHEMA` in protobuf's words."""
    name, number, kind = words.split()
    kind, _, default = kind.partition("=")
    field: dict[str, Any] = {"name": name, "number": int(number), "label": 3 if kind.endswith("*") else 1}
    kind = kind.removesuffix("*")
    if kind in SCHEMA or kind in ENUMS:
        field |= {"type_name": f".{_PACKAGE}.{kind}", "type": 11 if kind in SCHEMA else 14}
    else:
        field["type"] = {"float": 2, "int64": 3, "bool": 8, "bytes": 12, "uint32": 13}[kind]
    return field | ({"default_value": default} if default else {})
