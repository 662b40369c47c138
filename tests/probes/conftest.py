"""What several tests of probes need."""

import pytest


@pytest.fixture
def own_data(monkeypatch, tmp_path):
    """Each test has its own data directory, with its exports in it, and a short text."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text("The capital of France is Paris, and the capital of the arts. " * 40)
    return tmp_path / "data"
