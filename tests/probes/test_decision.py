"""Notes on plans, the table of all that is known, and two plans compared."""

import dataclasses

import numpy as np
import pytest

from models.lease import Leases
from models.subject import ModelRef
from plans.operation import Shape
from plans.plan import parse
from probes.answer import answer, open_store
from probes.decision import pairs
from probes.decision.book import Book, Noted, open_book
from probes.decision.matching import matching
from probes.decision.rows import Row, numbers
from probes.decision.table import PROBES, Table
from probes.known import Known
from probes.question import Question, resolve
from refusal import Refusal
from texts.corpus import CorpusRef

ITEMS = "\n".join(f'{{"question": "{i} + 1 =", "options": ["{i + 1}", "{i + 3}"], "answer": 0}}' for i in range(6))
SEARCH = {"points": 1, "share": 0.25, "strategies": "kl,span,random", "draws": 2}


@pytest.fixture
def world(tiny_folder, own_data):
    """A store, a way to ask, and the question that all is about."""
    store, leases = open_store(), Leases()
    known, ref, text = Known(store), ModelRef(str(tiny_folder), dtype="float32"), CorpusRef("prose.txt", 6, 16)

    def ask(probe, plan, **params):
        asked = resolve(Question(probe, ref, text, plan, params), known.identify)
        store.put(asked.key, *answer(asked, leases.lease, store))
        return known.find(asked.question)

    return known, Question("fidelity", ref, text), ask


@pytest.fixture
def dense(world):
    """What the model is made of."""
    known, question, ask = world
    ask("anatomy", "")
    return known.anatomy(question.model)


def answers(known, question, plans, probe="fidelity", **params):
    """Results by plan."""
    found = dict(known.tried(dataclasses.replace(question, probe=probe, params=params)))
    return [found[plan].result for plan in plans]


# Notes


def test_a_note_is_kept_until_it_is_forgotten(world):
    known, question, ask = world
    book = Book(open_book(), known.identify(question.model))
    ask("fidelity", "a1")
    ask("fidelity", "a2")
    book.write(Noted("a1", "candidate", "keeps keys small", "a0"))
    book.write(Noted("a1", "candidate A", "keeps keys small", "a0", pinned=True))
    again = Book(open_book(), known.identify(question.model)).note("a1")
    assert (again.name, again.parent, again.pinned) == ("candidate A", "a0", True) and again.changed > 0
    with pytest.raises(Refusal, match="pinned"):
        book.forget("a1", known)
    book.write(dataclasses.replace(again, pinned=False))
    assert book.forget("a1", known) == 1 and not book.notes()
    assert [plan for plan, _ in known.tried(question)] == ["a2"]


def test_notes_are_of_one_model(world):
    known, question, _ = world
    book = Book(open_book(), known.identify(question.model))
    book.write(Noted("a1", "ours"))
    assert Book(open_book(), "f" * 64).notes() == {} and Book(open_book(), "f" * 64).note("a1") == Noted("a1")


@pytest.mark.parametrize("given", [{"name": "x" * 81}, {"note": "x" * 2001}])
def test_what_is_too_long_is_refused(given):
    with pytest.raises(Refusal, match="Write at most"):
        Noted("a1", **given)


# The table


def test_a_row_holds_all_that_is_known_of_a_plan(world, dense):
    known, question, ask = world
    ask("fidelity", "a1")
    ask("fidelity", "b2")
    ask("choice_subspace", "a1", items=ITEMS)
    ask("speed", "a1", prompt=4, new=2, rounds=5)
    notes = {"b2": Noted("b2", pinned=True), "m3": Noted("m3", "an idea")}
    table = Table(known)
    found = table.found(question, {"speed": {"prompt": 4, "new": 2, "rounds": 5}, "choice_subspace": {"items": ITEMS}})
    listed = table.rows(found, dense, notes)
    assert [row.noted.plan for row in listed] == ["b2", "a1", "m3"], "pinned, then by KL, then what was not measured"
    pinned, measured, idea = listed
    [fidelity], [choice] = answers(known, question, ["a1"]), answers(known, question, ["a1"], "choice_subspace", items=ITEMS)
    assert measured.kl == fidelity.kl and (measured.windows, measured.held_out) == (
        6,
        False,
    )  # the interval is of float32 values
    assert measured.kl_low - 1e-6 <= measured.kl <= measured.kl_high + 1e-6
    assert measured.accuracy == choice.texts.accuracy and measured.decode > 0
    assert pinned.accuracy is None and idea.kl is None and idea.noted.name == "an idea"
    [timed] = answers(known, question, ["a1"], "speed", prompt=4, new=2, rounds=5)
    for quiet, says in ((True, ""), (False, "1 other job ran")):
        where = dataclasses.replace(timed.circumstances, quiet=quiet, says="1 other job ran")
        assert numbers("a1", dataclasses.replace(timed, circumstances=where))["a1"]["disturbed"] == says


