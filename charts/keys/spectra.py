"""Spectra of keys: how many dimensions explain a share of the variance, and whether the directions hold on other text.

The key rank page reaches this through `charts.keys.key_rank`.
"""

import numpy as np
import plotly.graph_objects as go
import torch

from charts import scales, style
from measures.spectra import rank_at
from probes.keys.key_rank import LEVELS, KeyRankResult

PRE, POST, VALUE, QUERY = style.BLOCK, style.ATTENTION, style.MLP, style.MUTED
_SAME, _LIKE = 0.8, 0.5  # of the way from chance to the same subspace


def ranks(result: KeyRankResult, states: str, level: float) -> np.ndarray | None:
    """Fewest leading dimensions that explain ``level`` of the variance.

    Parameters
    ----------
    states : {"pre", "post", "value", "query", "without_first"}
    level : float
        One of `LEVELS`.

    Returns
    -------
    int64 array of shape (layers, heads), or None
        Queries are known at the level that was asked for alone.
    """
    if states in ("pre", "post"):
        return np.asarray(getattr(result, f"ranks_{states}"))[LEVELS.index(level)]
    if states == "query":
        return np.asarray(result.rank_query) if level == result.level else None
    spectra = result.spectra_value if states == "value" else result.without_first.spectra
    return rank_at(torch.from_numpy(spectra), level).numpy()


