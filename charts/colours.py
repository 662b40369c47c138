"""Colours as numbers: how light one is, what lies between two, and which ink can be read on it."""

import math
from collections.abc import Sequence


def rgb(colour: str) -> tuple[int, ...]:
    """``"#3DA79C"`` → ``(61, 167, 156)``."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def luminance(colour: str) -> float:
    """Relative luminance, from 0 (black) to 1 (white), as WCAG 2 defines it."""
    parts = (byte / 255 for byte in rgb(colour))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21; text needs 4.5."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def between(scale: Sequence[str], place: float) -> str:
    """The colour at ``place``, from 0 to 1, of even steps as plotly draws them; what is no number is at the end."""
    place = min(1.0, max(0.0, place if math.isfinite(place) else 1.0)) * (len(scale) - 1)
    first = min(int(place), len(scale) - 2)
    ends = (rgb(scale[first]), rgb(scale[first + 1]))
    return "#" + "".join(f"{round(a + (b - a) * (place - first)):02X}" for a, b in zip(*ends, strict=True))


def ink(ground: str) -> str:
    """Black or white, whichever stands out more; at least 4.5 to 1."""
    return max(("#000000", "#FFFFFF"), key=lambda each: contrast(each, ground))