def test_other_texts_and_settings_are_other_rows(world, dense):
    known, question, ask = world
    ask("fidelity", "a1")
    elsewhere = dataclasses.replace(question, corpus=CorpusRef("prose.txt", 2, 16))
    assert not Table(known).rows(Table(known).found(elsewhere, {}), dense, {})


def test_what_a_plan_saves_is_what_its_view_lacks(world, dense):
    known, _, ask = world
    for plan in ("a0,m3,b1-2", "w:wanda@0.5,a1"):
        cost = ask("cost", plan).result
        [row] = Table(known).rows({probe: [] for probe in PROBES}, dense, {plan: Noted(plan)})
        assert row.saved == pytest.approx(1 - cost.parameters / dense.parameters)
        assert row.cache == pytest.approx(1 - cost.cache_bytes / dense.cache_bytes)


@pytest.mark.parametrize("plan", ["a99", "q7", "a1,"])
def test_a_note_on_no_plan_of_this_model_is_listed_without_numbers(world, dense, plan):
    known, _, _ = world
    [row] = Table(known).rows({probe: [] for probe in PROBES}, dense, {plan: Noted(plan)})
    assert row.noted.plan == plan and row.kl is None and (row.saved is None) == (plan != "a1,")


def test_an_answer_is_decoded_once_until_it_is_another_one(world, dense, monkeypatch):
    known, question, ask = world
    ask("fidelity", "a1")
    ask("fidelity", "b2")
    opened, opening = [], Known.open
    monkeypatch.setattr(Known, "open", lambda self, entry: opened.append(entry.key) or opening(self, entry))
    table = Table(known)
    looks = [table.rows(table.found(question, {}), dense, {}) for _ in range(3)]
    assert len(opened) == 2 and looks[0] == looks[1] == looks[2]
    tested = [table.pairs(table.found(question, {}), "a1", "b2") for _ in range(3)]
    assert len(opened) == 4 and tested[0] is tested[2]
    ask("fidelity", "b2")
    table.rows(table.found(question, {}), dense, {})
    assert len(opened) == 5, "asked again, it may say something else"


@pytest.fixture
def searched(world):
    """The same, after a search; and what it found."""
    known, question, ask = world
    found = ask("search", "", **SEARCH).result
    return known, question, ask, found


def test_plans_that_a_search_chose_are_in_the_table(searched, dense):
    known, question, ask, search = searched
    table = Table(known)
    listed = {row.noted.plan: row for row in table.rows(table.found(question, {}), dense, {})}
    chosen = [i for i, name in enumerate(search.strategies) if name != "random"]
    assert set(listed) == {search.plans[i] for i in chosen}, "the random ones are there to be beaten"
    row = listed[search.plans[chosen[0]]]
    assert (row.kl, row.kl_low, row.windows, row.held_out) == (search.kl[0], search.kl_low[0], 3, True)
    assert row.perplexity == pytest.approx(np.exp(search.nll[0])) and row.saved > 0
    ask("fidelity", row.noted.plan)
    measured = {row.noted.plan: row for row in table.rows(table.found(question, {}), dense, {})}[row.noted.plan]
    assert (measured.windows, measured.held_out) == (6, False) and measured.kl != row.kl


def test_what_was_forgotten_does_not_come_back_with_the_search(searched, dense):
    known, question, _, search = searched
    book, table = Book(open_book(), known.identify(question.model)), Table(known)
    assert book.forget(search.plans[0], known) == 0
    left = table.rows(table.found(question, {}), dense, book.notes(), book.forgotten())
    assert search.plans[0] not in {row.noted.plan for row in left} and left


def test_plans_of_a_search_are_compared_on_held_out_windows(searched):
    known, question, ask, search = searched
    names = [plan for name, plan in zip(search.strategies, search.plans, strict=True) if name != "random"]
    first, second = dict.fromkeys(names)
    table = Table(known)
    [pair] = table.pairs(table.found(question, {}), first, second)
    assert "held-out" in pair.what and pair.samples == 3 and pair.says == "too few windows to tell"
    assert (pair.first, pair.second) == tuple(pytest.approx(search.kl[search.plans.index(each)]) for each in (first, second))
    ask("fidelity", second)
    [again] = table.pairs(table.found(question, {}), first, second)
    assert again.second == pytest.approx(pair.second, rel=1e-4), "the same windows of the whole text"
    ask("fidelity", first)
    assert [each.samples for each in table.pairs(table.found(question, {}), first, second)] == [6, 6]
    ask("fidelity", "m0,m3")
    known.forget(known.identify(question.model), first)
    mixed = table.pairs(table.found(question, {}), first, "m0,m3")
    assert [each.samples for each in mixed] == [3], "of one plan only a search knows"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", "abc"), ("kl<0.5", "a"), ("kl>=0.5 saved>0.2", "b"), ("candidate", "a"), ("CANDIDATE kl>1", ""), ("b20", "b"),
        ("kl!=9", "ab"), ("why", "c"),
    ],
)  # fmt: skip
def test_rows_are_found_by_words_and_conditions(asked, found):
    rows = [
        Row(Noted("a1", "candidate A"), kl=0.1, saved=0.1),
        Row(Noted("b20-21"), kl=0.6, saved=0.3),
        Row(Noted("m3", "", "nobody knows why")),
    ]
    assert "".join("abc"[rows.index(row)] for row in matching(rows, asked)) == found


