"""Where a plan hurts, layer by layer: the whole plan over depth, and each attention and MLP alone."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from charts import style
from charts.deviation.spaces import DASHES, PLANS, SYMBOLS, Curve, rows
from plans.drops import dropped
from plans.plan import parse
from probes.deviation.comparison import Deviation
from probes.deviation.transitions import TransitionsResult

# At each layer or depth, the likeliest tokens of the dense and of the modified side
Texts = Sequence[tuple[Sequence[str], Sequence[str]]]

_COSINES = ("h", "z", "p")
_ALONE = "left out alone"
_SHOWN = 3  # of the likeliest tokens in a hover text


def depth(
    results: dict[str, TransitionsResult], texts: dict[str, Texts] | None = None, band: bool = True, estimates: bool = True
) -> go.Figure:
    """The whole plan: how far hidden states, logits and probabilities are from the dense ones, after each block.

    Parameters
    ----------
    results : dict of str to TransitionsResult or None
        By plan; its place gives the colour. Plans that are not measured yet keep their place and are not drawn.
    texts : dict of str to Texts, optional
        For each plan the likeliest tokens at every depth, layers + 1 of them.
    band : bool
        Whether the 5 to 95 % quantiles over tokens are shaded.
    estimates : bool
        Whether the second-order estimates are drawn, dotted.

    Returns
    -------
    Figure
        Rows of `spaces.rows`; x is the number of blocks that have been applied, 0 the embedding.
    """
    curves = []
    for place, (plan, result) in enumerate(results.items()):
        if result is not None:
            whole = result.cumulative
            notes = _notes(_depths(result.layers), whole, (texts or {}).get(plan))
            curves.append(_curve(style.plan_name(plan), _look(place), whole, notes, band, estimates))
    ends = [f"{curve.name} {style.number(curve.values['kl'][-1])}" for curve in curves]
    finding = f"KL at the end, in nats: {', '.join(ends)}" if ends else ""
    return rows({"": curves}, ["blocks applied (0: the embedding)"], "depth", "5–95 % of positions" if band else "", finding)


def alone(
    results: dict[str, TransitionsResult],
    norm: bool = True,
    texts: dict[str, dict[str, Texts]] | None = None,
    estimates: bool = True,
) -> go.Figure:
    """Each attention and each MLP changed alone in an otherwise dense model, by layer.

    Parameters
    ----------
    results : dict of str to TransitionsResult or None
        By plan. Plans that only drop all say the same here, because each sublayer is left out in turn: they share a line,
        and the layers that a plan drops have larger marks in its colour.
    norm : bool
        Whether logits are read with the final norm, or by the bare head as the paper does.
    texts : dict of dict of Texts, optional
        For each plan, by ``attention`` and ``mlp``.

    Returns
    -------
    Figure
        Two columns of `spaces.rows`.
    """
    columns: dict[str, list[Curve]] = {"Attention": [], "MLP": []}
    shared = next((plan for plan, result in results.items() if result is not None and result.mode == "dropped"), None)
    drops = {plan: place for place, (plan, result) in enumerate(results.items()) if result is not None and shared}
    for place, (plan, result) in enumerate(results.items()):
        if result is None or (result.mode == "dropped" and plan != shared):
            continue
        name = _ALONE if plan == shared else style.plan_name(plan)
        look = {"colour": style.MUTED, "symbol": "circle"} if plan == shared else _look(place)
        for heading, kind in (("Attention", "attention"), ("MLP", "mlp")):
            found = getattr(result, kind if norm else f"raw_{kind}")
            names = [f"{style.NAME[kind]} of layer {i}" for i in range(result.layers)]
            notes = _notes(names, found, (texts or {}).get(plan, {}).get(kind))
            marked = _marked(drops, kind, result.layers) if plan == shared else ()
            columns[heading].append(_curve(name, look, found, notes, False, estimates, marked))
    return rows(columns, ["layer", "layer"], f"alone-{norm}", finding=_extremes(columns))


def loudest(result: TransitionsResult) -> int:
    """The layer whose attention or MLP, changed alone, changes the probabilities most."""
    return int(np.maximum(result.attention.kl, result.mlp.kl).argmax())


def _extremes(columns: dict[str, list[Curve]]) -> str:
    """The sublayers that change the probabilities least and most, in words."""
    found = [
        (value, f"{heading} of layer {i}" + (f" ({curve.name})" if curve.name != _ALONE else ""))
        for heading, curves in columns.items() for curve in curves
        for i, value in zip(curve.x, curve.values["kl"].tolist(), strict=True) if np.isfinite(value)
    ]  # fmt: skip
    if not found:
        return ""
    (low, least), (high, most) = min(found), max(found)
    return f"{least} changes predictions least, KL {style.number(low)} nats; {most} most, {style.number(high)} nats"


def table(results: dict[str, TransitionsResult | None], norm: bool = True) -> list[dict[str, str | float]]:
    """The same as rows: each sublayer alone, and what is not drawn of it; plans that only drop have theirs once."""
    found, names = [], []
    for plan, result in results.items():
        name = _ALONE if result is not None and result.mode == "dropped" else plan
        if result is not None and name not in names:
            names.append(name)
            found += [
                {"changed": name, "part": f"{letter}{i}", **_row(getattr(result, kind if norm else f"raw_{kind}"), i)}
                for kind, letter in (("attention", "a"), ("mlp", "m"))
                for i in range(result.layers)
            ]
    return found


def _row(found: Deviation, i: int) -> dict[str, float]:
    """Numbers of one layer."""
    cosines = {f"1 − cos({space})": 1 - getattr(found, f"{space}_cosine")[i] for space in _COSINES}
    parts = {
        f"{part} part of Δ{space}": getattr(found, f"{space}_{part}")[i]
        for space in ("h", "z") for part in ("parallel", "orthogonal")
    }  # fmt: skip
    return cosines | {"KL": found.kl[i], "KL estimate": found.kl_estimate[i], "KL reversed": found.reverse_kl[i]} | parts


def _marked(drops: dict[str, int], kind: str, layers: int) -> list[str]:
    """For each layer the colour of a plan that drops it, of the last one where there are several."""
    colours = [""] * layers
    for plan, place in drops.items():
        for i in getattr(dropped(parse(plan)), f"no_{kind}"):
            colours[i] = PLANS[place]
    return colours


def _look(place: int) -> dict[str, str]:
    """Colour, mark and dash of a plan, as fields of a `Curve`."""
    return {"colour": PLANS[place], "symbol": SYMBOLS[place], "dash": DASHES[place]}


def _curve(
    name: str, look: dict[str, str], found: Deviation, notes: list[str], band: bool, guess: bool, marked: Sequence = ()
) -> Curve:
    spread = {space: getattr(found, f"{space}_cosine_spread") for space in _COSINES}
    return Curve(
        name=name,
        **look,
        x=range(len(found.kl)),
        values={space: 1 - np.array(getattr(found, f"{space}_cosine")) for space in _COSINES} | {"kl": np.array(found.kl)},
        estimates={space: np.array(getattr(found, f"{space}_estimate")) for space in (*_COSINES, "kl")} if guess else {},
        # A high cosine is a small deviation, so the quantiles change places.
        low={space: 1 - each[:, 2] for space, each in spread.items()} | {"kl": found.kl_spread[:, 0]} if band else {},
        high={space: 1 - each[:, 0] for space, each in spread.items()} | {"kl": found.kl_spread[:, 2]} if band else {},
        notes=notes,
        marked=marked,
    )


def _depths(layers: int) -> list[str]:
    return ["The embedding", *(f"After layer {i}" for i in range(layers))]


def _notes(places: Sequence[str], found: Deviation, texts: Texts | None) -> list[str]:
    """Where it is, and the likeliest tokens of both sides if the model ended there."""
    if texts is None:
        return list(places)
    notes = []
    for place, (dense, modified), chances in zip(places, texts, found.top_probabilities, strict=True):
        sides = [
            f"{side}: " + ", ".join(f"‘{style.plain(text)}’ {100 * chance:.0f} %" for text, chance in pairs)
            for side, pairs in (("dense", _first(dense, chances[0])), ("modified", _first(modified, chances[1])))
        ]
        notes.append("<br>".join([place, *sides]))
    return notes


def _first(texts: Sequence[str], chances: np.ndarray) -> list[tuple[str, float]]:
    return list(zip(texts, chances.tolist(), strict=True))[:_SHOWN]
