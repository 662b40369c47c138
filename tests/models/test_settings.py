"""What the operator sets: read from the environment, or refused in a sentence."""

from pathlib import Path

import pytest

from refusal import Refusal
from settings import settings


@pytest.mark.parametrize(
    "text, cpu, cuda",
    [
        ("", None, None),
        ("16GB", 16 * 10**9, 16 * 10**9),
        ("500 MB", 500 * 10**6, 500 * 10**6),
        ("1.5gib", 3 * 2**29, 3 * 2**29),
        ("cpu=16GB, CUDA = 40GB", 16 * 10**9, 40 * 10**9),
        ("cuda=40GB", None, 40 * 10**9),
        ("16GB,cuda=40GB", 16 * 10**9, 40 * 10**9),
    ],
)
def test_memory(monkeypatch, text, cpu, cuda):
    monkeypatch.setenv("PRUNESCOPE_MEMORY", text)
    assert (settings().limit("cpu"), settings().limit("cuda")) == (cpu, cuda)


@pytest.mark.parametrize("text", ["16", "much", "-1GB", "tpu=16GB", "cpu=", "=16GB", "16GB,", "cpu=16GB cuda=4GB", "1e3GB"])
def test_memory_that_cannot_be_read(monkeypatch, text):
    monkeypatch.setenv("PRUNESCOPE_MEMORY", text)
    with pytest.raises(Refusal, match=r"PRUNESCOPE_MEMORY is .* Write a size .* cpu=16GB,cuda=40GB"):
        settings()


def test_data_and_trust(monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", "~/kept")
    monkeypatch.setenv("PRUNESCOPE_TRUST", "owner/name, /models/mine,")
    assert settings().data == Path.home() / "kept"
    assert settings().trust == {"owner/name", "/models/mine"}
    monkeypatch.delenv("PRUNESCOPE_TRUST")
    assert settings().trust == frozenset()