@pytest.mark.parametrize(("asked", "says"), [("size>3", "Choose one of: saved, cache"), ("kl<much", "is not a condition")])
def test_a_filter_that_cannot_be_read_is_told(asked, says):
    with pytest.raises(Refusal, match=says):
        matching([], asked)


# Two plans


def test_two_plans_on_the_same_tokens(world):
    known, question, ask = world
    ask("fidelity", "a1")
    ask("fidelity", "b0-2")
    first, second = answers(known, question, ["a1", "b0-2"])
    kl, nll = pairs.on_tokens(first, second)
    assert kl.first == pytest.approx(first.kl, rel=1e-5) and kl.second == pytest.approx(second.kl, rel=1e-5)
    assert kl.difference == pytest.approx(second.kl - first.kl, rel=1e-5) and kl.low <= kl.difference <= kl.high
    assert nll.difference == pytest.approx(np.log(second.perplexity) - np.log(first.perplexity), rel=1e-5)
    assert kl.better == "first" and kl.says == "the first is better" and kl.samples == 6
    back = pairs.on_tokens(second, first)[0]
    assert back.better == "second" and back.difference == pytest.approx(-kl.difference)
    same = pairs.on_tokens(first, first)[0]
    assert not same.better and same.says == "no difference"


def test_two_plans_on_the_same_items(world):
    known, question, ask = world
    ask("choice_subspace", "a1", items=ITEMS)
    ask("choice_subspace", "b0-2", items=ITEMS)
    first, second = answers(known, question, ["a1", "b0-2"], "choice_subspace", items=ITEMS)
    by_text = pairs.on_items(first, second)[0]
    right = [(each.texts.chosen == np.array(each.answers)) for each in (first, second)]
    assert by_text.difference == pytest.approx(right[1].mean() - right[0].mean()) and 0 <= by_text.p <= 1
    assert by_text.samples == 6 and ("significant" in by_text.says or by_text.says == "no difference") == (by_text.p >= 0.05)


@pytest.mark.parametrize("windows", [1, 5])
def test_one_window_says_nothing_about_chance(world, windows):
    known, question, _ = world
    single = dataclasses.replace(question, corpus=CorpusRef("prose.txt", windows, 16))
    for plan in ("a1", "b0-2"):
        asked = resolve(dataclasses.replace(single, plan=plan), known.identify)
        known.store.put(asked.key, *answer(asked, Leases().lease, known.store))
    kl = pairs.on_tokens(*answers(known, single, ["a1", "b0-2"]))[0]
    assert not kl.better and kl.says == "too few windows to tell"


def test_tasks_are_paired_by_their_items():
    first, second = (task_result(order, right) for order, right in (([0, 1, 2], [1, 1, 0]), ([2, 0, 3], [1, 0, 1])))
    [pair] = pairs.on_tasks(first, second)
    assert pair.samples == 2 and pair.first == 0.5 and pair.second == 0.5 and pair.p == 1.0


def task_result(items, right):
    from types import SimpleNamespace

    row = {"name": "facts", "metrics": [{"name": "acc", "better": True}]}
    return SimpleNamespace(
        tasks=[row], digests={"facts": [str(i) for i in items]}, values={"facts": {"acc": np.array(right, dtype=float)}}
    )


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("a1", "a1", "Both plans are the same."),
        ("a1,a2", "a2,m3", "Only the first: removes the attention of layer 1. Only the second: removes the MLP of layer 3. "
         "Both: removes the attention of layer 2."),
        ("a1", "a1,a2", "Only the second: removes the attention of layer 2. Both: removes the attention of layer 1."),
        ("w:wanda@0.5", "w:wanda@0.3", "They have nothing in common."),
        ("a1", "m1", "They have nothing in common."),
    ],
)  # fmt: skip
def test_the_difference_in_words(first, second, says):
    assert says in pairs.in_words(parse(first), parse(second), Shape(4))


def test_what_only_begins_with_a_plan_is_not_forgotten_with_it(world):
    known, question, ask = world
    ask("fidelity", "a1")
    fingerprint = known.identify(question.model)
    [fidelity] = known.store.entries(lambda about: about.get("question", {}).get("probe") == "fidelity")
    known.store.put("hours of work", b"", fidelity.about | {"question": fidelity.about["question"] | {"probe": "search"}})
    assert Book(open_book(), fingerprint).forget("a1", known) == 1 and known.store.has("hours of work")
