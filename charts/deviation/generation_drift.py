"""Where generation falls apart: over steps, in the text itself, and what both models would write instead at a step."""

import html

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import differences, style
from charts.deviation.spaces import DASHES, PLANS, SYMBOLS, Curve, rows
from probes.deviation.generation_drift import DriftResult
from refusal import plural

LOUD = 5.0  # nats at which the colour is full: the token has become 150 times less likely
_STRONGEST = 0.65  # of the colour, so that text stays readable on it
_SPAN = 5  # steps
_LOW, _HIGH = 2, 4  # 25 and 75 % in a spread of mean, 10, 25, 50, 75, 90 %
_NAMES = {"h": "h_cosine", "z": "z_cosine", "p": "p_cosine"}


def steps(
    results: dict[str, DriftResult], prompt: int | None = None, free: bool = False, band: bool = True, estimates: bool = True
) -> go.Figure:
    """How far hidden states, logits and probabilities are from the dense ones, step by step.

    Parameters
    ----------
    results : dict of str to DriftResult or None
        By plan; its place gives the colour. Plans that are not measured yet keep their place and are not drawn.
    prompt : int, optional
        One prompt, with its tokens in the hover texts; else the mean over prompts.
    free : bool
        Each model on its own text; else both on the dense model's.
    band : bool
        Whether the 25 to 75 % quantiles over prompts are shaded, where it is the mean.

    Returns
    -------
    Figure
        Rows of `spaces.rows`; x is the step, from 1.
    """
    curves = []
    for place, (plan, result) in enumerate(results.items()):
        if result is not None:
            read = _of_prompt(result, prompt, free) if prompt is not None else _over_prompts(result, free, band)
            if not estimates:
                read["estimates"] = {}
            look = {"colour": PLANS[place], "symbol": SYMBOLS[place], "dash": DASHES[place]}
            curves.append(Curve(name=style.plan_name(plan), **look, **read))
    shaded = band and prompt is None
    means = [(curve.name, np.asarray(curve.values["kl"], float)) for curve in curves]
    said = [f"{name} {style.number(np.nanmean(kl))}" for name, kl in means if np.isfinite(kl).any()]
    finding = f"Mean KL over the steps, in nats: {', '.join(said)}" if said else ""
    shade = "25–75 % of prompts" if shaded else ""
    return rows({"": curves}, ["step (tokens generated)"], f"steps-{prompt}-{free}", shade, finding)


def _over_prompts(result: DriftResult, free: bool, band: bool) -> dict:
    """Means over prompts, as fields of a `Curve`."""
    spread, running = (result.free_spread, result.free_running) if free else (result.forced_spread, result.running)
    mean, low, high = ({name: each[:, at] for name, each in spread.items()} for at in (0, _LOW, _HIGH))
    prompts = len(result.prompts)
    notes = [f"step {i + 1}, {count} of {plural(prompts, 'prompt')} still generating" for i, count in enumerate(running)]
    # A high cosine is a small deviation, so the quantiles change places.
    edges = {"low": _curves(high) | {"kl": low["kl"]}, "high": _curves(low) | {"kl": high["kl"]}} if band else {}
    return {"x": range(1, len(notes) + 1), "values": _curves(mean), "estimates": _estimates(mean), "notes": notes, **edges}


def _of_prompt(result: DriftResult, prompt: int, free: bool) -> dict:
    """One prompt, as fields of a `Curve`."""
    found = {name: each[prompt] for name, each in (result.free if free else result.forced).items()}
    count = len(found["kl"])
    if free:
        mixed = result.mixed[prompt]
        notes = [f"step {i + 1}" + ("<br>the preceding texts differ" if mixed[i] else "") for i in range(count)]
    else:
        notes = [_step(result, prompt, i) for i in range(count)]
    return {"x": range(1, count + 1), "values": _curves(found), "estimates": _estimates(found), "notes": notes}


