"""Long tensors a few rows at a time, so that what is computed from them fits in memory or in the CPU's cache."""

import math


def row_chunks(rows: int, width: int, limit: int) -> list[slice]:
    """Slices of as many rows as ``limit`` values allow, and of one row at least; the last may be shorter.

    Parameters
    ----------
    rows, width : int
        Shape of the tensor; of logits, the width is the vocabulary.
    limit : int
        Most values in a chunk.
    """
    return _slices(rows, max(1, limit // width))


def even_chunks(rows: int, width: int, limit: int) -> list[slice]:
    """Slices of about the same length: for work that costs as much for a few rows as for many.

    A chunk has at most one row more than ``limit`` values allow.
    """
    return _slices(rows, math.ceil(rows / math.ceil(rows * width / limit))) if rows else []


def _slices(rows: int, size: int) -> list[slice]:
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
