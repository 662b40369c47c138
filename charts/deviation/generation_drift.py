"""Where generation falls apart: over steps, in the text itself, and what both models would say instead at a step."""

import html
from difflib import SequenceMatcher

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import style
from charts.deviation.spaces import PLANS, SYMBOLS, Curve, rows
from charts.deviation.transitions import clipped
from probes.deviation.generation_drift import DriftResult

STYLE = """<style>
.drift {line-height: 1.9; font-size: 1rem; white-space: pre-wrap; overflow-wrap: anywhere}
.drift span {border-radius: 3px; padding: 2px 0}
.drift .chosen {outline: 2px solid #6366F1; outline-offset: 1px}
.drift .span {border-bottom: 3px solid #6366F1}
.drift .parts {border-left: 3px solid #dc2626; padding-left: 3px; font-weight: 600}
.drift .differs {background: rgba(245, 158, 11, .30)}
.drift .end {opacity: .55; font-size: .8em}
</style>"""
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
        Rows of `panels.rows`; x is the step, from 1.
    """
    curves = []
    for place, (plan, result) in enumerate(results.items()):
        if result is not None:
            read = _of_prompt(result, prompt, free) if prompt is not None else _over_prompts(result, free, band)
            if not estimates:
                read["estimates"] = {}
            curves.append(Curve(name=clipped(plan), colour=PLANS[place], symbol=SYMBOLS[place], **read))
    shaded = band and prompt is None
    return rows({"": curves}, ["step (token written)"], f"steps-{prompt}-{free}", "25–75 % of the prompts" if shaded else "")


def _over_prompts(result: DriftResult, free: bool, band: bool) -> dict:
    """Means over prompts, as fields of a `Curve`."""
    spread, running = (result.free_spread, result.free_running) if free else (result.forced_spread, result.running)
    mean, low, high = ({name: each[:, at] for name, each in spread.items()} for at in (0, _LOW, _HIGH))
    prompts = len(result.prompts)
    told = [f"step {i + 1}, {count} of {prompts} prompts still going on" for i, count in enumerate(running)]
    # A high cosine is a small deviation, so the quantiles change places.
    edges = {"low": _curves(high) | {"kl": low["kl"]}, "high": _curves(low) | {"kl": high["kl"]}} if band else {}
    return {"x": range(1, len(told) + 1), "values": _curves(mean), "estimates": _estimates(mean), "told": told, **edges}


def _of_prompt(result: DriftResult, prompt: int, free: bool) -> dict:
    """One prompt, as fields of a `Curve`."""
    found = {name: each[prompt] for name, each in (result.free if free else result.forced).items()}
    count = len(found["kl"])
    if free:
        mixed = result.mixed[prompt]
        told = [f"step {i + 1}" + ("<br>the texts before differ" if mixed[i] else "") for i in range(count)]
    else:
        told = [_step(result, prompt, i) for i in range(count)]
    return {"x": range(1, count + 1), "values": _curves(found), "estimates": _estimates(found), "told": told}


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
        f"pruned: {100 * result.probability[prompt, i]:.0f} %; its likeliest is ‘{style.plain(tops[0])}’"
    )


def worst(result: DriftResult, prompt: int, count: int = 5) -> list[tuple[int, int, int]]:
    """The stretches of text that hurt most.

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


def strip(result: DriftResult, prompt: int, chosen: int | None = None, span: tuple[int, int] | None = None) -> str:
    """The dense model's text as HTML, each token on a ground that is the redder, the further the pruned model is from it.

    Parameters
    ----------
    chosen : int, optional
        A step that gets a frame.
    span : (start, stop), optional
        Steps that get a line below.
    """
    kl, spans = result.forced["kl"][prompt], []
    red, green, blue = (int(style.DROP[i : i + 2], 16) for i in (1, 3, 5))
    last = len(result.dense_pieces[prompt]) - 1
    for i, piece in enumerate(result.dense_pieces[prompt]):
        ends = i == last and result.dense_ended[prompt]
        kinds = ["chosen"] * (i == chosen) + ["span"] * (span is not None and span[0] <= i < span[1]) + ["end"] * ends
        title = html.escape(_title(result, prompt, i), quote=True)
        ground = f"background: rgba({red}, {green}, {blue}, {_shade(kl[i]):.2f})"
        text = " ⟨end of text⟩" if ends else piece
        spans.append(f'<span class="{" ".join(kinds)}" style="{ground}" title="{title}">{html.escape(text)}</span>')
    return f'{STYLE}<div class="drift">{"".join(spans)}</div>'


