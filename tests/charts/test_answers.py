"""Tables and files of answers, and what stands below each."""

import csv
import io
import math

import numpy as np

from charts.generation import answers, votes
from probes.generation.answers import AnswersResult
from probes.generation.apart import Apart
from probes.generation.votes import Rate

FOUND = Apart(3, 0.5, 0.25, 0.123, 0.0, 7, 12, 64, True)
RATES = [
    Rate(0, 1, 7, 2, 1, 0, 0.75, 0.6, 0.9, 10, "better"),
    Rate(0, 2, 0, 0, 0, 4, math.nan, math.nan, math.nan, 0, "too few"),
]


def result(texts):
    count = len(texts)
    return AnswersResult(
        [f"p{i}" for i in range(count)], False, np.zeros((count, 1), int), [["x"]] * count, texts, [True] * count,
        np.ones((count, 1)), [[["x"]]] * count, np.ones((count, 1, 1)), np.array([math.nan] * count), [0] * count,
    )  # fmt: skip


def test_a_row_for_each_prompt_and_plan():
    same = Apart(None, 0.0, 1.0, math.nan, 0.0, None, 5, 5, False)
    rows = answers.summary(["p", "q"], ["dense", "a1", "a2"], [[FOUND, same], [same, FOUND]])
    assert [(row["prompt"], row["plan"]) for row in rows] == [("p", "a1"), ("p", "a2"), ("q", "a1"), ("q", "a2")]
    assert (rows[0]["first difference"], rows[1]["first difference"]) == (4, None)
    assert rows[0]["notice"] == "loops from token 8; ends early: 12 tokens, dense 64"
    assert answers.facts(FOUND).startswith("12 tokens · first difference at token 4 · KL 0.123 nats · ROUGE-L 0.25 · **loops")
    assert answers.facts(same) == "5 tokens · same as dense · ROUGE-L 1.00"


def test_a_file_holds_every_answer_and_no_formula():
    rows = answers.texts(["dense", "a1"], [result(["=1+1", "two\nlines"]), result(["-x", 'a "b", c'])])
    read = list(csv.DictReader(io.StringIO(answers.as_csv(rows))))
    assert [row["answer"] for row in read] == ["'=1+1", "two\nlines", "'-x", 'a "b", c']
    assert [(row["plan"], row["prompt"]) for row in read] == [("dense", "p0"), ("dense", "p1"), ("a1", "p0"), ("a1", "p1")]


def test_votes_are_drawn_with_their_interval():
    figure = votes.rates(RATES, ["dense", "a1", "a2"])
    [drawn] = figure.data
    assert drawn.x == (0.75,) and drawn.y == ("a1",)
    assert np.isclose(drawn.error_x.array[0], 0.15) and np.isclose(drawn.error_x.arrayminus[0], 0.15)
    assert "7 won, 2 lost, 1 tied" in drawn.hovertemplate
    rows = votes.table(RATES, ["dense", "a1", "a2"], np.zeros((3, 3)))
    assert [row["verdict"] for row in rows] == ["better", "too few"] and rows[1]["identical"] == 4
