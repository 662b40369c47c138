"""Colours that can be told apart, numbers and spans as people say them."""

import itertools
import math

import numpy as np
import pytest
from plotly.subplots import make_subplots

from charts import scales, style
from charts.deviation.spaces import DASHES, PLANS, SIGNS, SYMBOLS
from plans.plan import Plan, parse

PAGES = ("#fbfcfc", "#ffffff", "#0e1117", "#0e1719")

# Linear RGB as seen with full protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes, 2009).
EYES = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb: np.ndarray) -> np.ndarray:
    matrix = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    xyz = matrix @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.0888]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colour", [style.ATTENTION, style.MLP, style.BLOCK, style.DROP, style.MUTED, *PLANS])
def test_every_colour_stands_out_from_every_page(colour, page):
    darker, lighter = sorted([luminance(colour), luminance(page)])
    assert (lighter + 0.05) / (darker + 0.05) >= 3


@pytest.mark.parametrize("eye", EYES)
def test_parts_are_told_apart_by_every_eye(eye):
    for one, other in itertools.combinations(style.COLOUR.values(), 2):
        seen = [lab(np.array(EYES[eye]) @ linear(colour)) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 20


@pytest.mark.parametrize("eye", EYES)
def test_plans_are_told_apart_by_every_eye_and_are_no_part(eye):
    seen = {colour: lab(np.array(EYES[eye]) @ linear(colour)) for colour in (*PLANS, *style.COLOUR.values(), style.DROP)}
    for one, other in itertools.combinations(PLANS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 30
    if eye == "all cones":
        for plan, part in itertools.product(PLANS, (*style.COLOUR.values(), style.DROP)):
            assert np.linalg.norm(seen[plan] - seen[part]) > 25


def test_plans_are_told_apart_in_black_and_white():
    assert all(len(set(each)) == len(PLANS) == 4 for each in (SYMBOLS, SIGNS, DASHES))


def test_the_scale_darkens_all_the_way():
    steps = [luminance(colour) for colour in style.NEAR_TO_FAR]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0031234, "0.00312"),
        (0.5, "0.500"),
        (12.44, "12.4"),
        (1234567, "1,234,567"),
        (1977724155.79, "1.98 × 10⁹"),
        (-0.031, "−0.0310"),
        (0, "0"),
        (4.2e-7, "4.20 × 10⁻⁷"),
        (math.inf, "∞"),
        (math.nan, "unknown"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert style.number(value) == text


def test_parameters_are_counted_in_words():
    assert [style.count(n) for n in (0, 999, 884_736, 7.24e9)] == ["0", "999", "885 thousand", "7.24 billion"]


def test_spans_are_spoken_and_written():
    assert style.span(21, 29) == "layers 21–28 (8 layers)"
    assert style.span(3, 4) == "layer 3"
    assert style.blocks(21, 29) == "b21-28"
    assert style.runs(parse("a1,b3-5,b9")) == [(3, 6), (9, 10)]
    assert style.runs(Plan()) == []


def test_token_text_cannot_be_markup():
    assert style.plain("<b>\n&\t\x07") == "&lt;b&gt;⏎&amp;⇥�"


@pytest.mark.parametrize("count", [1, 5, 30, 80, 126])
def test_few_layers_are_labelled(count):
    assert count / scales.layer_axis(count)["dtick"] <= 16


@pytest.mark.parametrize(
    ("value", "before", "text"),
    [
        (45.0, 40.0, "+12.5%"),
        (40.0, 40.0, "+0.0%"),
        (30.0, 40.0, "-25.0%"),
        (399.0, 40.0, "+897.5%"),
        (1977724155.8, 44.6, "4.4 × 10⁷ times"),
    ],
)
def test_a_change_is_a_share_until_it_is_many_times(value, before, text):
    assert style.change(value, before) == text


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.24, 0.38, 0.0, math.inf], {"nticks": 6}),
        ([0.02, 0.5], {"dtick": "D2"}),
        ([1e-4, 1.0], {"dtick": 1}),
        ([], {"nticks": 6}),
    ],
)
def test_a_logarithmic_axis_is_labelled_within_a_decade_too(values, ticks):
    assert scales.log_axis(values) == {"type": "log", "tickformat": "~g"} | ticks


def test_plots_leave_room_for_what_stands_on_them():
    figure = make_subplots(2, 1, subplot_titles=["one", "two"])
    before = [axis.domain for axis in figure.select_yaxes()]
    style.frame(figure, 280, "x", above=50)
    assert [axis.domain for axis in figure.select_yaxes()] == [tuple(0.75 * end for end in ends) for ends in before]
    assert figure.layout.annotations[0].y == 0.75, "the heading of the first stands where the room begins"
