"""What is raised when a network cannot be had."""

from __future__ import annotations

from relprop.support.errors import RelpropError


class ModelError(RelpropError):
    """A model that cannot be had; the message says why and what to do."""
