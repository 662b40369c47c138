"""Perplexity is exp of the mean, and infinite where that does not fit."""

import math

import numpy as np

from measures.likelihood import perplexity


def test_perplexity_keeps_the_shape_and_may_be_infinite():
    assert perplexity(0.0) == 1 and float(perplexity(math.log(20))) == math.exp(math.log(20))
    assert perplexity(np.array([[0.0, 800.0]])).tolist() == [[1.0, math.inf]]
    assert math.isnan(perplexity(math.nan))
