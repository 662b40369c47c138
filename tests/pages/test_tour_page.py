"""The tour: a first visit, with nothing loaded and nothing computed."""

import pytest

from tests.pages.visitor import Visitor


@pytest.fixture
def tour(link):
    """A first visit that takes the invitation."""
    visitor = Visitor("model", **link)
    assert visitor.links()["Take the tour"].startswith("tour")
    return visitor.go("tour")


def test_it_shows_real_charts_and_texts_without_a_model_and_without_the_store(tour):
    assert set(tour.figures()) == {"tour_importance"} and "hardly changes its direction" in tour.texts()
    tour.click("tour_next")
    assert set(tour.figures()) == {"tour_tried"} and "times** as much as four attention layers" in tour.texts()
    assert [each.label for each in tour.at.metric][:2] == ["KL(dense‖pruned), nats", "Perplexity"]
    tour.click("tour_next")
    assert any("Paris" in each.proto.body for each in tour.at.get("html")) and "KL 0." in tour.texts()
    tour.click("tour_next")
    assert not tour.has("tour_next") and tour.has("load_tour")
    assert "came with the app" in tour.texts() and "torch 2" in tour.texts()
    assert tour.anatomy is None and not tour.bench.store.entries() and not tour.bench.jobs.list()


def test_each_step_leads_to_a_page_with_its_plan(tour):
    assert tour.links()["Open this on Similarity"] == "similarity?take_plan=a25%2Ca26%2Ca28%2Ca29"
    tour.click("tour_next")
    assert "Open this attention plan in the Drop lab" in tour.links() and "Leave the tour" in tour.links()


def test_a_link_names_a_step(link):
    assert "A number says how much changed" in Visitor("tour", tour_step="3 · How it reads", **link).texts()
    first = Visitor("tour", tour_step="9", **link)
    assert "hardly changes its direction" in first.texts() and "tour_step=9, which is not possible here" in first.texts()


def test_its_end_loads_the_bundled_model_whatever_the_sidebar_names(tour, monkeypatch):
    named = []

    def load(bench, ref, owner=""):
        named.append(ref.name)
        return bench.jobs.submit("loading", "Load", lambda progress: None)

    monkeypatch.setattr(type(tour.bench), "load", load)
    for _ in range(3):
        tour.click("tour_next")
    tour.click("load_tour")
    assert named == ["bundled"] and tour.at.session_state["model"] == "bundled"


def test_the_invitation_can_be_hidden_and_is_gone_once_something_is_known(link, visit):
    visitor = Visitor("model", **link).click("tour_hide")
    assert "Take the tour" not in visitor.links()
    assert "Take the tour" not in visit("model").links()


def test_a_link_inside_the_app_brings_a_plan_to_a_field_that_is_there_already(link):
    visitor = Visitor("model", plan="a1", **link)
    visitor.at.query_params["take_plan"] = "m2"
    visitor.go("similarity")
    assert visitor.plan == "m2" and "take_plan" not in visitor.at.query_params