def _shade(kl: float) -> float:
    """How strong the colour is: as log(1 + KL), or small ones would not be seen beside large ones."""
    return 0.0 if not np.isfinite(kl) else _STRONGEST * min(1.0, float(np.log1p(kl) / np.log1p(LOUD)))


def _title(result: DriftResult, prompt: int, i: int) -> str:
    rank, dense, pruned = (each[prompt, i] for each in (result.rank, result.dense_probability, result.probability))
    return (
        f"step {i + 1}: KL {style.number(result.forced['kl'][prompt, i])} nats\n"
        f"probability of this token: dense {dense:.1%}, pruned {pruned:.1%}\n"
        f"the pruned model finds {int(rank) or 'no'} other token{'' if rank == 1 else 's'} likelier"
    )


def written(result: DriftResult, prompt: int, pruned: bool) -> str:
    """What one model writes on its own, as HTML: a red edge where the texts part, amber what the other text has not."""
    sides = (result.dense_ids[prompt], result.ids[prompt])
    ids, other = ([each for each in side.tolist() if each >= 0] for side in (sides[::-1] if pruned else sides))
    pieces, ended = (
        (result.pieces[prompt], result.ended[prompt]) if pruned else (result.dense_pieces[prompt], result.dense_ended[prompt])
    )
    blocks = SequenceMatcher(None, ids, other, autojunk=False).get_matching_blocks()
    same = {block.a + i for block in blocks for i in range(block.size)}
    spans = []
    for i, piece in enumerate(pieces):
        ends = ended and i == len(pieces) - 1
        kinds = ["parts"] * (i == result.divergence[prompt]) + ["differs"] * (i not in same) + ["end"] * ends
        spans.append(f'<span class="{" ".join(kinds)}">{html.escape(" ⟨end of text⟩" if ends else piece)}</span>')
    return f'{STYLE}<div class="drift">{"".join(spans)}</div>'


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
            x=[float(f"{each:.4g}") for each in kept], y=places, orientation="h", name=name, showlegend=False,
            marker=style.marker(colour, [int(each) == written_id for each in ids[prompt, step][: len(texts)]]),
            customdata=[[text] for text in texts], hovertemplate="‘%{customdata[0]}’: %{x:.3~g} %<extra></extra>",
            text=[f"{each:.2g} %" if each < 10 else f"{each:.0f} %" for each in kept], textposition="outside", cliponaxis=False,
            row=1, col=column,
        )  # fmt: skip
        ticks = {"tickvals": places, "ticktext": [f"‘{_short(text)}’" for text in texts], "autorange": "reversed"}
        figure.update_yaxes(style.axis(None, showgrid=False, **ticks), row=1, col=column)
    figure.update_yaxes(title={"text": "token", "standoff": 6}, col=1)
    figure.update_xaxes(style.axis("probability (%)", range=[0, 118], tickvals=[0, 50, 100]))
    figure.update_annotations(font={"size": 13})
    for title, axis in zip(figure.layout.annotations, figure.select_xaxes(), strict=True):
        title.update(x=axis.domain[0], xanchor="left")
    return style.frame(figure, 250, f"alternatives-{prompt}-{step}", bargap=0.3, margin={"l": 8, "r": 8, "t": 36, "b": 8})


def _short(text: str, letters: int = 14) -> str:
    return text if len(text) <= letters or "&" in text else text[: letters - 1] + "…"
