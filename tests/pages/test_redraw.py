"""What a look costs: it parses once, reads each answer once, and never tokenizes, loads or computes in the page's thread."""

from collections import Counter

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx
from transformers import PreTrainedTokenizerBase

from cache.store import Store
from models import lease
from plans.plan import parse
from probes import HIDDEN, PROBES
from tests.pages.visitor import Visitor

ASKS = {
    "similarity": ["ask_similarity"],
    "key_rank": ["ask_key_rank", "ask_low_rank_attention"],
    "deviation": ["ask_transitions", "ask_generation_drift", "ask_choice_subspace"],
    "drop_lab": ["ask_fidelity"],
}
ITEM = '{"question": "Two and two is", "options": ["five", "four"], "answer": "B"}'
FIELDS = {"plan": "a1,m2", "drift_prompts": "the capital of France", "drift_steps": 3, "chat_turn": "false"}


@pytest.fixture
def answered(visit):
    """A person who has asked everything, and plays on every page."""
    visitor = visit("similarity", **FIELDS)
    for page, asks in ASKS.items():
        visitor.go(page)
        if page == "deviation":
            visitor.at.text_area(key="own_items").set_value(ITEM).run()
        for ask in asks:
            visitor.click(ask).wait()
    return visitor


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
    for page in (*ASKS, "model"):
        answered.go(page)
        reads.clear()
        answered.look()
        times = Counter(reads)
        answers = {name: count for name, count in times.items() if name[0] in PROBES}
        assert answers or page == "model", page
        assert set(answers.values()) <= {1}, (page, answers)
        others = {name: count for name, count in times.items() if name[0] in HIDDEN}
        assert set(others.values()) <= {2}, (page, others)  # the sidebar asks, and the page


def test_a_redraw_parses_no_plan_twice(answered):
    for page in (*ASKS, "model", "storage"):
        answered.go(page)
        parse.cache_clear()
        answered.look()
        first = parse.cache_info()
        assert first.misses == first.currsize > 0, f"{page} parses again what it has parsed"
        assert answered.look() and parse.cache_info().misses == first.misses, page


@pytest.mark.usefixtures("no_work_in_pages")
def test_nothing_is_tokenized_or_loaded_in_the_thread_of_a_page(answered, link):
    """Neither while everything is asked, which the fixture does, nor while it is looked at, nor by a plan that learns."""
    for page in (*ASKS, "model", "storage"):
        answered.go(page)
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
    for page in (*ASKS, "model", "storage"):
        answered.go(page)
        assert not answered.errors(), page
    assert (len(answered.bench.jobs.list()), len(answered.bench.store.entries())) == before
