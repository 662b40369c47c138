"""The chart of the fidelity probe: where it hurts."""

import json

import numpy as np
import pytest

from charts import style
from charts.deviation import fidelity
from tests.charts.fakes import axes, faithful

PIECES = [[f" w{i}" for i in range(40)], ["<s>", *(f" x{i}" for i in range(1, 40))]]


@pytest.mark.parametrize("pieces", [PIECES, None])
def test_damage_is_one_bar_per_predicted_token(pieces):
    result = faithful()
    figure = fidelity.damage(result, pieces, 1)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    bars = figure.data[0]
    assert list(bars.x) == list(range(1, 40))
    np.testing.assert_allclose(bars.y, result.token_kl[1], rtol=1e-3)
    text = bars.customdata[11][0]
    assert f"dense {style.number(result.dense_token_nll[1, 11])} nats" in text
    assert f"pruned {style.number(result.token_nll[1, 11])} nats" in text
    if pieces:
        assert "Token 12: … x4 x5 x6 x7 x8 x9 x10 x11<b> x12</b>" in text


def test_the_worst_token_is_named_and_markup_is_not():
    result = faithful()
    worst = int(result.token_kl[1].argmax()) + 1
    pieces = [PIECES[0], [*PIECES[1]]]
    pieces[1][worst] = "<i>"
    notes = fidelity.damage(result, pieces, 1).layout.annotations
    assert notes[0].text == "&lt;i&gt;" and notes[0].x == worst
    assert not fidelity.damage(result, None, 1).layout.annotations


def test_the_mean_is_drawn_and_told():
    mean = float(faithful().token_kl[0].mean())
    line = fidelity.damage(faithful(), None, 0).data[1]
    assert line.y[0] == pytest.approx(mean) and style.number(mean) in line.name


def test_a_window_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no window 2; the result has windows 0 to 1"):
        fidelity.damage(faithful(), PIECES, 2)
    with pytest.raises(ValueError, match="has 40 tokens, but texts of 39"):
        fidelity.damage(faithful(), [PIECES[0][1:]], 0)
