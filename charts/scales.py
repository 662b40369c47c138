"""Axes of layers and logarithmic ones: which of their numbers are written."""

import math
from collections.abc import Iterable

from charts import style

_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LABELS, _LONG_LABELS = 16, 10  # on an axis of layers, below a hundred and above; more of them touch on a narrow page


def log_axis(values: Iterable[float]) -> dict:
    """What makes an axis logarithmic: labels at powers of ten, and between them where there are few powers or none."""
    powers = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    decades = max(powers, default=0) - min(powers, default=0)
    step = {"nticks": 6} if decades < 0.7 else {"dtick": "D2" if decades < 1.7 else 1}
    return {"type": "log", "tickformat": "~g"} | step


def layer_axis(count: int, title: str | None = "layer", **rest: object) -> dict:
    """An axis of whole numbers that labels at most about sixteen of them."""
    most = _LABELS if count <= 100 else _LONG_LABELS
    step = next((step for step in _STEPS if count / step <= most), _STEPS[-1])
    return style.axis(title, tickmode="linear", tick0=0, dtick=step, tickangle=0, showgrid=False) | rest
