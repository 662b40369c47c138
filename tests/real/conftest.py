"""The bundled model is large enough to be worth all cores."""

import os

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def all_cores():
    """As many threads as there are cores, for these tests alone; one where other tests run beside them.

    Threads that wait for one that has no core spin: a test of 20 seconds took two minutes beside another process.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
