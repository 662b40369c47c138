"""Where a plan hurts along a text."""

import numpy as np
import plotly.graph_objects as go

from charts import style
from probes.deviation.fidelity import FidelityResult

_CONTEXT = 8  # tokens before the predicted one in the hover text
_WORST = 5  # tokens named in the chart


def damage(result: FidelityResult, pieces: list[list[str]] | None, window: int) -> go.Figure:
    """KL(dense‖pruned) at each predicted token of one window.

    Parameters
    ----------
    result : FidelityResult
    pieces : list of list of str, optional
        Text of every token of every window, the first one included; without it hover texts have numbers only.
    window : int
        Which window, from 0.

    Returns
    -------
    Figure
        Bars over the position of the predicted token in the window, from 1; the worst are named.

    Raises
    ------
    ValueError
        The window does not exist, or its text has another number of tokens.
    """
    if not 0 <= window < len(result.token_kl):
        raise ValueError(f"There is no window {window}; the result has windows 0 to {len(result.token_kl) - 1}.")
    kl = np.asarray(result.token_kl[window], float)
    texts = None if pieces is None else [style.plain(piece) for piece in pieces[window]]
    if texts is not None and len(texts) != len(kl) + 1:
        raise ValueError(f"Window {window} has {len(kl) + 1} tokens, but texts of {len(texts)} were given.")
    nll = zip(result.dense_token_nll[window].tolist(), result.token_nll[window].tolist(), strict=True)
    figure = go.Figure()
    figure.add_bar(
        x=list(range(1, len(kl) + 1)),
        y=[style.rounded(value) for value in kl],
        marker={"color": style.DROP, "line": {"width": 0}},
        customdata=[[_sentence(i, kl[i - 1], *both, texts)] for i, both in enumerate(nll, 1)],
        hovertemplate="%{customdata[0]}<extra></extra>",
        name="KL per token",
        **style.UNFADED,
    )
    mean, ends = float(kl.mean()), [0.5, len(kl) + 0.5]
    look = {"mode": "lines", "line": {"color": style.MUTED, "width": 1.5, "dash": "dot"}, "hoverinfo": "skip"}
    figure.add_scatter(x=ends, y=[mean, mean], name=f"window mean: {style.number(mean)} nats", **look)
    if texts:
        _name_worst(figure, kl, texts)
    figure.update_xaxes(style.axis("position in the window (tokens)", showgrid=False, nticks=12, range=ends))
    figure.update_yaxes(style.axis("KL (nats)", rangemode="tozero", nticks=5))
    return style.frame(figure, 320, f"damage-{window}", 16, finding=_concentrated(kl), hovermode="x", bargap=0.1)


def _name_worst(figure: go.Figure, kl: np.ndarray, texts: list[str]) -> None:
    """Write over the highest bars which tokens they are."""
    for i in _worst(kl):
        label = style.shortened(texts[i + 1].strip() or "␣")
        look = {"showarrow": False, "yshift": 9, "xanchor": _side(i, len(kl)), "font": {"size": 12}}
        figure.add_annotation(x=i + 1, y=kl[i], text=label, **look)


def _concentrated(kl: np.ndarray) -> str:
    """How few tokens hold half of the KL, in words."""
    if not kl.sum() > 0:
        return "No token of this window is predicted differently"
    held = np.cumsum(-np.sort(-kl)) / kl.sum()
    return f"Half of the window’s KL is in {int((held < 0.5).sum()) + 1} of its {len(kl)} tokens"


def _sentence(i: int, kl: float, dense: float, pruned: float, texts: list[str] | None) -> str:
    """Token ``i`` of the window, the tokens before it, and how likely it is to both models."""
    seen = f"Token {i}"
    if texts:
        before = "".join(texts[max(0, i - _CONTEXT) : i])
        seen += f": {'…' if i > _CONTEXT else ''}{before}<b>{texts[i] or '∅'}</b>"
    return (
        f"{seen}<br>KL {style.number(kl)} nats<br>negative log-likelihood: "
        f"dense {style.number(dense)} nats, pruned {style.number(pruned)} nats"
    )


def _worst(kl: np.ndarray) -> list[int]:
    """The highest bars that stand far enough apart to be named."""
    found: list[int] = []
    for i in np.argsort(-kl, kind="stable").tolist():
        if len(found) == _WORST or kl[i] <= 0:
            break
        if all(abs(i - other) > len(kl) / 12 for other in found):
            found.append(i)
    return found


def _side(place: int, count: int) -> str:
    """Which end of a label stands over its bar, so that those of the first and last bars stay inside the plot."""
    if place < count / 20:
        return "left"
    return "right" if place > count * 19 / 20 else "center"
