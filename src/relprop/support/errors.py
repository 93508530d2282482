"""What relprop raises. Every message says what happened, where, and what to do next."""


class RelpropError(Exception):
    """The root of every error that relprop raises on purpose."""


class InputError(RelpropError, ValueError):
    """What was passed in cannot be explained: the model's state, the picture, the target or the method."""


class RuleError(RelpropError):
    """A rule stands on an op that it does not fit, or an op that needs a rule has none."""


class UnsupportedOp(RelpropError):  # noqa: N818  (the name is part of the public contract)
    """Relevance would have to pass through something the engine has no rule for.

    The message names every such op at once: the op, the module path, the shapes, the nearest remedy.
    """
