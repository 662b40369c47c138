"""Rows that somebody planted in the store: no page ends on them, what is ours still shows, and they can be forgotten."""

import json
import shutil

import pytest

from cache.codec import decode, encode
from cache.store import Store
from probes.decision.book import Book, Noted, open_book
from probes.generation.votes import open_votes
from settings import data_directory
from tests.cache.stores import paths, replaced, tamper

WRONG = (None, 3, -1.5, "x", [], [1, 2], {}, {"probe": {}}, True)
PAGES = ["model", "similarity", "drop_lab", "deviation", "key_rank", "scan", "decide", "compare", "storage"]


@pytest.fixture
def answered(visit):
    visitor = visit("similarity").click("ask_similarity").wait()
    visitor.go("drop_lab").at.text_input(key="plan").set_value("a1").run()
    return visitor.click("ask_fidelity").wait()


def test_rows_whose_description_has_a_value_of_a_wrong_type(answered):
    store, count = answered.bench.store, 0
    for entry in [each for each in store.entries() if each.about]:
        payload = store.read(entry.key).payload
        for path in paths(entry.about):
            for wrong in WRONG:
                count += 1
                store.put(f"planted {count:05}", payload, replaced(entry.about, path, wrong))
    assert count > 500
    for page in PAGES:
        answered.go(page)
    answered.go("similarity")
    assert answered.figures(), "what is ours still shows"
    rows = answered.go("storage").table("hits")
    broken = [i for i, row in enumerate(rows) if row["probe"] == "?"]
    assert len(broken) > 100
    answered.select("entries", rows=broken, columns=[], cells=[]).click("forget")
    assert not [row for row in answered.look().table("hits") if row["probe"] == "?"]


@pytest.mark.parametrize("tag", ["[1,2]", "{}", '{"question": {"probe": "fidelity", "plan": "a99999"}}'])
def test_a_tampered_description_of_an_answer_itself(answered, tag):
    """The question has an answer, but what is said about it was changed: a sentence, and it can be asked again."""
    tamper(answered.bench.store, "UPDATE Cache SET tag = ? WHERE json_extract(tag, '$.question.probe') = 'fidelity'", tag)
    for page in ("similarity", "deviation", "storage"):
        answered.go(page)
    assert "damaged, so it was forgotten" in " ".join(answered.go("drop_lab").errors())
    answered.look().click("ask_fidelity").wait()
    assert not answered.errors()


def test_results_whose_fields_have_wrong_types(answered):
    """Each field of each result in turn: the page says that it was damaged, and it can be asked again."""
    store = answered.bench.store
    mine = {entry.about["question"]["probe"]: entry for entry in answered.answers}
    for probe, page in (("similarity", "similarity"), ("fidelity", "drop_lab")):
        entry = mine[probe]
        whole = store.read(entry.key)
        for name in decode(whole.payload):
            store.put(entry.key, encode(decode(whole.payload) | {name: {"no": "such"}}), whole.about)
            answered.go(page)
            assert "damaged" in " ".join(answered.errors()), name
        store.put(entry.key, whole.payload, whole.about)


def test_rows_of_others_are_told_and_can_be_forgotten(answered):
    store = answered.bench.store
    columns = "key, raw, mode, value, tag, store_time, access_count"
    huge = json.dumps(["x" * 100] * 110_000)
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('pickled', 1, 4, x'00', '{{}}', 1.0, 0)")
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('huge', 1, 1, x'00', ?, 1.0, 0)", huge)
    assert "PruneScope did not write 2 rows of its database" in answered.go("storage").texts()
    answered.click("forget_foreign")
    assert store.foreign() == 0 and "did not write" not in answered.look().texts()
    assert len(answered.answers) == 2


def test_votes_and_notes_of_wrong_types(answered):
    """What people wrote lies in stores of its own."""
    fingerprint = answered.subject.fingerprint
    book = open_book()
    Book(book, fingerprint).write(Noted("a1", "mine"))
    [note] = book.entries()
    for store, about in ((book, note.about), (open_votes(), {"comparison": "c", "prompt": 0, "left": 0, "right": 1,
                                                              "choice": "left", "by": "ann", "at": 1.0})):  # fmt: skip
        for i, path in enumerate(paths(about)):
            for wrong in WRONG:
                store.put(f"planted {i} {wrong}", encode({}), replaced(about, path, wrong))
    for page in ("drop_lab", "decide", "compare"):
        answered.go(page)
    answered.go("decide").open("decide", "Plans")


def test_the_data_directory_is_deleted_while_the_app_runs(answered):
    """What was stored is lost, and everything works again at once."""
    shutil.rmtree(data_directory())
    answered.go("similarity").click("load").wait().go("similarity").click("ask_similarity").wait()
    assert answered.figures() and len(Store(data_directory() / "answers").entries()) >= 1
    assert "Nothing is stored yet" not in answered.go("storage").texts()
