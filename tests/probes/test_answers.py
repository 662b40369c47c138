"""Answers to prompts: what plain transformers writes, KL by torch in float64, pieces that are kept and taken up again."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from plans.cut import cut
from plans.plan import EMPTY, parse
from probes.base import as_dict, from_dict
from probes.generation.answers import NOW, PROBE, AnswersParams, AnswersResult, piece_name, so_far
from probes.generation.apart import ORDERS, apart, ordered, written
from refusal import Refusal
from tests.models.tiny import TINY
from tests.probes.characters import learned, reader

PROMPTS = "the cat\nsat on a mat\nand then"
GIVEN = AnswersParams(PROMPTS, length=12)


@pytest.fixture(scope="module")
def subject():
    return reader()


def run(subject, plan="", params=GIVEN, **more):
    return PROBE.run(subject, None, learned(subject, plan), params, **more)


@pytest.fixture(scope="module")
def dense(subject):
    return run(subject)


@pytest.fixture(scope="module")
def pruned(subject):
    return run(subject, "a1")


def prompt_ids(subject, prompt):
    return torch.tensor([subject.tokenizer(prompt).input_ids])


def test_it_writes_what_a_loop_without_a_cache_writes(subject, pruned):
    view = cut(subject, parse("a1"))
    for i, prompt in enumerate(PROMPTS.split("\n")):
        ids = prompt_ids(subject, prompt)
        begin = ids.shape[1]
        for _ in range(12):
            chances = view.logits(ids)[0, -1].softmax(-1)
            step = ids.shape[1] - begin
            assert pruned.probabilities[i, step] == pytest.approx(chances.max().item(), rel=1e-4)
            ids = torch.cat([ids, chances.argmax()[None, None]], 1)
        assert pruned.ids[i].tolist() == ids[0, begin:].tolist()
        assert pruned.texts[i] == subject.tokenizer.decode(ids[0, begin:])


def test_kl_is_that_on_the_dense_answer(subject, dense, pruned):
    for i, prompt in enumerate(PROMPTS.split("\n")):
        ids = torch.cat([prompt_ids(subject, prompt), torch.from_numpy(dense.ids[i])[None]], 1)
        begin = prompt_ids(subject, prompt).shape[1] - 1
        p, q = (cut(subject, plan).logits(ids)[0, begin:-1].double().log_softmax(-1) for plan in (EMPTY, parse("a1")))
        assert pruned.kl[i] == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), rel=1e-4)
    assert pruned.kl_tokens == [12, 12, 12]
    assert np.isnan(dense.kl).all()


def test_it_is_what_is_stored(pruned):
    back = from_dict(AnswersResult, decode(encode(as_dict(pruned))))
    assert back.texts == pruned.texts and back.runners == pruned.runners
    np.testing.assert_array_equal(back.ids, pruned.ids)


def test_sampling_draws_the_same_numbers_for_everybody(subject):
    warm = AnswersParams(PROMPTS, 12, 1.5, 3)
    one, again, other = (run(subject, params=each) for each in (warm, warm, AnswersParams(PROMPTS, 12, 1.5, 4)))
    assert one.texts == again.texts != other.texts


class Stop(Exception):
    """Somebody cancels."""


def test_an_interrupted_question_goes_on_where_it_was(subject, pruned):
    memory, steps = {}, []

    def cancel(done, total, text=""):
        if text.startswith("prompt 2") and text.endswith("token 3"):
            raise Stop

    with pytest.raises(Stop):
        run(subject, "a1", memory=memory, progress=cancel)
    assert so_far(memory, "a1", GIVEN)[0] == pruned.texts[0]
    result = run(subject, "a1", memory=memory, progress=lambda done, total, text="": steps.append(text))
    assert result.texts == pruned.texts
    assert not any(text.startswith("prompt 1 ") for text in steps)


def test_what_is_being_written_can_be_read(subject, pruned, monkeypatch):
    monkeypatch.setattr("probes.generation.answers._EVERY", 0.0)
    memory, seen = {}, []

    def look(done, total, text=""):
        seen.append(so_far(memory, "a1", GIVEN)[0])

    run(subject, "a1", memory=memory, progress=look)
    growing = list(dict.fromkeys(text for text in seen if text))
    assert len(growing) > 5 and growing[-1] == pruned.texts[0]
    assert all(later.startswith(text) for text, later in pairwise(growing))
    assert not any(name.endswith(NOW) for name in memory)


def test_another_plan_prompt_or_setting_is_another_piece():
    names = {
        piece_name("a1", "x", GIVEN), piece_name("a2", "x", GIVEN), piece_name("a1", "y", GIVEN),
        piece_name("a1", "x", AnswersParams(PROMPTS, 13)), piece_name("a1", "x", AnswersParams(PROMPTS, 12, seed=1)),
    }  # fmt: skip
    assert len(names) == 5 and piece_name("a1", "x", AnswersParams("x", 12)) in names


@pytest.mark.parametrize("family", TINY)
def test_every_family_answers(family):
    subject = reader(family)
    result = run(subject, "a1", AnswersParams("the cat", length=3))
    assert len(result.pieces[0]) == 3 and result.kl[0] > 0


@pytest.mark.parametrize("plan", ["a0,a1,a2,a3,a4", "b0-4", "a1,w:sparsegpt@2:4", "m2,k:0.5/0.5"])
def test_every_operation_answers(subject, plan):
    result = run(subject, plan, AnswersParams("the cat", length=3))
    assert len(result.pieces[0]) == 3 and result.kl[0] > 0


def test_how_far_two_answers_are_apart(dense, pruned):
    for i in range(3):
        found = apart(dense, pruned, i)
        one, two = dense.ids[i], pruned.ids[i]
        assert found.first == next((k for k in range(12) if one[k] != two[k]), None)
        assert found.tokens == found.dense_tokens == 12 and found.kl == pruned.kl[i]
        assert [token.piece for token in written(pruned, i)] == pruned.pieces[i]
    same = apart(dense, dense, 0)
    assert same.first is None and same.differing == 0 and same.rouge_l == 1
    other = apart(dense, pruned, 0, same_model=False)  # its KL is from its own dense model, which stands nowhere here
    assert np.isnan(other.kl) and other.rouge_l == apart(dense, pruned, 0).rouge_l
    rows = [[apart(dense, pruned, i)] for i in range(3)]
    assert ordered(rows, ORDERS[0]) == [0, 1, 2]
    assert ordered(rows, ORDERS[1]) == sorted(range(3), key=lambda i: -pruned.kl[i])


@pytest.mark.parametrize(
    ("given", "says"),
    [({"chat": "maybe"}, "chat is one of"), ({"length": 0}, "from 1 to"), ({"length": 10**9}, "from 1 to"),
     ({"temperature": -1.0}, "temperature of -1"), ({"temperature": float("nan")}, "temperature of nan"),
     ({"seed": -1}, "seed -1"), ({"prompts": " \n "}, "no prompt"), ({"prompts": "x\n" * 999}, "too many")],
)  # fmt: skip
def test_bad_parameters_are_refused(given, says):
    with pytest.raises(Refusal, match=says):
        AnswersParams(**given)
