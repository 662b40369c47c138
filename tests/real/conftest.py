"""The bundled model is large enough to be worth all cores."""

import os

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def all_cores():
    """As many threads as there are cores, for these tests alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
