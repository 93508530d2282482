"""Networks by name, ready to be explained: with weights, preprocessing and classes."""

from relprop.data.preprocess import Preprocess
from relprop.models.files.checkpoints import ModelError
from relprop.models.registry import load, names, needs

__all__ = ["ModelError", "Preprocess", "load", "names", "needs"]