def _curves(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {space: 1 - found[name] for space, name in _NAMES.items()} | {"kl": found["kl"]}


def _estimates(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {space: found[f"{space}_estimate"] for space in (*_NAMES, "kl")}


def _step(result: DriftResult, prompt: int, i: int) -> str:
    pieces = result.dense_pieces[prompt]
    if i >= len(pieces):
        return f"step {i + 1}: the text has ended"
    tops = result.top_pieces[prompt][i]
    return (
        f"step {i + 1}: the dense model writes ‘{style.plain(pieces[i])}’ "
        f"({100 * result.dense_probability[prompt, i]:.0f} %)<br>"
        f"pruned: {100 * result.probability[prompt, i]:.0f} % for this token; its likeliest token is ‘{style.plain(tops[0])}’"
    )


def worst(result: DriftResult, prompt: int, count: int = 5) -> list[tuple[int, int, int]]:
    """The stretches of text with the highest KL.

    Returns
    -------
    list of (start, stop, peak)
        Up to ``count`` spans of steps that do not overlap, the highest sum of KL first; ``peak`` is its worst step.
    """
    kl = result.forced["kl"][prompt]
    kl = kl[np.isfinite(kl)]
    length = min(_SPAN, len(kl))
    sums = np.convolve(kl, np.ones(length), "valid") if length else np.array([])
    found: list[tuple[int, int, int]] = []
    for start in np.argsort(-sums, kind="stable").tolist():
        stop = start + length
        if len(found) < count and sums[start] > 0 and all(stop <= a or start >= b for a, b, _ in found):
            found.append((start, stop, start + int(kl[start:stop].argmax())))
    return found


def tokens(result: DriftResult, prompt: int) -> list[dict[str, str | bool]]:
    """The dense model's text, to be clicked token by token.

    Returns
    -------
    list of dict
        ``text`` as it is shown (a mark where there is nothing to see), ``said``: its numbers in words, ``ground``: a colour,
        the redder the higher the KL of the pruned model, ``ends``: it is the end-of-text token.
    """
    kl, pieces = result.forced["kl"][prompt], result.dense_pieces[prompt]
    last = len(pieces) - 1 if result.dense_ended[prompt] else None
    return [
        {
            "text": differences.END if i == last else piece.replace("\n", "⏎\n") or "∅", "said": _said(result, prompt, i),
            "ground": style.pale(style.DROP, _shade(kl[i])), "ends": i == last,
        }
        for i, piece in enumerate(pieces)
    ]  # fmt: skip


def _shade(kl: float) -> float:
    """How strong the colour is: as log(1 + KL), or small values could not be seen beside large ones."""
    return 0.0 if not np.isfinite(kl) else _STRONGEST * min(1.0, float(np.log1p(kl) / np.log1p(LOUD)))


def _said(result: DriftResult, prompt: int, i: int) -> str:
    rank, dense, pruned = (each[prompt, i] for each in (result.rank, result.dense_probability, result.probability))
    return (
        f"step {i + 1}: KL {style.number(result.forced['kl'][prompt, i])} nats · probability of this token: dense {dense:.1%}, "
        f"pruned {pruned:.1%} · the pruned model {ranked(rank)}"
    )


def ranked(rank: float) -> str:
    """Where the pruned model ranks the dense model's token: ``still ranks it first``, ``ranks 3 other tokens higher``."""
    return f"ranks {plural(int(rank), 'other token')} higher" if rank else "still ranks it first"


def written(result: DriftResult, prompt: int, pruned: bool) -> str:
    """What one model writes on its own, as HTML, with the `differences.marks` from what the other one writes."""
    dense = (result.dense_ids[prompt], result.dense_pieces[prompt], result.dense_ended[prompt])
    own = (result.ids[prompt], result.pieces[prompt], result.ended[prompt])
    (ids, pieces, ended), (other, *_) = (own, dense) if pruned else (dense, own)
    kinds = differences.marks(ids[ids >= 0].tolist(), other[other >= 0].tolist())
    last = len(pieces) - 1
    spans = [
        differences.token(piece, marked, ended and i == last)
        for i, (piece, marked) in enumerate(zip(pieces, kinds, strict=True))
    ]
    return differences.text(spans, "drift")


def alternatives(result: DriftResult, prompt: int, step: int) -> go.Figure:
    """The five likeliest tokens of both models at a step of the dense text; the token that was written is hatched."""
    sides = [("Dense", result.dense_top_pieces, result.dense_top_probability, result.dense_top_ids, style.MUTED)]
    sides += [("Pruned", result.top_pieces, result.top_probability, result.top_ids, style.DROP)]
    figure = make_subplots(1, 2, horizontal_spacing=0.2, subplot_titles=[f"<b>{side[0]}</b>" for side in sides])
    written_id = int(result.dense_ids[prompt, step])
    for column, (name, pieces, chances, ids, colour) in enumerate(sides, 1):
        texts = [style.plain(text) or "∅" for text in pieces[prompt][step]]
        kept = [100 * float(chance) for chance in chances[prompt, step][: len(texts)]]
        places = list(range(len(texts)))
        figure.add_bar(
            x=[style.rounded(each) for each in kept], y=places, orientation="h", name=name, showlegend=False,
            marker=style.marker(colour, [int(each) == written_id for each in ids[prompt, step][: len(texts)]]),
            customdata=[[text] for text in texts], hovertemplate="‘%{customdata[0]}’: %{x:.3~g} %<extra></extra>",
            text=[f"{each:.2g} %" if each < 10 else f"{each:.0f} %" for each in kept], textposition="outside", cliponaxis=False,
            row=1, col=column,
        )  # fmt: skip
        ticks = {"tickvals": places, "ticktext": [f"‘{style.shortened(text)}’" for text in texts], "autorange": "reversed"}
        figure.update_yaxes(style.axis(None, showgrid=False, **ticks), row=1, col=column)
    figure.update_yaxes(style.heading("token", 6), col=1)
    figure.update_xaxes(style.axis("probability (%)", range=[0, 118], tickvals=[0, 50, 100]))
    figure.update_annotations(font={"size": 13})
    for title, axis in zip(figure.layout.annotations, figure.select_xaxes(), strict=True):
        title.update(x=axis.domain[0], xanchor="left")
    dense, pruned = (html.unescape(style.plain(each[prompt][step][0])) for each in (result.dense_top_pieces, result.top_pieces))
    same = bool(result.dense_top_ids[prompt, step][0] == result.top_ids[prompt, step][0])
    finding = f"Likeliest token of both: ‘{dense}’" if same else f"Likeliest token: dense ‘{dense}’, pruned ‘{pruned}’"
    return style.frame(figure, 250, f"alternatives-{prompt}-{step}", above=26, finding=finding, bargap=0.3)
