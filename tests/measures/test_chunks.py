"""Chunks cover every row once, within their limit."""

import pytest

from measures.chunks import even_chunks, row_chunks


@pytest.mark.parametrize("chunks", [row_chunks, even_chunks])
@pytest.mark.parametrize("rows, width, limit", [(0, 5, 10), (1, 5, 3), (10, 5, 12), (10, 5, 1000), (7, 1, 3), (100, 3, 100)])
def test_every_row_is_in_one_chunk(chunks, rows, width, limit):
    places = [place for part in chunks(rows, width, limit) for place in range(rows)[part]]
    assert places == list(range(rows))


def test_a_chunk_holds_as_many_rows_as_fit_and_one_at_least():
    assert row_chunks(5, 10, 25) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert row_chunks(2, 10, 3) == [slice(0, 1), slice(1, 2)]


def test_even_chunks_are_about_equal():
    assert [part.stop - part.start for part in row_chunks(11, 1, 10)] == [10, 1]
    assert [part.stop - part.start for part in even_chunks(11, 1, 10)] == [6, 5]
