"""Marks where two texts differ, and HTML that no token can break."""

import re

from charts import differences
from charts.generation import answers
from models.generate import Token


def test_marks_say_where_texts_part_and_what_the_other_lacks():
    assert differences.marks([1, 2, 9, 3], [1, 2, 3]) == [[], [], ["differs", "parts"], []]
    assert differences.marks([1, 2, 3], [1, 2, 9, 3]) == [[], [], ["parts"]]
    assert differences.marks([1, 2], [1, 2]) == differences.marks([1, 2], [1, 2, 3]) == [[], []]


def test_nothing_is_marked_before_the_other_text_begins():
    assert differences.marks([1, 2], []) == [[], []] and differences.marks([], [1]) == []


def test_a_token_is_never_markup():
    html = differences.token("<b>&", ["differs"], title='"<i>"')
    assert html == '<span class="differs" title="&quot;&lt;i&gt;&quot;">&lt;b&gt;&amp;</span>'
    assert differences.token("</s>", ends=True) == '<span class="end"> ⟨end of text⟩</span>'


def test_every_mark_has_a_style():
    for mark in ("differs", "parts", "unsure", "chosen", "end"):
        assert re.search(rf"\.{mark}\b[^{{]*{{", differences.STYLE)


def token(number: int, probability: float = 0.9, ends: bool = False) -> Token:
    return Token(number, f" t{number}", probability, ((f" t{number}", probability), ("<x>", 0.05)), 0.01, ends)


def test_an_answer_shows_marks_doubts_and_runners_up():
    html = answers.answer([token(1), token(2, 0.3), token(3, ends=True)], [token(1), token(4)])
    kinds = re.findall(r'<span class="([^"]*)"', html)
    assert kinds == ["", "differs parts unsure", "differs end"]
    assert "token 2, probability 30.00%" in html and "&lt;x&gt;" in html


def test_the_table_has_a_row_per_step():
    rows = answers.rows([[token(1), token(2)], [token(1)]], ["dense", "pruned"])
    assert [row["step"] for row in rows] == [1, 2] and "pruned" not in rows[1]
    assert answers.speed([token(1), token(2), token(3)]) == 100 and answers.speed([token(1)]) is None
