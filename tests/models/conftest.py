"""A hub on this machine, and models to lease."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.loading.load import read
from models.subject import ModelRef
from tests.models.hub import serving_hub
from tests.models.leases import spoilt


@pytest.fixture
def hub(tiny_folder, tmp_path, monkeypatch):
    """A hub with a copy of the tiny model as ``owner/tiny``, and nothing fetched from it yet."""
    with serving_hub(shutil.copytree(tiny_folder, tmp_path / "served"), tmp_path / "hub", monkeypatch) as server:
        yield server


@pytest.fixture
def folders(tiny_folder, tmp_path):
    """References to three models of one size."""

    def made(name, eps):
        folder = shutil.copytree(tiny_folder, tmp_path / name)
        spoilt(folder, rms_norm_eps=eps)
        return ModelRef(str(folder), device="cpu")

    return [made(name, eps) for name, eps in (("a", 1e-3), ("b", 1e-4), ("c", 1e-5))]


@pytest.fixture
def reads(monkeypatch):
    """The names of the models whose weights were read, each time."""
    names = []

    def counted(wanted, progress):
        names.append(wanted.ref.name.rpartition("/")[2])
        return read(wanted, progress)

    monkeypatch.setattr("models.lease.read", counted)
    return names


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "model")
