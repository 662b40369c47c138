"""What the tour shows is what the probes give now."""

import math

import numpy as np
import pytest

from cache.codec import decode
from cache.store import Store
from models.lease import Leases
from probes.answer import answer
from probes.base import as_dict
from probes.known import Known
from probes.question import resolve
from probes.tour.shipped import MODEL, QUESTIONS, shipped

pytestmark = pytest.mark.real
CLOSE = 2e-4  # of a number, relative or as it is: sums differ between processors
STRETCHED = 2e-3  # of what a sublayer's output says alone: it is short, and the final norm stretches its rounding


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """Ask a question of the bundled model, with one store for all."""
    store, leases = Store(tmp_path_factory.mktemp("tour"), 2**30), Leases()
    known = Known(store)
    with leases.lease(MODEL):  # unpacked first: a question names the model by its files
        yield lambda question: decode(answer(resolve(question, known.identify), leases.lease, store)[0])
    store.close()


def apart(found, shown, where=""):
    """Where two results differ by more than rounding."""
    close = STRETCHED if where.startswith(".raw_") else CLOSE
    if isinstance(shown, dict):
        return [each for name in shown for each in apart(found[name], shown[name], f"{where}.{name}")]
    if isinstance(shown, list | tuple):
        if len(found) != len(shown):
            return [f"{where}: {len(found)} and {len(shown)} long"]
        return [each for i, value in enumerate(shown) for each in apart(found[i], value, f"{where}[{i}]")]
    if isinstance(shown, np.ndarray) and shown.dtype.kind == "f":
        same = found.shape == shown.shape and np.allclose(found, shown, rtol=close, atol=close, equal_nan=True)
    elif isinstance(shown, np.ndarray):
        same = np.array_equal(found, shown)
    elif isinstance(shown, float):
        same = math.isclose(found, shown, rel_tol=close, abs_tol=close) or (math.isnan(found) and math.isnan(shown))
    else:
        same = found == shown
    return [] if same else [f"{where}: {found!r} and {shown!r}"[:200]]


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_shipped_answer_is_computed_again(asking, name):
    assert apart(asking(QUESTIONS[name]), as_dict(shipped()[name].result)) == []


def test_a_number_that_changed_is_seen():
    shown = {"kl": 0.5, "rows": [np.array([1.0, np.nan])], "ids": np.array([1, 2])}
    assert apart(shown, shown) == []
    assert apart(shown | {"kl": 0.501}, shown) == [".kl: 0.501 and 0.5"]
    assert apart({"raw_kl": 0.5005}, {"raw_kl": 0.5}) == [] and apart({"raw_kl": 0.505}, {"raw_kl": 0.5})
    assert len(apart(shown | {"rows": [np.array([1.001, np.nan])], "ids": np.array([1, 3])}, shown)) == 2
