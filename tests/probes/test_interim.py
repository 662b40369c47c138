"""Work that is interrupted goes on after its last window, and its answer is that of work that was not, to the last byte."""

import pytest

from cache.codec import encode
from cache.store import Store, StoreError
from plans.plan import parse
from probes import PROBES
from probes.base import as_dict, read_params
from probes.interim import Interim
from probes.kept import Kept, Spare
from refusal import silent
from tests.models.tiny import tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of

ASKED = [
    ("similarity", {}, ""),
    ("fidelity", {}, "a1,m3"),
    ("key_rank", {}, ""),
    ("transitions", {}, "a1,b3"),
    ("transitions", {"last": False}, "a1,b3"),
]


class Stopped(Exception):
    pass


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "answers")
    yield made
    made.close()


def noting():
    """A progress, and the steps it was told."""
    steps = []
    return lambda done, total, text: steps.append(text), steps


def stop_when(text, times):
    """A progress that ends the work when a new step begins with a text for the given time, and the steps it was told."""
    steps = []

    def progress(done, total, step):
        if step not in steps:
            steps.append(step)
        if sum(each.startswith(text) for each in steps) == times:
            raise Stopped

    return progress, steps


def run(name, params, plan, subject, corpus, progress, interim):
    probe = PROBES[name]
    given = read_params(probe, params)
    return encode(as_dict(probe.run(subject, corpus, parse(plan), given, interim.watched(progress), interim=interim)))


@pytest.mark.parametrize(("name", "params", "plan"), ASKED, ids=str)
def test_an_interrupted_probe_goes_on_and_gives_the_same_bytes(name, params, plan, store):
    asked = (name, params, plan, subject_of(tiny_model("llama")), corpus_of(tokens(4, 12)))
    progress, steps = noting()
    whole = run(*asked, progress, Interim())
    kept, read = Kept(store, "sums", {}), []
    for window in range(1, 4):
        progress, steps = stop_when("window", 2)
        with pytest.raises(Stopped):
            run(*asked, progress, Interim(kept))
        read.append(steps[0])
        assert kept["end"]["windows"] == window
    progress, steps = noting()
    assert run(*asked, progress, Interim(kept)) == whole
    assert [*read, steps[0]] == [f"window {i} of 4" for i in range(1, 5)], "no window is read twice"


@pytest.mark.parametrize(("name", "params", "plan"), ASKED, ids=str)
def test_sums_of_all_windows_read_none(name, params, plan, store):
    """A probe that is stopped after its last window."""
    asked = (name, params, plan, subject_of(tiny_model("llama")), corpus_of(tokens(2, 12)))
    kept = Kept(store, "sums", {})
    whole = run(*asked, silent, ended := Interim(kept))
    ended.flush()
    assert kept["end"]["windows"] == 2
    steps = []
    assert run(*asked, lambda done, total, text: steps.append(text), Interim(kept)) == whole
    assert not [text for text in steps if text.startswith("window")]


def test_two_texts_are_summed_one_after_the_other(store, monkeypatch):
    subject, corpus = subject_of(tiny_model("llama")), corpus_of(tokens(2, 12))
    monkeypatch.setattr("probes.keys.key_rank.read_corpus", lambda ref, tokenizer, context: corpus_of(tokens(3, 12, seed=5)))
    asked = ("key_rank", {"other": "another"}, "", subject, corpus)
    whole = run(*asked, silent, Interim())
    kept = Kept(store, "sums", {})
    progress, steps = stop_when("other text, window 3", 1)
    with pytest.raises(Stopped):
        run(*asked, progress, Interim(kept))
    assert (kept["end"]["windows"], kept["other text, end"]["windows"]) == (2, 2)
    progress, steps = noting()
    assert run(*asked, progress, Interim(kept)) == whole
    assert steps[0] == "other text, window 3 of 3"


@pytest.mark.parametrize("damage", ["forgotten", "tampered", "junk"])
@pytest.mark.parametrize(("name", "params", "plan"), ASKED, ids=str)
def test_damaged_sums_are_begun_anew(name, params, plan, damage, store):
    asked = (name, params, plan, subject_of(tiny_model("llama")), corpus_of(tokens(3, 12)))
    whole, kept = run(*asked, silent, Interim()), Kept(store, "sums", {})
    progress, _ = stop_when("window", 3)
    with pytest.raises(Stopped):
        run(*asked, progress, Interim(kept))
    for piece in [piece for piece in kept if piece != "end"]:
        if damage == "forgotten":
            del kept[piece]
        elif damage == "tampered":
            kept[piece] = {"is": {"sums": 3, "count": "many"}}
        else:
            store.put(f"sums/{piece}", b"junk", {})
    assert run(*asked, silent, Interim(kept)) == whole


class Numbers:
    def __init__(self):
        self.seen = []

    def state(self):
        return {"seen": list(self.seen)}

    def restore(self, state):
        self.seen = list(state["seen"])


def test_sums_are_written_now_and_then_and_the_older_ones_forgotten():
    kept, clock, numbers = {}, Clock(), Numbers()
    interim = Interim(kept, clock)
    for window in range(1, 6):
        numbers.seen.append(window)
        clock.now += 1.0
        interim.keep(window, numbers)
    assert kept == {"4 seen": {"is": [1, 2, 3, 4]}, "end": {"windows": 4, "pieces": ["seen"]}}
    interim.flush()
    assert set(kept) == {"5 seen", "end"} and Interim(kept).taken_up(Numbers)[1].seen == [1, 2, 3, 4, 5]
    interim.forget()
    assert kept == {} and Interim(kept).taken_up(Numbers)[0] == 0


def test_a_slow_disk_is_written_to_less_often():
    """A write of 3 s is followed by 60 s without one."""
    clock, numbers = Clock(), Numbers()

    class Slow(dict):
        writes = 0

        def __setitem__(self, name, piece):
            super().__setitem__(name, piece)
            self.writes += name == "end"
            clock.now += 1.5

    interim = Interim(kept := Slow(), clock)
    for window in range(1, 101):
        clock.now += 1.0
        interim.keep(window, numbers)
    assert kept.writes == 2


def test_a_full_disk_costs_only_the_sums(store, monkeypatch):
    subject, corpus = subject_of(tiny_model("llama")), corpus_of(tokens(2, 12))
    spare = Spare(store, "sums", {})

    def full(*args):
        raise StoreError("full")

    monkeypatch.setattr(store, "put", full)
    progress, _ = stop_when("window", 2)
    with pytest.raises(Stopped):
        run("similarity", {}, "", subject, corpus, progress, Interim(spare))
    assert len(spare) == 0
