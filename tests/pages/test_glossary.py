"""Every number is explained. `Visitor.whole` looks at each page that any test draws; here are the texts and the net itself."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from probes.glossary import GLOSSARY, explained
from tests.pages.visitor import Visitor, unexplained

ENTRIES = [entry for entries in GLOSSARY.values() for entry in entries]
PAGES = Path(__file__).parent.parent.parent / "pages"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.term)
def test_an_entry_is_complete_and_found_by_its_label(entry):
    assert all((entry.what, entry.formula, entry.good, entry.beware, entry.labels))
    assert entry.what.endswith(".") and all(label == label.lower() for label in entry.labels)
    assert explained(entry.labels[0].replace("*", "")) is entry
    assert entry.what in entry.help and entry.source in entry.help


def test_terms_stand_once():
    terms = [entry.term for entry in ENTRIES]
    assert len(set(terms)) == len(terms)


@pytest.mark.parametrize(
    "label, term",
    [
        ("KL, nats", "KL(dense‖pruned)"),
        ("KL(dense‖pruned), nats", "KL(dense‖pruned)"),
        ("KL reversed", "KL reversed"),
        ("KL, options", "KL over the options"),
        ("mean KL when judged", "KL(dense‖pruned)"),
        ("Perplexity, measured", "Perplexity"),
        ("importance (1 − cosine)", "Importance"),
        ("KV cache per token", "KV cache"),
        ("Decode, times as fast", "Times as fast"),
        ("rank before rotation", "Rank of keys"),
        ("effective rank before rotation", "Effective rank"),
        ("colour", None),
    ],
)
def test_a_label_leads_to_its_entry(label, term):
    assert getattr(explained(label), "term", None) == term


def test_a_number_without_an_explanation_is_seen():
    def page():
        import streamlit as st

        st.metric("Wonder", 3)
        st.metric("Perplexity", 3)
        st.dataframe([{"wonder": 1.0, "plan": "a1", "sure": True}])

    assert unexplained(AppTest.from_function(page).run()) == ["Wonder", "Perplexity", "wonder"]


def test_pages_draw_numbers_by_the_doors_that_explain():
    bare = re.compile(r"\.(dataframe|data_editor|metric)\(")
    assert [path.name for path in PAGES.rglob("*.py") if bare.search(path.read_text(encoding="utf-8"))] == ["skeleton.py"]


def test_the_page_lists_all_and_finds_by_words(link):
    visitor = Visitor("glossary", **link)
    assert all(entry.what in visitor.texts() for entry in ENTRIES)
    visitor.at.text_input(key="glossary_find").set_value("kendall").run()
    assert "by pairs" in visitor.texts() and "How surprised" not in visitor.texts()
    visitor.at.text_input(key="glossary_find").set_value("nosuchword").run()
    assert "No entry has these words" in visitor.texts()
