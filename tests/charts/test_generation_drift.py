"""Charts of the generation drift probe: curves over steps, the coloured text, alternatives at a step."""

import json
import re

import numpy as np
import pytest

from charts import differences
from charts.deviation import generation_drift as charts
from tests.charts.fakes_deviation import drifted

RESULTS = {"a1": drifted(), "b2": drifted(size=1.0, seed=1)}
PADDED = drifted(steps=8, lengths=(5, 3))  # the pruned texts are longer than all dense ones


def lines(figure, name):
    return [trace for trace in figure.data if trace.name == name and len(trace.x) > 1]


@pytest.mark.parametrize("results", [RESULTS, {"a1": PADDED}, {"a1": None, "b2": RESULTS["b2"]}])
@pytest.mark.parametrize("prompt", [None, 0, 1])
@pytest.mark.parametrize("free", [False, True])
def test_every_chart_is_valid_and_labelled(results, prompt, free):
    figure = charts.steps(results, prompt, free)
    assert "NaN" not in figure.to_json() and json.loads(figure.to_json())
    assert all(axis.title.text for axis in figure.select_yaxes())
    assert [axis.title.text for axis in figure.select_xaxes()][-1] == "step (tokens generated)"


def test_lines_are_means_over_the_prompts_that_go_on():
    result = RESULTS["a1"]
    for line, name in zip(lines(charts.steps(RESULTS), "a1"), ("h_cosine", "z_cosine", "p_cosine", "kl"), strict=True):
        expected = np.nanmean(result.forced[name], axis=0)
        expected = expected if name == "kl" else 1 - expected
        assert list(line.x) == list(range(1, 9))
        np.testing.assert_allclose(np.array(line.y, float), expected, rtol=1e-4)
    assert "step 6, 2 of 3 prompts still generating" in lines(charts.steps(RESULTS), "a1")[0].customdata[5][0]


def test_bands_hold_the_middle_half_of_the_prompts():
    figure, found = charts.steps(RESULTS), RESULTS["a1"].forced_spread
    for space, name in ((0, "h_cosine"), (2, "p_cosine")):
        band = [trace for trace in figure.data if trace.name == "a1, spread"][space]
        np.testing.assert_allclose(np.array(band.y[:8], float), 1 - found[name][:, 4], rtol=1e-4)
        np.testing.assert_allclose(np.array(band.y[8:], float), 1 - found[name][::-1, 2], rtol=1e-4)
    assert not any(trace.fill for trace in charts.steps(RESULTS, prompt=0).data)


def test_estimates_are_dotted():
    dotted = [trace for trace in charts.steps(RESULTS).data if trace.name == "b2, estimate"]
    assert [trace.line.dash for trace in dotted] == ["dot"] * 4
    np.testing.assert_allclose(np.array(dotted[3].y, float), RESULTS["b2"].forced_spread["kl_estimate"][:, 0], rtol=1e-4)
    assert not any("estimate" in (trace.name or "") for trace in charts.steps(RESULTS, estimates=False).data)


def test_one_prompt_tells_its_tokens_and_ends_where_it_ended():
    line = lines(charts.steps(RESULTS, prompt=1), "a1")[3]
    np.testing.assert_allclose(np.array(line.y[:5], float), RESULTS["a1"].forced["kl"][1, :5], rtol=1e-4)
    assert line.y[5:] == (None, None, None) and "the text has ended" in line.customdata[6][0]
    texts = " ".join(row[0] for row in line.customdata[:5])
    assert "the dense model writes ‘" in texts and "its likeliest token is ‘" in texts and "<b>’" not in texts
    free = lines(charts.steps(RESULTS, prompt=0, free=True), "a1")[0]
    assert "the preceding texts differ" in free.customdata[7][0] and "differ" not in free.customdata[2][0]


def test_the_worst_spans_do_not_overlap_and_fall():
    result = drifted(steps=20, lengths=(20, 3))
    kl = result.forced["kl"][0]
    found = charts.worst(result, 0)
    sums = [kl[start:stop].sum() for start, stop, _ in found]
    assert sums == sorted(sums, reverse=True) and all(peak == start + kl[start:stop].argmax() for start, stop, peak in found)
    steps = [step for start, stop, _ in found for step in range(start, stop)]
    assert len(steps) == len(set(steps)) and max(sums) == max(kl[i : i + 5].sum() for i in range(16))
    assert charts.worst(result, 1) == [(0, 3, int(np.nanargmax(result.forced["kl"][1])))]


def test_the_tokens_are_the_text_and_the_redder_the_worse():
    result = drifted(size=1.0, seed=1)
    result.dense_pieces[0][1:4] = ["<b>&", "\n", ""]
    found = charts.tokens(result, 0)
    shown = ["⏎\n" if piece == "\n" else piece or "∅" for piece in result.dense_pieces[0]]
    assert [each["text"] for each in found] == shown and shown[1:4] == ["<b>&", "⏎\n", "∅"]
    shades = [float(re.search(r", ([\d.]+)\)", each["ground"])[1]) for each in found]
    order = np.argsort(result.forced["kl"][0])
    assert (np.diff(np.array(shades)[order]) >= 0).all() and 0 < max(shades) <= 0.65
    assert all(
        re.match(rf"step {i}: KL .+ nats · probability of this token: dense ", each["said"]) for i, each in enumerate(found, 1)
    )


def test_the_end_of_a_text_is_told():
    ended, cut_off = ([each["ends"] for each in charts.tokens(RESULTS["a1"], prompt)] for prompt in (1, 0))
    assert ended == [False] * 4 + [True] and not any(cut_off)
    assert "⟨end of text⟩" in charts.tokens(RESULTS["a1"], 1)[-1]["text"]


def test_both_texts_are_marked_where_they_part():
    result = drifted(size=1.0, seed=1)
    result.dense_pieces[0][1] = result.pieces[0][1] = "<b>"
    for pruned in (False, True):
        body = charts.written(result, 0, pruned).replace(differences.STYLE, "")
        kinds = re.findall(r'class="([^"]*)"', body)[1:]
        assert [i for i, each in enumerate(kinds) if "parts" in each] == [result.divergence[0]]
        assert any("differs" in each for each in kinds) and "<b>" not in body


def test_equal_texts_have_no_mark():
    same = drifted(size=0.0)
    body = charts.written(same, 0, True).replace(differences.STYLE, "")
    assert same.divergence == [None] * 3 and "parts" not in body and "differs" not in body


@pytest.mark.parametrize("step", [0, 4])
def test_alternatives_of_both_models(step):
    result = RESULTS["a1"]
    figure = charts.alternatives(result, 0, step)
    assert json.loads(figure.to_json()) and all(axis.title.text for axis in figure.select_xaxes())
    dense, pruned = figure.data
    np.testing.assert_allclose(dense.x, 100 * result.dense_top_probability[0, step], rtol=1e-3)
    np.testing.assert_allclose(pruned.x, 100 * result.top_probability[0, step], rtol=1e-3)
    assert dense.marker.pattern.shape[0] == "/" and sum(map(bool, dense.marker.pattern.shape)) == 1
    assert all("<b>" not in text for text in figure.layout.yaxis.ticktext)
