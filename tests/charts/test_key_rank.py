"""Charts of the key rank probe: valid, labelled, clickable, and right about what they show."""

import dataclasses
import json

import numpy as np
import pytest

from charts.keys import key_rank
from probes.keys.key_rank import LEVELS
from tests.charts.fakes import axes
from tests.charts.fakes_key_rank import ranked

SHAPES = [(1, 1, 2), (5, 2, 16), (80, 8, 32), (3, 32, 8)]


def figures(result, level: float) -> dict:
    last = (result.layers - 1, result.heads - 1)
    return {
        "heads": key_rank.heads(result, level, last),
        "heads without a frame": key_rank.heads(result, level),
        "layers": key_rank.layers(result, level),
        "spectrum": key_rank.spectrum(result, *last, level),
        "overlap": key_rank.overlap(result),
    }


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_chart_is_valid_and_labelled(shape, rotary):
    for name, figure in figures(ranked(*shape, rotary=rotary), 0.9 if rotary else 0.99).items():
        text = figure.to_json()
        drawn = json.loads(text)
        assert drawn["layout"]["uirevision"] and drawn["layout"]["height"] > 150, name
        assert "NaN" not in text and "Infinity" not in text, name
        assert all(axis.title.text for axis in figure.select_xaxes()), name
        assert figure.layout.yaxis.title.text, name
        for axis in axes(figure):
            assert axis.dtick is None or abs(axis.range[1] - axis.range[0]) / axis.dtick <= 16, name


def heat(figure) -> list:
    return [trace for trace in figure.data if trace.type == "heatmap"]


