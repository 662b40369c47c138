"""The scan, what was decided and what was compared are shown where the model is not: on a machine that never had its files."""

import shutil

import pytest

from probes.bundles import packed
from tests.pages.visitor import Visitor

FIELDS = {"plan": "a1", "windows": 4, "length": 16, "search_points": 1, "compare_length": 4}


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model, to be deleted."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def asked(visit, folder):
    """A plan measured, a scan, a search and a comparison."""
    visitor = visit("drop_lab", model=folder, **FIELDS).click("ask_fidelity").wait()
    visitor.go("scan").click("ask_drop_scan").wait().go("decide")
    visitor.at.multiselect(key="search_strategies").set_value(["kl"]).run()
    visitor.click("ask_search").wait().go("compare")
    visitor.at.text_area(key="compare_prompts").set_value("the capital\nof France").run()
    return visitor.click("compare_ask").wait()


def comparison(visitor):
    """The link's name of what was compared."""
    named = visitor.at.query_params["comparison"]
    return named if isinstance(named, str) else named[0]


def test_all_of_it_is_shown(asked, folder, link, restart, tmp_path):
    packed(asked.bench.store, asked.ref, tmp_path / "answers.zip")
    named = comparison(asked)
    shutil.rmtree(folder)
    restart()
    visitor = Visitor("scan", **(link | FIELDS | {"model": folder, "comparison": named}))
    assert "damage" in visitor.figures() and not visitor.has("ask_drop_scan") and not visitor.errors()
    visitor.go("decide").at.multiselect(key="search_strategies").set_value(["kl"]).run()
    assert "front" in visitor.whole().figures() and not visitor.has("ask_search") and not visitor.errors()
    plans = {row["plan"] for row in visitor.open("decide", "Plans").table("KL")}
    assert "a1" in plans and len(plans) == 2 and not visitor.errors(), "what was measured, and what the search chose"
    assert any("There is no folder" in each for each in visitor.open("decide", "Export").errors()), "an export needs the files"
    assert len(visitor.go("compare").table("notice")) == 2 and not visitor.has("ask_answers") and not visitor.errors()
    assert not visitor.bench.executor.residents() and not visitor.bench.jobs.list()
