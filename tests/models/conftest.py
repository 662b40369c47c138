"""A hub on this machine, and models to lease."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import constants

from models.loading.load import read
from models.subject import ModelRef
from tests.models.hub import Hub
from tests.models.leases import spoilt


@pytest.fixture
def hub(tiny_folder, tmp_path, monkeypatch):
    """A hub with a copy of the tiny model as ``owner/tiny``, and nothing fetched from it yet."""
    server = Hub(shutil.copytree(tiny_folder, tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


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
