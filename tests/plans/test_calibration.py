"""Plans that learn from a text before they can be applied: learned once, on other tokens than those measured, and kept."""

import numpy as np
import pytest
import torch
from plans.calibration import calibrate, calibrated

from cache.jobs import Jobs
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import Calibrated
from plans.cut import cut as cut_model
from plans.plan import parse
from probes.answer import Question, calibration_of, find, key, open_store, ready, submit
from refusal import Refusal
from texts.corpus import CorpusRef, cut, keep_text

CORPUS = CorpusRef(windows=2, length=24)


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder)))


@pytest.fixture
def store():
    store = open_store()
    store.delete_all()
    yield store
    store.delete_all()
    store.close()


def asked(subject, plan, corpus=CORPUS, probe="fidelity"):
    return Question(probe, subject.ref, corpus, plan)


def following(subject):
    return torch.from_numpy(cut(CORPUS.following, subject.tokenizer).tokens)


@pytest.mark.parametrize(
    "plan", ["w:wanda@0.5", "w:magnitude@2:4/mlp", "a1,w:sparsegpt@0.5", "b2,k:0.25/0.5", "w:wanda@0.5,k:0.5/0.5"]
)
def test_a_plan_is_applied_as_if_it_had_been_calibrated_by_hand(subject, store, plan):
    made = cut_model(subject, ready(store, asked(subject, plan), subject))
    by_hand = calibrated(subject, parse(plan), calibrate(subject, parse(plan), following(subject)))
    tokens = following(subject)[:, :16]
    expected = cut_model(subject, by_hand).logits(tokens)
    assert torch.equal(made.logits(tokens), expected)
    assert not torch.equal(expected, cut_model(subject, parse(plan).drops).logits(tokens))


def test_weights_are_pruned_on_the_model_with_the_drops(subject):
    """Layer 3 is given something else without the attention of layer 0, so other weights of it go."""
    learned = [calibrate(subject, parse(plan), following(subject)).weights for plan in ("w:wanda@0.5", "a0,w:wanda@0.5")]
    name = "model.layers.3.mlp.gate_proj"
    assert (learned[0][name]["kept"] != learned[1][name]["kept"]).any()
    assert not any(name.startswith("model.layers.0.self_attn") for name in learned[1])


def test_the_basis_is_that_of_the_pruned_model(subject):
    one, other = (calibrate(subject, parse(plan), following(subject)) for plan in ("k:0.5/0.5", "w:magnitude@0.7,k:0.5/0.5"))
    assert set(one.basis) == {"0", "1", "2", "3"} and not one.weights and other.weights
    assert not np.allclose(np.abs(one.basis["3"]), np.abs(other.basis["3"]), atol=1e-3)


def test_what_was_learned_is_found_again_whatever_is_asked_of_it(subject, store):
    needed = [calibration_of(asked(subject, plan)) for plan in ("k:0.25/0.5", "k:0.5/0.125")]
    assert key(needed[0], subject) == key(needed[1], subject)
    ready(store, asked(subject, "k:0.25/0.5"), subject)

    def never(*_):
        raise AssertionError("it was computed again")

    assert isinstance(ready(store, asked(subject, "k:0.5/0.125"), subject, never), Calibrated)


def test_it_learns_from_other_tokens_than_those_measured(subject, store):
    question = asked(subject, "w:wanda@0.5")
    jobs = Jobs(store)
    assert submit(jobs, question, subject).wait(60)
    jobs.shutdown()
    measured, learned = find(store, question, subject), find(store, calibration_of(question), subject)
    assert measured.result.kl > 0
    assert measured.about["calibration"] == {name: learned.about[name] for name in ("tokens", "windows", "digest")}
    assert measured.about["digest"] == cut(CORPUS, subject.tokenizer).digest
    assert learned.about["digest"] == cut(CORPUS.following, subject.tokenizer).digest != measured.about["digest"]


def test_a_plan_of_drops_needs_no_calibration(subject):
    assert calibration_of(asked(subject, "a1,b2")) is None
    assert calibration_of(asked(subject, "w:wanda@0.5", probe="similarity")) is None  # it takes no plan


def test_a_text_that_ends_with_what_is_measured_is_refused_before_anything_runs(subject, store):
    short = CorpusRef(keep_text("é" * 50), windows=3, length=30)  # 100 tokens
    jobs = Jobs(store)
    with pytest.raises(Refusal, match="calibration needs windows after the 3 that are measured"):
        submit(jobs, asked(subject, "w:wanda@0.5", short), subject)
    jobs.shutdown()


def test_a_plan_that_was_not_calibrated_cannot_be_applied(subject):
    with pytest.raises(Refusal, match="calibrate it first"):
        cut_model(subject, parse("w:wanda@0.5"))


def test_a_plan_for_which_nothing_was_learned_is_not_the_dense_model(subject):
    for plan, says in (("w:wanda@0.5", "prunes weights, but nothing was learned"), ("k:0.5/0.5", "directions of the keys")):
        with pytest.raises(Refusal, match=says):
            cut_model(subject, Calibrated(parse(plan)))


def test_a_damaged_calibration_is_learned_again(subject, store):
    question = asked(subject, "w:wanda@0.5")
    ready(store, question, subject)
    name = key(calibration_of(question), subject)
    store.put(name, b"nonsense", store.about(name))
    with pytest.raises(Refusal, match="damaged, so it was forgotten"):
        ready(store, question, subject)
    assert isinstance(ready(store, question, subject), Calibrated)


def test_the_dense_model_is_not_written_to(subject, store):
    before = {name: weight.clone() for name, weight in subject.model.state_dict().items()}
    for plan in ("w:sparsegpt@0.5,k:0.5/0.5", "w:wanda@2:4"):
        cut_model(subject, ready(store, asked(subject, plan), subject)).logits(following(subject))
    assert all(torch.equal(weight, before[name]) for name, weight in subject.model.state_dict().items())
