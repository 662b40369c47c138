"""The shell fetches a model that is on the hub and not on this machine, and needs the hub no more after that."""

import json
import shutil

import pytest
from huggingface_hub import constants

from tests.models.hub import serving_hub
from tests.probes.shell import SMALL, run

pytestmark = pytest.mark.usefixtures("own_data")


@pytest.fixture
def hub(tiny_folder, tmp_path, monkeypatch):
    """The tiny model as ``owner/tiny``."""
    with serving_hub(shutil.copytree(tiny_folder, tmp_path / "served"), tmp_path / "hub", monkeypatch) as server:
        yield server


@pytest.mark.usefixtures("hub")
def test_a_model_of_the_hub_is_fetched_and_measured(capsys, tiny_folder, monkeypatch):
    asked = ["similarity", *SMALL, "--json", "-", "--model"]
    code, out, err = run(capsys, *asked, "owner/tiny")
    assert code == 0, err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = [json.loads(run(capsys, *asked, name)[1]) for name in ("owner/tiny", tiny_folder)]
    assert [each["result"] for each in found] == [json.loads(out)["result"]] * 2
    assert all(each["about"]["from_cache"] for each in found), "a copy on this machine is the same model"
