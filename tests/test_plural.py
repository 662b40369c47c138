"""A number and its noun agree."""

import pytest

from refusal import plural


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 windows"), (1, "1 window"), (2, "2 windows"), (2048, "2,048 windows")]
)  # fmt: skip
def test_a_number_and_its_noun_agree(number, said):
    assert plural(number, "window") == said
    assert plural(number, "person", "people").endswith("person" if number == 1 else "people")
