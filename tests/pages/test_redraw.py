"""What a look costs: it parses once, reads each answer once, and never tokenizes, loads or computes in the page's thread."""

import re
from collections import Counter

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx
from transformers import PreTrainedTokenizerBase

from cache.store import Store
from models import lease
from pages.serving import metrics
from plans.plan import parse
from probes import HIDDEN, PROBES
from tests.pages.visitor import Visitor

ASKS = {
    "similarity": ["ask_similarity"],
    "key_rank": ["ask_key_rank", "ask_low_rank_attention"],
    "deviation": ["ask_transitions", "ask_generation_drift", "ask_choice_subspace", "ask_step_layers"],
    "drop_lab": ["ask_fidelity"],
    "scan": ["ask_drop_scan"],
    "decide": ["ask_search"],
    "compare": ["compare_ask"],
}
# Pages, and of those with tabs that are drawn when they are opened, each.
VIEWS = [
    *((page, "", "") for page in (*ASKS, "model", "storage") if page not in ("decide", "compare")),
    *(("decide", "decide", tab) for tab in ("Search", "Plans", "Tasks", "Export")),
    *(("compare", "compare", tab) for tab in ("Read", "Blind vote")),
]
ITEM = '{"question": "Two and two is", "options": ["five", "four"], "answer": "B"}'
FIELDS = {
    "plan": "a1,m2", "drift_prompts": "the capital of France", "drift_steps": 3, "chat_turn": "false", "windows": 4,
    "length": 16, "search_points": 1, "compare_length": 4,
}  # fmt: skip


@pytest.fixture
def answered(visit):
    """A person who has asked everything, and plays on every page."""
    visitor = visit("similarity", **FIELDS)
    for page, asks in ASKS.items():
        visitor.go(page)
        if page == "deviation":
            visitor.at.text_area(key="own_items").set_value(ITEM).run()
        if page == "decide":
            visitor.at.multiselect(key="search_strategies").set_value(["kl"]).run()
        if page == "compare":
            visitor.at.text_area(key="compare_prompts").set_value("the capital\nof France").run()
        for ask in asks:
            visitor.click(ask).wait()
    return visitor


def views(visitor):
    """Open every page and every tab in turn."""
    for page, tabs, tab in VIEWS:
        visitor.go(page)
        if tabs:
            visitor.open(tabs, tab)
        yield f"{page} {tab}".strip()


@pytest.fixture
def reads(monkeypatch):
    """Which question each read of the store was about."""
    seen, read = [], Store.read

    def counted(self, key, hit=True):
        row = read(self, key, hit)
        question = (row.about if row else {}).get("question", {})
        seen.append((question.get("probe", "other"), question.get("plan"), key))
        return row

    monkeypatch.setattr(Store, "read", counted)
    return seen


@pytest.fixture
def no_work_in_pages(monkeypatch):
    """A tokenizer that refuses to work in the thread of a page, and probes that do."""

    def guarded(work):
        def guard(*args, **more):
            assert get_script_run_ctx(suppress_warning=True) is None, f"{work} ran in the thread of a page"
            return work(*args, **more)

        return guard

    for name in ("__call__", "encode", "tokenize", "apply_chat_template"):
        monkeypatch.setattr(PreTrainedTokenizerBase, name, guarded(getattr(PreTrainedTokenizerBase, name)))
    monkeypatch.setattr("models.lease.read", guarded(lease.read))


def test_a_redraw_reads_each_answer_once(answered, reads):
    shown = set()
    for page in views(answered):
        reads.clear()
        answered.look()
        times = Counter(reads)
        answers = {name: count for name, count in times.items() if name[0] in PROBES}
        shown |= {name[0] for name in answers}
        assert set(answers.values()) <= {1}, (page, answers)
        others = {name: count for name, count in times.items() if name[0] in HIDDEN}
        assert max(others.values()) <= 2, (page, others)  # the sidebar asks, and the page
    assert shown == set(PROBES) - {"stability", "speed", "evaluate"}, "of every probe that was asked an answer was shown"


def test_a_redraw_parses_no_plan_twice(answered):
    for page in views(answered):
        parse.cache_clear()
        answered.look()
        first = parse.cache_info()
        assert first.misses == first.currsize > 0, f"{page} parses again what it has parsed"
        assert answered.look() and parse.cache_info().misses == first.misses, page


@pytest.mark.usefixtures("no_work_in_pages")
def test_nothing_is_tokenized_or_loaded_in_the_thread_of_a_page(answered, link):
    """Neither while everything is asked, which the fixture does, nor while it is looked at, nor by a plan that learns."""
    assert list(views(answered))
    answered.at.text_input(key="plan").set_value("w:wanda@0.5").run()
    answered.go("drop_lab").click("ask_fidelity").wait().click("answer").wait()
    assert not answered.errors() and len(answered.bench.lives()[0].tokens) == 2
    answered.bench.executor.leases.release()
    fresh = Visitor("drop_lab", **(link | FIELDS))
    fresh.click("answer").wait()
    assert not fresh.errors() and all(fresh.bench.lives()[-1].tokens)


def test_a_look_computes_and_leases_nothing(answered, monkeypatch):
    """With everything known, no page leases the model."""

    def never(*_, **__):
        raise AssertionError("a page leased the model")

    monkeypatch.setattr(answered.bench.executor.leases, "lease", never)
    before = len(answered.bench.jobs.list()), len(answered.bench.store.entries())
    for page in views(answered):
        assert not answered.errors(), page
    assert (len(answered.bench.jobs.list()), len(answered.bench.store.entries())) == before


def test_the_server_counts_how_long_it_draws_each_page(visit):
    def drawn():
        return float(re.search(r'page_seconds_count\{page="Similarity"\} (.*)', metrics.text().decode())[1])

    visitor = visit("similarity")
    before = drawn()
    visitor.look().look()
    assert drawn() == before + 2
