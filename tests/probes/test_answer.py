"""From a question to an answer and what is kept on the way: learned once, in pieces, on other tokens than those measured."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from cache.jobs import Jobs
from cache.store import Store
from models.loading.identity import identify
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.learn import calibrate
from plans.plan import parse
from probes import PROBES, question
from probes.answer import answer, by_lease, find, learned, submit
from probes.known import Known
from probes.question import Question, resolve
from refusal import Refusal, silent
from texts.corpus import CorpusRef, keep_text, read_corpus

CORPUS = CorpusRef("python-docs", windows=2, length=24)
SECONDS = 60


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder), device="cpu"))


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "answers")
    yield made
    made.close()


@pytest.fixture
def jobs(store):
    made = Jobs(store)
    yield made
    made.shutdown()


@pytest.fixture
def lend(subject):
    """A lease on a model that is there already."""

    @contextmanager
    def lease(ref, progress):
        yield replace(subject, ref=ref)

    return lease


@pytest.fixture
def learning(monkeypatch):
    """The operations that learned, each time they did."""
    from probes.answer import learn

    seen = []

    def counted(subject, operation, *rest):
        seen.append(str(operation))
        return learn(subject, operation, *rest)

    monkeypatch.setattr("probes.answer.learn", counted)
    return seen


def asked(subject, plan, corpus=CORPUS, probe="fidelity"):
    return resolve(Question(probe, subject.ref, corpus, plan), identify)


def following(subject):
    return torch.from_numpy(read_corpus(CORPUS.following, subject.tokenizer).tokens)


def pieces(store, key):
    """Names of what is kept below a key."""
    return [each.removeprefix(f"{key}/") for each in store.keys(f"{key}/")]


# What plans learn


@pytest.mark.parametrize(
    "plan", ["w:wanda@0.5", "w:magnitude@2:4/mlp", "a1,w:sparsegpt@0.5", "b2,k:0.25/0.5", "w:wanda@0.5,k:0.5/0.5"]
)
def test_a_plan_is_applied_as_if_it_had_been_calibrated_by_hand(subject, store, plan):
    tokens, expected = following(subject)[:, :16], calibrate(subject, parse(plan), following(subject))
    for _ in range(2):  # learned, then found
        found, corpus = learned(asked(subject, plan), subject, store)
        made = cut(subject, found).logits(tokens)
        assert torch.equal(made, cut(subject, expected).logits(tokens))
        assert corpus.ref == CORPUS.following
    assert not torch.equal(made, cut(subject, parse(plan).at_once).logits(tokens))


def test_what_was_learned_is_found_again_whatever_is_asked_of_it(subject, store, learning):
    """How many keys are attended to, and which probe asks, do not matter for their directions."""
    for plan, probe in (("k:0.25/0.5", "fidelity"), ("k:0.5/0.125", "fidelity"), ("k:0.5/0.125", "transitions")):
        learned(asked(subject, plan, probe=probe), subject, store)
    assert learning == ["k:0.25/0.5"]


def test_plans_that_begin_alike_share_what_they_learn(subject, store, learning):
    for plan in ("w:wanda@0.5", "w:wanda@0.5,k:0.25/0.5", "w:wanda@0.5,k:0.5/0.5"):
        learned(asked(subject, plan), subject, store)
    assert learning == ["w:wanda@0.5", "k:0.25/0.5"]
    learned(asked(subject, "a0,w:wanda@0.5"), subject, store)
    learned(asked(subject, "k:0.25/0.5"), subject, store)
    assert learning[2:] == ["w:wanda@0.5", "k:0.25/0.5"], "it depends on what is done before it"


def test_it_learns_from_other_tokens_than_those_measured(subject, store, jobs, lend):
    question = asked(subject, "w:wanda@0.5")
    assert submit(jobs, question, by_lease(lend, jobs.store)).wait(SECONDS)
    about = find(store, question).about
    follow, here = (read_corpus(ref, subject.tokenizer) for ref in (CORPUS.following, CORPUS))
    assert about["calibration"] == {"tokens": 48, "windows": 2, "digest": follow.digest}
    assert about["digest"] == here.digest != follow.digest and find(store, question).result.kl > 0


def test_a_plan_of_drops_learns_nothing(subject, store, lend):
    assert asked(subject, "a1,b2").learning == () and asked(subject, "a1,b2").learned_on is None
    assert asked(subject, "w:wanda@0.5", probe="similarity").learning == ()  # it takes no plan
    assert "calibration" not in answer(asked(subject, "a1"), lend, store)[1]


def test_a_text_that_ends_with_what_is_measured_is_refused(subject, jobs, lend):
    short = CorpusRef(keep_text("é" * 50), windows=3, length=30)  # 100 tokens
    job = submit(jobs, asked(subject, "w:wanda@0.5", short), by_lease(lend, jobs.store))
    assert job.wait(SECONDS) and job.state == "failed"
    assert "calibration needs windows after the 3 that are measured" in job.error


def test_learning_that_was_interrupted_is_taken_up_again(subject, tmp_path, lend, jobs, store):
    """A cancel half way loses nothing: the blocks that were kept are not learned again, and the answer is the same."""
    question, put, kept = asked(subject, "w:wanda@0.5"), store.put, []

    def watched(key, payload, about):
        put(key, payload, about)
        if "piece" in about and "learned" in about:
            kept.append(about["piece"])
            if kept == ["0", "1"]:
                jobs.get(question.key).cancel()

    store.put = watched
    job = submit(jobs, question, by_lease(lend, jobs.store))
    assert job.wait(SECONDS) and job.state == "cancelled"
    [learning] = question.learning
    assert kept == pieces(store, learning.key) == ["0", "1"] and find(store, question) is None

    kept.clear()
    again = submit(jobs, question, by_lease(lend, jobs.store))
    assert again.wait(SECONDS) and again.state == "done"
    assert kept == ["2", "3"]
    alone = Store(tmp_path / "alone")
    assert answer(question, lend, alone)[0] == store.read(question.key).payload
    alone.close()


@pytest.mark.parametrize("place", ["the row", "a piece", "a piece forgotten"])
def test_what_was_learned_and_is_damaged_is_learned_again(subject, store, place):
    question = asked(subject, "w:wanda@0.5")
    expected = cut(subject, learned(question, subject, store)[0]).logits(following(subject))
    [learning] = question.learning
    name = learning.key if place == "the row" else f"{learning.key}/2"
    if place == "a piece forgotten":
        store.delete(name)
    else:
        store.put(name, b"nonsense", store.about(name))
    if place == "a piece":  # it is told once, because somebody has begun to read
        with pytest.raises(Refusal, match="damaged, so it was forgotten"):
            cut(subject, learned(question, subject, store)[0])
    again = cut(subject, learned(question, subject, store)[0]).logits(following(subject))
    assert torch.equal(again, expected)


def test_the_dense_model_is_not_written_to(subject, store):
    before = {name: weight.clone() for name, weight in subject.model.state_dict().items()}
    for plan in ("w:sparsegpt@0.5,k:0.5/0.5", "w:wanda@2:4"):
        cut(subject, learned(asked(subject, plan), subject, store)[0]).logits(following(subject))
    assert all(torch.equal(weight, before[name]) for name, weight in subject.model.state_dict().items())


def test_learned_under_an_older_version_is_not_found_any_more(subject, store, lend, learning, monkeypatch):
    first = asked(subject, "w:wanda@0.5")
    store.put(first.key, *answer(first, lend, store))
    monkeypatch.setattr(question, "LEARNING", question.LEARNING + 1)
    second = asked(subject, "w:wanda@0.5")
    assert second.key != first.key and find(store, second) is None
    answer(second, lend, store)
    assert learning == ["w:wanda@0.5"] * 2
    assert asked(subject, "a1").key == asked(subject, "a1").key


# The dense side


@pytest.fixture
def forwards(subject):
    """How many windows went through the model or a view of it."""
    seen = []
    first = subject.model.get_submodule(subject.family.layers)[0]  # the head alone is asked without any block
    hook = first.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def test_the_second_plan_does_not_run_the_dense_model_again(subject, tmp_path, lend, forwards):
    counts, results = [], []
    for plan in ("a1", "m2"):
        store = Store(tmp_path / "answers")  # as a new process would open it
        question = asked(subject, plan)
        store.put(question.key, *answer(question, lend, store))
        results.append(find(store, question).result)
        store.close()
        counts.append(len(forwards))
        forwards.clear()
    assert counts == [4, 2], "two windows through both models, then through the pruned one alone"
    alone = Store(tmp_path / "alone")
    fresh = answer(question, lend, alone)[0]
    alone.close()
    assert fresh == Store(tmp_path / "answers").read(question.key).payload
    assert results[0].dense_perplexity == results[1].dense_perplexity


def test_the_dense_side_belongs_to_model_and_text(subject):
    base = asked(subject, "a1")
    assert base.dense_key == asked(subject, "w:wanda@0.5").dense_key
    others = [
        asked(subject, "a1", replace(CORPUS, windows=3)).dense_key,
        resolve(Question("fidelity", subject.ref, CORPUS, "a1"), lambda _: "f" * 64).dense_key,
    ]
    assert len({base.dense_key, *others}) == 3


# From a question to its answer


def test_a_model_whose_files_changed_since_it_was_asked_is_not_measured(subject, store, lend):
    question = resolve(Question("fidelity", subject.ref, CORPUS, "a1"), lambda _: "f" * 64)
    with pytest.raises(Refusal, match="changed since this was asked"):
        answer(question, lend, store)


def test_an_equal_question_is_one_job(subject, jobs, lend):
    one, other = (submit(jobs, asked(subject, plan), by_lease(lend, jobs.store)) for plan in ("b1-2,a0", "A0 b2; b1"))
    assert one.key == other.key and one.wait(SECONDS) and other.wait(SECONDS)
    assert len(jobs.list()) == 1


def test_an_answer_forgotten_between_two_looks_is_none(subject, store, lend):
    question = asked(subject, "a1")
    store.put(question.key, *answer(question, lend, store))
    assert find(store, question).about["from_cache"]
    store.delete(question.key)
    assert find(store, question) is None


def test_a_damaged_answer_is_told_once_and_can_be_asked_again(subject, store, lend):
    question = asked(subject, "a1")
    store.put(question.key, b"PK nonsense", {})
    with pytest.raises(Refusal, match="damaged, so it was forgotten"):
        find(store, question)
    assert find(store, question) is None


# What is known without the model


def test_what_is_known_outlives_the_files(tiny_folder, tmp_path, store):
    folder = shutil.copytree(tiny_folder, tmp_path / "gone")
    ref, known = ModelRef(str(folder), device="cpu"), Known(store)
    fingerprint = known.identify(ref)
    known.note(ref, fingerprint)
    shutil.rmtree(folder)
    assert known.identify(ref) == fingerprint
    with pytest.raises(Refusal):
        known.identify(ModelRef(str(tmp_path / "other")))


def tried(subject, store, **more):
    """Plans tried, as the drop lab lists them."""
    return [plan for plan, _ in Known(store).tried(Question("fidelity", subject.ref, **{"corpus": CORPUS, **more}))]


def test_plans_tried_are_those_of_this_very_question(subject, store, lend, monkeypatch):
    for plan in ("a1", "w:magnitude@0.5"):
        question_ = asked(subject, plan)
        store.put(question_.key, *answer(question_, lend, store))
    assert tried(subject, store) == ["w:magnitude@0.5", "a1"]
    assert tried(subject, store, corpus=replace(CORPUS, windows=1)) == []
    with monkeypatch.context() as patch:
        patch.setattr(question, "LEARNING", question.LEARNING + 1)
        assert tried(subject, store) == ["a1"], "what was learned by an older version is not shown"
    newer = replace(PROBES["fidelity"], version=PROBES["fidelity"].version + 1)
    with monkeypatch.context() as patch:
        patch.setitem(PROBES, "fidelity", newer)
        assert tried(subject, store) == []
    store.put(asked(subject, "a1").key, b"PK nonsense", store.about(asked(subject, "a1").key))
    assert tried(subject, store) == ["w:magnitude@0.5"]


def test_looking_computes_and_writes_nothing(subject, store, lend):
    assert find(store, asked(subject, "a1")) is None and tried(subject, store) == []
    assert Known(store).anatomy(subject.ref) is None and Known(store).cost(subject.ref, "a1") is None
    assert store.entries() == []
    anatomy = resolve(Question("anatomy", subject.ref), identify)
    store.put(anatomy.key, *answer(anatomy, lend, store, silent))
    assert Known(store).anatomy(subject.ref).layers == 4


class Killed(BaseException):
    """As nothing that anybody catches."""


@pytest.mark.parametrize("probe", [name for name, probe in PROBES.items() if probe.keeps_sums])
def test_an_interrupted_answer_goes_on_after_its_last_window(subject, store, lend, tmp_path, probe):
    question = asked(subject, "a1", replace(CORPUS, windows=4), probe)
    steps = []

    def until_the_third(done, total, text):
        if "window 3" in text:
            raise Killed

    with pytest.raises(Killed):
        answer(question, lend, store, until_the_third)
    sums = [entry for entry in store.entries() if "sums" in entry.about]
    assert sums and all(entry.about["of"]["model"]["fingerprint"] == subject.fingerprint for entry in sums)
    payload, _ = answer(question, lend, store, lambda done, total, text: steps.append(text))
    assert next(text for text in steps if text.startswith("window")) == "window 3 of 4"
    other = Store(tmp_path / "other")
    assert payload == answer(question, lend, other)[0]
    other.close()
    assert not [entry for entry in store.entries() if "sums" in entry.about], "the answer is there"
