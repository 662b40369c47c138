"""OPERATIONS: every way to make a model smaller that a plan can name, in the order in which they are applied."""

from plans import drops, keys, weights
from plans.operation import Kind

OPERATIONS: dict[str, Kind] = {kind.name: kind for kind in (drops.KIND, weights.KIND, keys.KIND)}


def help_text() -> str:
    """One line per way to write an item, for help texts."""
    return " · ".join(f"{item}: {meaning}" for kind in OPERATIONS.values() for item, meaning in kind.examples)


def placeholder() -> str:
    """A plan with one item of each kind."""
    return ",".join(kind.examples[0][0] for kind in OPERATIONS.values())