def targets(figure) -> list:
    return [trace for trace in figure.data if trace.customdata is not None and trace.mode == "text"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_cell_has_the_rank_of_its_layer_and_head(level):
    result = ranked()
    figure = key_rank.heads(result, level)
    for states, map_, points in zip(("pre", "post"), heat(figure), targets(figure), strict=True):
        expected = getattr(result, f"ranks_{states}")[LEVELS.index(level)]
        np.testing.assert_array_equal(np.array(map_.z, int), expected)
        assert len(points.x) == result.layers * result.heads
        for x, y, (layer, head, text) in zip(points.x, points.y, points.customdata, strict=True):
            assert (y, x) == (layer, head)
            assert f"Layer {layer}, KV head {head}" in text and f"<b>{expected[layer, head]} of 16 dimensions</b>" in text
            assert f"{100 * level:g} % of the variance" in text and "effective rank" in text and "participation" in text


def test_both_maps_have_one_colour_scale_up_to_the_head_dimension():
    one, other = heat(key_rank.heads(ranked(), 0.9))
    assert (one.zmin, one.zmax) == (other.zmin, other.zmax) == (1, 16)
    assert [one.showscale, other.showscale] == [True, False]


def test_layers_go_downwards_in_both_maps():
    figure = key_rank.heads(ranked(), 0.9)
    assert all(axis.range == (4.5, -0.5) for axis in figure.select_yaxes())


def test_without_rotation_there_is_one_map_and_one_line():
    result = ranked(rotary=False)
    assert len(heat(key_rank.heads(result, 0.9))) == 1
    names = {trace.name for trace in (*key_rank.layers(result, 0.9).data, *key_rank.overlap(result).data)}
    assert "keys" in names and not any("rotat" in (name or "") for name in names)
    assert [trace.name for trace in key_rank.spectrum(result, 0, 0, 0.9).data if (trace.name or "").startswith("this")] == [
        "this head"
    ]


def test_the_chosen_head_is_framed_in_both_maps():
    figure = key_rank.heads(ranked(), 0.9, (3, 1))
    frames = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert {(shape.x0, shape.x1, shape.y0, shape.y1) for shape in frames} == {(0.5, 1.5, 2.5, 3.5)}
    assert {shape.xref for shape in frames} == {"x", "x2"}
    assert not key_rank.heads(ranked(), 0.9).layout.shapes


def test_keys_that_do_not_vary_have_an_empty_cell_that_says_so():
    result = ranked(still=True)
    figure = key_rank.heads(result, 0.9)
    assert all(map_.z[0][0] is None and map_.z[1][0] is not None for map_ in heat(figure))
    assert all("are constant" in points.customdata[0][2] for points in targets(figure))
    key_rank.spectrum(result, 0, 0, 0.9).to_json()


def test_numbers_are_written_where_they_fit():
    assert written(key_rank.heads(ranked(5, 2, 16), 0.9))
    assert not any(written(key_rank.heads(ranked(*shape), 0.9)) for shape in ((3, 32, 8), (80, 8, 32)))


def written(figure) -> bool:
    return any(getattr(trace, "text", None) for trace in figure.data)


def test_ranks_are_counted_from_the_spectra():
    result = ranked()
    for level in LEVELS:
        for states, spectra in (("value", result.spectra_value), ("without_first", result.without_first.spectra)):
            slowly = [[int(np.argmax(np.cumsum(head) >= level)) + 1 for head in layer] for layer in spectra]
            assert key_rank.ranks(result, states, level).tolist() == slowly
    assert key_rank.ranks(result, "query", 0.9).tolist() == result.rank_query
    assert key_rank.ranks(result, "query", 0.8) is None


def test_the_oracle_of_the_definition():
    result = dataclasses.replace(ranked(1, 1, 4), spectra_value=np.array([[[0.5, 0.3, 0.15, 0.05]]]))
    assert [key_rank.ranks(result, "value", level)[0, 0] for level in LEVELS] == [2, 3, 3, 4]


def test_the_mean_is_over_layers_of_the_means_over_heads():
    assert key_rank.mean_rank(np.array([[1, 3], [5, 7]])) == (4.0, 2.0)


def test_lines_are_means_over_heads_between_the_lowest_and_the_highest():
    result = ranked()
    figure = key_rank.layers(result, 0.95)
    lines = {trace.name: trace for trace in figure.data if trace.name}
    np.testing.assert_allclose(lines["keys, rotated"].y, result.ranks_post[2].mean(1))
    np.testing.assert_allclose(lines["keys before rotation"].y, result.ranks_pre[2].mean(1))
    assert "queries" not in lines and "queries" in {trace.name for trace in key_rank.layers(result, 0.9).data}
    band = next(trace for trace in figure.data if trace.fill == "toself" and trace.legendgroup == "post")
    np.testing.assert_allclose(band.y[:5], result.ranks_post[2].min(1))
    np.testing.assert_allclose(band.y[5:], result.ranks_post[2].max(1)[::-1])
    assert any("head dimension 16" in note.text for note in figure.layout.annotations)


def test_lines_differ_by_more_than_colour():
    lines = [trace for trace in key_rank.layers(ranked(), 0.9).data if trace.name]
    looks = [(trace.line.color, trace.line.dash) for trace in lines]
    assert len(set(looks)) == len(lines) == 5


def test_the_spectrum_adds_up_and_is_marked_at_the_levels():
    result = ranked()
    figure = key_rank.spectrum(result, 2, 1, 0.95)
    lines = {trace.name: trace for trace in figure.data if trace.name}
    for states, name in (("post", "rotated"), ("pre", "before rotation")):
        line = lines[f"this head, {name}"]
        np.testing.assert_allclose(line.y, 100 * np.cumsum(getattr(result, f"spectra_{states}")[2, 1]), rtol=1e-4)
        assert list(line.x) == list(range(1, 17)) and line.y[-1] == pytest.approx(100)
        expected = getattr(result, f"ranks_{states}")[:, 2, 1].tolist()
        marks = lines[f"{name} at the levels"]
        assert list(marks.x) == expected and max(marks.marker.size) == marks.marker.size[2]
        assert any(note.text == f"<b>{expected[2]}</b> {name}" for note in figure.layout.annotations)


def test_the_two_numbers_of_a_spectrum_do_not_lie_on_each_other():
    notes = key_rank.spectrum(ranked(), 0, 0, 0.9).layout.annotations
    assert len({note.y for note in notes}) == len(notes) == 2


def test_a_layer_without_rotation_has_one_line_in_a_model_that_rotates_others():
    result = dataclasses.replace(ranked(), rotary=[True, False, True, True, True])
    assert len(key_rank.spectrum(result, 1, 0, 0.9).layout.annotations) == 1
    assert len(key_rank.spectrum(result, 0, 0, 0.9).layout.annotations) == 2


def test_overlap_stands_beside_chance():
    result = ranked()
    figure = key_rank.overlap(result)
    lines = {(trace.name, trace.legendgroup): trace for trace in figure.data}
    assert list(lines["keys, rotated", "post"].y) == result.overlap_post
    assert list(lines["chance", "post"].y) == result.chance_post
    assert list(lines["chance", "pre"].y) == result.chance_pre


@pytest.mark.parametrize(
    "overlap, chance, verdict",
    [
        (0.97, 0.4, "works on the other."),
        (0.80, 0.4, "works only roughly"),
        (0.55, 0.4, "does not carry over"),
        (0.99, 0.98, "says little"),
        (0.99, 1.0, "says little"),
    ],
)
def test_the_reading_depends_on_the_way_from_chance(overlap, chance, verdict):
    result = dataclasses.replace(ranked(), overlap_post=[0.99 * overlap] + [overlap] * 4, chance_post=[chance] * 5)
    said = key_rank.overlap_in_words(result, "the news")
    assert verdict in said and "least in layer 0" in said and "the first and the second half of the news" in said
    assert f"random directions: {100 * chance:.0f} %" in said


def test_nothing_is_read_into_too_few_keys_or_into_keys_that_do_not_vary():
    result = ranked()
    few = dataclasses.replace(result, overlap_limited=True)
    said = key_rank.overlap_in_words(few, "a")
    assert "too few keys" in said and "works" not in said
    constant = dataclasses.replace(result, chance_post=[0.0] * result.layers, overlap_post=[1.0] * result.layers)
    assert "are constant" in key_rank.overlap_in_words(constant, "a")
