"""A hub on this machine."""

import shutil
import threading

import pytest
from huggingface_hub import constants

from tests.models.hub import Hub


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
