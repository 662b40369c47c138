"""The shape of an 8-billion-parameter Llama: what similarity takes on top of a forward pass, in memory and in time."""

from statistics import median

import pytest

from benchmarks.gpu import works
from benchmarks.gpu.clock import peak, side_by_side
from benchmarks.gpu.shapes import DEVICE, corpus
from plans.cut import cut

ROOM = 1.5e9  # bytes beside the weights
SLOWER = 1.15  # times a bare pass over the same batches, as the model is called: all logits
WINDOWS = 8


@pytest.fixture(scope="module")
def text(large):
    return corpus(large[0], WINDOWS, 512 if DEVICE.type == "cuda" else 32)


def test_similarity_fits_beside_the_weights(large, text):
    subject, weights = large
    assert peak(works.similarity(subject, text)) <= weights + ROOM


def test_similarity_is_hardly_slower_than_a_forward_pass(large, text):
    subject, _ = large
    bare = works.forward(cut(subject), works.on_device(subject, text), together=True)
    times = side_by_side(5, {"bare": bare, "similarity": works.similarity(subject, text)})
    ratio = median(times["similarity"]) / median(times["bare"])
    if DEVICE.type == "cuda":  # a toy's ratio says nothing
        assert ratio <= SLOWER
