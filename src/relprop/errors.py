"""What relprop raises, under the name that programs import it from; each is told in `relprop.support.errors`."""

from relprop.support.errors import InputError, RelpropError, RuleError, UnsupportedOp

__all__ = ["InputError", "RelpropError", "RuleError", "UnsupportedOp"]