def mean_rank(found: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over layers of the mean rank over heads."""
    layers = found.mean(axis=1)
    return float(layers.mean()), float(layers.std())


def spectrum(result: KeyRankResult, layer: int, head: int, level: float) -> go.Figure:
    """Variance explained by the leading dimensions of one head, against all heads of the model.

    Parameters
    ----------
    level : float
        One of `LEVELS`: where the lines are annotated; the other levels are marked.

    Returns
    -------
    Figure
        Lines of the head before and after rotation, one line where they are the same; dotted the mean over all heads and
        shaded its 5–95 %, as attention sees the keys.
    """
    figure, x = go.Figure(), list(range(1, result.head_dim + 1))
    everyone = _cumulative(result.spectra_post)
    varying = everyone[..., -1] > 50
    if varying.any():
        low, high = np.quantile(everyone[varying], [0.05, 0.95], axis=0)
        figure.add_trace(shade(x, low, high, style.MUTED, "all"))
        mean, line = everyone[varying].mean(axis=0), {"color": style.MUTED, "width": 2, "dash": "dot"}
        about = {"name": "all heads: mean, 5–95 %", "legendgroup": "all", "hoverinfo": "skip"}
        figure.add_scatter(x=x, y=_rounded(mean), mode="lines", line=line, **about)
    kinds = [("post", "rotated" if result.rotary[layer] else "keys", POST)]
    kinds += [("pre", "before rotation", PRE)] if result.rotary[layer] else []
    for place, (states, name, colour) in enumerate(kinds):
        shares = _cumulative(getattr(result, f"spectra_{states}"))[layer, head]
        _line(figure, shares, name, colour)
        found = {each: int(ranks(result, states, each)[layer, head]) for each in LEVELS}
        if found[level]:
            _levels(figure, found, shares, level, name, colour, place)
    figure.add_hline(y=100 * level, line={"color": style.LINE, "width": 1})
    figure.update_xaxes(style.axis("leading dimensions", range=[0, result.head_dim + 1], nticks=8, showgrid=False))
    figure.update_yaxes(style.axis("variance explained (%)", range=[0, 104], nticks=6))
    rank = int(ranks(result, "post", level)[layer, head])
    finding = f"{rank} of {result.head_dim} dimensions explain {100 * level:g} % of the variance of these keys"
    finding = finding if rank else "These keys do not vary"
    return style.frame(figure, 420, f"spectrum-{layer}-{head}", finding=finding, hovermode="x")


def _cumulative(spectra: np.ndarray) -> np.ndarray:
    return 100 * np.cumsum(spectra, axis=-1)


def _rounded(values: np.ndarray) -> list[float | None]:
    return [style.rounded(value) for value in values]


def _line(figure: go.Figure, shares: np.ndarray, name: str, colour: str) -> None:
    figure.add_scatter(
        x=list(range(1, len(shares) + 1)),
        y=_rounded(shares),
        mode="lines",
        line={"color": colour, "width": 2.5},
        name=f"this head, {name}" if name != "keys" else "this head",
        hovertemplate=f"{name}: <b>%{{x}}</b> dimensions explain <b>%{{y:.1f}} %</b><extra></extra>",
    )


def _levels(
    figure: go.Figure, found: dict[float, int], shares: np.ndarray, level: float, name: str, colour: str, place: int
) -> None:
    """Marks where a line reaches each level, and the number at the chosen one; two numbers go to two sides."""
    places = list(found.values())
    figure.add_scatter(
        x=places,
        y=_rounded(shares[np.array(places) - 1]),
        mode="markers",
        marker={
            "color": colour,
            "size": [12 if each == level else 7 for each in found],
            "line": {"color": "#FFFFFF", "width": 1},
        },
        name=f"{name} at the levels",
        showlegend=False,
        hoverinfo="skip",
    )
    rank, right = found[level], found[level] > 0.6 * len(shares)
    line, ends = {"color": colour, "width": 1, "dash": "dot"}, [float(shares[rank - 1]), 0]
    figure.add_scatter(x=[rank, rank], y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip")
    text = f"<b>{rank}</b> {name}" if name != "keys" else f"<b>{rank}</b>"
    look = {"font": {"color": colour, "size": 13}, "showarrow": False, "xanchor": "right" if right else "left"}
    figure.add_annotation(x=rank, y=4 + 8 * place, text=text, xshift=-5 if right else 5, **look)


def overlap(result: KeyRankResult) -> go.Figure:
    """How alike the leading subspaces of two texts are, by layer, beside what two random subspaces would give.

    Returns
    -------
    Figure
        Overlap is the mean squared cosine of the principal angles, mean over heads: 1 is the same subspace.
    """
    figure, x = go.Figure(), list(range(result.layers))
    kinds = [("post", "keys, rotated" if any(result.rotary) else "keys", POST)]
    kinds += [("pre", "keys before rotation", PRE)] if any(result.rotary) else []
    for states, name, colour in kinds:
        found, chance = (getattr(result, f"{what}_{states}") for what in ("overlap", "chance"))
        figure.add_scatter(
            x=x,
            y=found,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 5},
            name=name,
            legendgroup=states,
            customdata=[[style.number(one), style.number(other)] for one, other in zip(found, chance, strict=True)],
            hovertemplate=f"{style.capital(name)}: <b>%{{customdata[0]}}</b> (chance %{{customdata[1]}})<extra></extra>",
        )
        line = {"color": colour, "width": 1.5, "dash": "dot"}
        figure.add_scatter(
            x=x,
            y=chance,
            mode="lines",
            line=line,
            name="chance",
            legendgroup=states,
            showlegend=states == "post",
            hoverinfo="skip",
        )
    figure.update_xaxes(scales.layer_axis(result.layers, "layer", range=[-0.5, result.layers - 0.5]))
    figure.update_yaxes(style.axis("subspace overlap", range=[0, 1.05], nticks=6))
    found, chance = np.mean(result.overlap_post), np.mean(result.chance_post)
    finding = f"The leading directions overlap by {100 * found:.0f} %; random ones would by {100 * chance:.0f} %"
    return style.frame(figure, 320, "overlap", finding=finding, hovermode="x unified")


def overlap_in_words(result: KeyRankResult, text: str, other: str = "") -> str:
    """What the overlap means for a basis that is calibrated on one text and used on another.

    Parameters
    ----------
    text, other : str
        Names of the measured text and, where there is one, of the other text.
    """
    compared = {
        "halves": f"the first and the second half of {text}",
        "halves of one window": f"the first and the second half of {text} (a single window, so the positions differ as well)",
        "texts": f"{text} and {other}",
    }[result.compared]
    found, chance = np.array(result.overlap_post), np.array(result.chance_post)
    worst = int(found.argmin())
    if not chance.any():
        return "These keys are constant, so they have no directions to compare."
    if result.overlap_limited:
        return f"There are too few keys in {compared} to compare directions. Measure more or longer windows."
    overlap = (
        f"Between {compared}, the key directions that explain {100 * result.level:g} % of the variance overlap by "
        f"{100 * found.mean():.0f} % on average (random directions: {100 * chance.mean():.0f} %), least in layer {worst} "
        f"({100 * found[worst]:.0f} %). "
    )
    if (chance > 0.95).all():
        return overlap + "Nearly all directions are needed, so this says little."
    share = float(np.mean((found - chance) / np.maximum(1 - chance, 1e-9)))
    if share >= _SAME:
        return overlap + "A basis calibrated on one text works on the other."
    if share >= _LIKE:
        return overlap + "A basis calibrated on one text works only roughly on the other: calibrate on text like yours."
    return overlap + "A basis calibrated on one text does not carry over to the other."


def shade(x: list, low: np.ndarray, high: np.ndarray, colour: str, group: str) -> go.Scatter:
    """A pale area from low to high, shown and hidden with its group in the legend."""
    return go.Scatter(
        x=[*x, *x[::-1]],
        y=[*_rounded(low), *_rounded(high)[::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=style.pale(colour, 0.16),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )
