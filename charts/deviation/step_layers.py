"""The layers of one step: which of them a pruned model leaves the dense one in."""

import numpy as np

from charts import style
from probes.deviation.transitions import TransitionsResult

_SPACES = {"hidden states": "h_cosine", "logits": "z_cosine", "probabilities": "p_cosine"}


def parting(result: TransitionsResult, space: str = "h_cosine") -> int | None:
    """The layer in which 1 − cosine of a space grows most, from 0; None where it grows in none."""
    grown = -np.diff(getattr(result.cumulative, space))
    return int(grown.argmax()) if len(grown) and grown.max() > 0 else None


def sentence(result: TransitionsResult) -> str:
    """In which layer each of the three spaces parts furthest, and how far it is from the dense one before and after."""
    said = []
    for name, space in _SPACES.items():
        layer = parting(result, space)
        if layer is not None:
            before, after = (style.number(1 - getattr(result.cumulative, space)[depth]) for depth in (layer, layer + 1))
            said.append(f"{name} in layer {layer}, from {before} to {after}")
    if not said:
        return "At this step the two models do not diverge in any layer."
    return f"Where 1 − cos grows most at this step: {'; '.join(said)}."
