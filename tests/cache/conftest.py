"""A store of its own for each test, and jobs on it."""

import pytest

from cache.jobs import Jobs
from cache.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "answers")
    yield store
    store.close()


@pytest.fixture
def jobs(store):
    jobs = Jobs(store)
    yield jobs
    jobs.shutdown()
