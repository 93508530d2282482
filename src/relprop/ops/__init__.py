"""How each kind of op hands relevance down; importing this package fills the table."""

from relprop.ops import activation, addition, linear, normalization, pooling, product, routing, silent
from relprop.ops.table import TABLE, Op

__all__ = [
    "TABLE",
    "Op",
    "activation",
    "addition",
    "linear",
    "normalization",
    "pooling",
    "product",
    "routing",
    "silent",
]
