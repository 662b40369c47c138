"""From scores to what one would drop."""

from typing import Any

import numpy as np

from plans.drops import Drops
from plans.plan import Plan, parse


def order(cosines: list[float]) -> list[int]:
    """Layers, the least turned first; ties by index."""
    return sorted(range(len(cosines)), key=lambda i: (-cosines[i], i))


def best_spans(cosines: np.ndarray, angles: np.ndarray) -> list[dict]:
    """For each length n the start whose state is most like the state n layers later (arXiv 2403.17887, eq. 7).

    The reference code of LLM-Drop reads the column of n+1 here; see docs/probes.md.
    """
    layers = len(angles) - 1
    spans = []
    for length in range(1, layers + 1):
        start = int(np.diagonal(angles, length).argmin())
        stop = start + length
        spans.append(
            {
                "length": length,
                "start": start,
                "stop": stop,
                "cosine": float(cosines[start, stop]),
                "angular": float(angles[start, stop]),
                "plan": str(Drops(blocks=frozenset(range(start, stop)))),
            }
        )
    return spans


def joint_order(attention: list[float], mlp: list[float]) -> list[str]:
    """Attention and MLP sublayers in one ranking, as items of a plan; attention first at a tie."""
    items = {f"a{i}": value for i, value in enumerate(attention)} | {f"m{i}": value for i, value in enumerate(mlp)}
    return sorted(items, key=lambda item: -items[item])


def most_redundant(means: Any, kind: str, count: int) -> Plan:
    """The first ``count`` of a ranking as a plan, from a similarity result or its summary without position 0.

    ``kind`` is "attention", "mlp", "block" or "joint".
    """
    if kind == "joint":
        return parse(",".join(joint_order(means.attention, means.mlp)[:count]))
    return parse(",".join(f"{kind[0]}{i}" for i in order(getattr(means, kind))[:count]))
