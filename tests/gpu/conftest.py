"""What can only be seen on a CUDA device: everything in this folder is marked ``gpu``, and skipped elsewhere."""

import gc
import os
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.shapes import DEVICE, llama, weight_bytes

THERE = torch.cuda.is_available() or os.environ.get("PRUNESCOPE_TEST_DEVICE") == "cpu"  # to look at the code, not at numbers
NEEDS = 20e9  # bytes on the device for the 8B shape: 16 of weights, and what works on them


def pytest_collection_modifyitems(items):
    """Mark what is in this folder, and skip it where there is no device."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.gpu)
            if not THERE:
                item.add_marker(pytest.mark.skip(reason="There is no CUDA device here; `make test-gpu` on a machine with one."))


@pytest.fixture(scope="module")
def large():
    """A Llama of the 8B shape in bfloat16 with random weights, and the bytes of its weights."""
    if DEVICE.type == "cuda" and (free := torch.cuda.mem_get_info()[0]) < NEEDS:
        pytest.skip(f"The 8B shape needs {NEEDS / 1e9:.0f} GB on the device, and {free / 1e9:.0f} GB are free.")
    subject = llama("8B")
    yield subject, weight_bytes(subject)
    del subject
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
