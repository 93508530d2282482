"""What a network's file does not say: whoever asks for it is told how to say it."""

from __future__ import annotations

from relprop.models.errors import ModelError


class NotStatedError(ModelError, AttributeError):
    """Something that a network does not say of itself was asked for.

    An AttributeError as well, so that ``getattr(preprocess, "bounds", None)`` finds that there are none.
    """


class NotStated:
    """Stands where `preprocess` or `classes` should; raises `NotStatedError` when it is used in any way.

    Args:
        how: why nothing is known, and what to do.
        side: the height and width of pictures that the network takes, in pixels, where that is known all the same.
    """

    def __init__(self, how: str, side: int | None = None) -> None:
        self.how = how
        self.side = side

    def __repr__(self) -> str:
        return f"NotStated({self.how!r})"

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # copying and pickling look for these
            raise AttributeError(name)
        raise NotStatedError(vars(self).get("how", name))

    def __call__(self, *_: object) -> object:
        """Raise `NotStatedError`."""
        raise NotStatedError(self.how)

    def __len__(self) -> int:
        raise NotStatedError(self.how)

    def __getitem__(self, index: int) -> str:
        raise NotStatedError(self.how)
