"""Drift writes and reads the dense texts once for all plans, and finds the same numbers as if it had not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from plans.plan import parse
from probes import PROBES
from probes.deviation.dense_texts import DenseTexts
from probes.deviation.generation_drift import DriftParams
from probes.question import Question, resolve
from tests.gpu.bounds import apart, leaves
from tests.models.tiny import tiny_model
from tests.probes.characters import character_tokenizer
from tests.probes.subjects import subject_of
from texts.corpus import CorpusRef

PARAMS = DriftParams(prompts="Why is the sky blue?\nOne two", length=6)


def subject_in(dtype, family="llama"):
    """No token ends its texts."""
    model = tiny_model(family).to(dtype)
    model.generation_config.eos_token_id = None
    return subject_of(model, character_tokenizer())


def drift(subject, plan, dense=None, params=PARAMS):
    return PROBES["generation_drift"].run(subject, None, parse(plan), params, dense=dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma2", "cohere"])
def test_a_second_plan_makes_no_dense_pass_and_has_the_same_numbers(family, dtype):
    subject, kept, passes = subject_in(dtype, family), {}, []
    first = subject.model.get_submodule(subject.family.layers)[0]
    hook = first.register_forward_hook(lambda *_: passes.append(1))
    drift(subject, "a1", DenseTexts(subject, None, kept))
    both = len(passes)
    assert len(kept) == 2
    passes.clear()
    second = drift(subject, "m3", DenseTexts(subject, None, kept))
    # Per prompt: six steps of each model and one to warm up; the dense pass over its own text, and two of the pruned one.
    assert (both, len(passes)) == (2 * (7 + 7 + 3), 2 * (7 + 2))
    hook.remove()
    alone, ours = leaves(drift(subject, "m3")), leaves(second)
    assert all(apart(ours[name], value) == 0 for name, value in alone.items())


def test_the_logits_of_kept_states_are_those_of_the_model():
    subject = subject_in(torch.float32)
    prompt = torch.randint(3, 97, (1, 9), generator=torch.Generator().manual_seed(0))
    written, (hidden, logits) = DenseTexts(subject).read(prompt, 5, lambda step: None)
    text = torch.cat([prompt, torch.tensor([written.ids[:-1]])], 1)
    with torch.inference_mode():
        expected = subject.model(input_ids=text, use_cache=False).logits[0, 8:]
    assert len(written.ids) == len(hidden) == 5
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_another_prompt_or_number_of_steps_is_another_text():
    subject, kept = subject_in(torch.float32), {}
    for params in (PARAMS, replace(PARAMS, length=4), replace(PARAMS, prompts="One two")):
        drift(subject, "a1", DenseTexts(subject, None, kept), params)
    assert len(kept) == 4, "the third one is known"
    assert {len(piece["ids"]) for piece in kept.values()} == {4, 6}
    assert all(piece["states"].dtype == np.float32 for piece in kept.values())


def test_the_dense_texts_belong_to_the_model_alone(tiny_folder):
    """A plan that learned from a text and one that did not have the same dense side; another model has another one."""

    def key(plan, fingerprint="a" * 64, windows=2):
        ref = CorpusRef("prose", windows=windows, length=24)
        question = Question("generation_drift", subject_in(torch.float32).ref, ref, plan)
        return resolve(question, lambda _: fingerprint).dense_key

    assert key("a1") == key("w:wanda@0.5") == key("w:wanda@0.5", windows=3) != ""
    assert key("a1") != key("a1", "b" * 64)
