"""What the strip of layers shows in each of its cells: how redundant a part is, as a shade and in words."""

import math
from dataclasses import dataclass

from charts import style
from probes.redundancy.similarity import SimilarityResult
from probes.scan.drop_scan import DropScanResult

_PARTS = ("attention", "mlp", "block")


@dataclass(frozen=True)
class Measured:
    """One number for every part of a model, the lower the more redundant.

    Attributes
    ----------
    name, unit : str
        ``KL`` in ``nats``, or ``1 − cosine`` without a unit.
    costs : dict of str to list of float
        By part (``attention``, ``mlp``, ``block``) and layer of the dense model; NaN: not measured.
    """

    name: str
    unit: str
    costs: dict[str, list[float]]

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest cost above zero; NaN where there is none."""
        known = [cost for costs in self.costs.values() for cost in costs if math.isfinite(cost) and cost > 0]
        return (min(known), max(known)) if known else (math.nan, math.nan)

    def said(self, cost: float) -> str:
        """A cost in words; empty: not measured."""
        return f"{self.name} {style.number(cost)} {self.unit}".rstrip() if math.isfinite(cost) else ""


def measured(scan: DropScanResult | None, similarity: SimilarityResult | None) -> Measured | None:
    """What is known best: the KL of each drop, else how much each part turns the stream; None: neither."""
    if scan is not None:
        return Measured("KL", "nats", {part: getattr(scan, part).kl for part in _PARTS})
    if similarity is not None:
        return Measured("1 − cosine", "", {part: [1 - cosine for cosine in getattr(similarity, part)] for part in _PARTS})
    return None


def rows(layers: int, measure: Measured | None) -> dict[str, dict]:
    """By part: its colour and, by layer, ``shade`` (1: the most redundant of all parts; None: unknown) and ``said``."""
    unknown = [math.nan] * layers
    found = {part: unknown if measure is None else measure.costs[part] for part in _PARTS}
    low, high = (math.nan, math.nan) if measure is None else measure.range
    return {
        part: {
            "colour": style.COLOUR[part],
            "shade": [_shade(cost, low, high) for cost in costs],
            "said": [measure.said(cost) if measure else "" for cost in costs],
        }
        for part, costs in found.items()
    }


def _shade(cost: float, low: float, high: float) -> float | None:
    """On a logarithmic scale, since one layer may cost a thousand times as much as another."""
    if not math.isfinite(cost):
        return None
    if cost <= low or high <= low:
        return 1.0
    return round(math.log(high / cost) / math.log(high / low), 3)
