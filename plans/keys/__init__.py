"""Attention that looks at some keys only: ``k:0.25/0.5``."""

from plans.keys.operation import KIND, Keys

__all__ = ["KIND", "Keys"]
