"""A chart drawn to look at: small, as a picture of what a page will show, or in full size, but with nothing to click."""

import plotly.graph_objects as go

from charts import style

HEIGHT = 180  # pixels


def small(figure: go.Figure) -> go.Figure:
    """The same chart without words, in place."""
    figure.layout.annotations = ()
    figure.update_layout(height=HEIGHT, showlegend=False, margin={"l": 0, "r": 0, "t": 4, "b": 0})
    figure.update_layout(dragmode=False, hovermode=False, uirevision="thumbnail")
    figure.update_xaxes(title=None, showticklabels=False)
    figure.update_yaxes(title=None, showticklabels=False)
    figure.update_traces(hoverinfo="skip", hovertemplate=None)
    figure.for_each_trace(_quiet)
    return figure


def still(figure: go.Figure) -> go.Figure:
    """The same chart to look at only: its points carry no item of a plan and do not invite a click, in place."""
    for trace in figure.data:
        if trace.customdata is not None:
            trace.customdata = [["", *map(_uninviting, rest)] for _, *rest in trace.customdata]
    return figure


def _uninviting(text: str) -> str:
    for dropped in (True, False):
        text = text.removesuffix(style.invitation(dropped)).removesuffix("<br>")
    return text


def _quiet(trace: go.Scatter | go.Heatmap) -> None:
    """Without a colour bar and without names at its points."""
    if trace.type == "heatmap":
        trace.update(showscale=False, text=None, texttemplate=None)
    elif trace.type == "scatter" and "text" in (trace.mode or ""):
        trace.update(mode=trace.mode.replace("+text", "").replace("text", "none"))
