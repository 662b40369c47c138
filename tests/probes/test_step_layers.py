"""One step layer by layer: against plain transformers, against drift at that step, and nothing written twice."""

import pytest
import torch

from charts.deviation import step_layers as charts
from plans.plan import parse
from probes.base import read_params
from probes.deviation.dense_texts import DenseTexts
from probes.deviation.generation_drift import PROBE as DRIFT
from probes.deviation.generation_drift import DriftParams
from probes.deviation.step_layers import PROBE, StepLayersParams
from probes.question import Question, resolve
from refusal import Refusal
from tests.charts.fakes_deviation import moved
from tests.models.tiny import LAYERS
from tests.probes.characters import learned, reader
from tests.probes.deviations import cosine

TEXT, LENGTH = "Why is the sky blue?\nOne two", 7


def run(subject, plan, prompt=0, step=0, dense=None, **params):
    return PROBE.run(subject, None, learned(subject, plan), StepLayersParams(TEXT, "off", LENGTH, 1.0, prompt, step), **params,
                     dense=dense)  # fmt: skip


def turned(one, other):
    """The cosine of two vectors."""
    return cosine(one.double().numpy(), other.double().numpy())


@torch.inference_mode()
def test_it_is_what_plain_transformers_gives():
    """The model itself writes the text; without attention 2 it is the same model with a zero in its place."""
    subject = reader("llama")
    model, step = subject.model, 4
    text = subject.tokenizer("One two", return_tensors="pt").input_ids
    for _ in range(step):
        text = torch.cat([text, model(input_ids=text, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    dense = model(input_ids=text, output_hidden_states=True, use_cache=False)
    gone = model.model.layers[2].self_attn.register_forward_hook(lambda module, args, out: (torch.zeros_like(out[0]), *out[1:]))
    pruned = model(input_ids=text, output_hidden_states=True, use_cache=False)
    gone.remove()
    found = run(subject, "a2", 1, step)
    assert found.layers == LAYERS and found.tokens == 1
    for depth in range(LAYERS):  # the last of `hidden_states` is after the final norm
        h, changed = (each.hidden_states[depth][0, -1] for each in (dense, pruned))
        assert found.cumulative.h_cosine[depth] == pytest.approx(turned(h, changed), abs=1e-7), depth
        p, q = (model.lm_head(model.model.norm(each)).double().softmax(-1) for each in (h, changed))
        assert found.cumulative.p_cosine[depth] == pytest.approx(turned(p, q), abs=1e-6), depth
    z, changed = (each.logits[0, -1] for each in (dense, pruned))
    assert found.cumulative.z_cosine[-1] == pytest.approx(turned(z, changed), abs=1e-6)
    assert found.cumulative.h_cosine[:3] == [1, 1, 1] and found.cumulative.h_cosine[3] < 1 - 1e-6


@pytest.mark.parametrize("plan", ["a1,m3", "b0-1", "w:magnitude@0.5", "k:0.5/0.5"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_the_last_depth_is_drift_at_that_step(family, plan):
    subject, kept = reader(family), {}
    drift = DRIFT.run(
        subject, None, learned(subject, plan), DriftParams(TEXT, "off", LENGTH), dense=DenseTexts(subject, None, kept)
    )
    for prompt, step in ((0, 0), (1, 3), (0, LENGTH - 1)):
        found = run(subject, plan, prompt, step, DenseTexts(subject, None, kept)).cumulative
        for name in ("z_cosine", "p_cosine", "kl", "reverse_kl"):
            expected = drift.forced[name][prompt, step]
            assert getattr(found, name)[-1] == pytest.approx(expected, rel=1e-3, abs=1e-6), (name, prompt, step)
        assert found.top_tokens[-1, 0, 0] == drift.dense_top_ids[prompt, step, 0]


def test_after_drift_nothing_is_written_again():
    subject, kept, said = reader("llama"), {}, []
    DRIFT.run(subject, None, parse("a1"), DriftParams(TEXT, "off", LENGTH), dense=DenseTexts(subject, None, kept))
    before = dict(kept)
    run(subject, "a1", 0, 2, DenseTexts(subject, None, kept), progress=lambda done, total, text: said.append(text))
    assert kept == before and not any("dense model, token" in text for text in said)
    run(subject, "a1", 0, 2, progress=lambda done, total, text: said.append(text))
    assert any("dense model, token" in text for text in said)


def test_both_keep_the_dense_texts_at_one_place():
    asked = [
        resolve(Question(name, plan=plan), lambda ref: "0" * 64) for name in (PROBE.name, DRIFT.name) for plan in ("a1", "m2")
    ]
    assert len({each.dense_key for each in asked}) == 1 and len({each.key for each in asked}) == 4


def test_progress_never_goes_back_and_may_stop_the_work():
    class Cancelled(Exception):
        pass

    def stop(done, total, text):
        said.append((done, total))
        if done > LENGTH:
            raise Cancelled

    said: list = []
    with pytest.raises(Cancelled):
        run(reader("llama"), "a1", 0, 1, progress=stop)
    assert said == sorted(said) and {total for _, total in said} == {LENGTH + 2}


@pytest.mark.parametrize(
    "given, says",
    [
        ({"prompt": 8}, "no prompt 8. Write a number from 0 to 7"),
        ({"prompt": -1}, "no prompt -1"),
        ({"step": 32}, "no step 32. Write a number from 0 to 31"),
        ({"step": -1}, "no step -1"),
        ({"length": 0}, "0 steps cannot be measured"),
        ({"temperature": 0}, "Write a number above 0"),
        ({"chat": "perhaps"}, "chat is one of"),
    ],
    ids=str,
)
def test_a_step_that_cannot_be_is_refused(given, says):
    with pytest.raises(Refusal, match=says):
        read_params(PROBE, given)


def test_a_step_after_the_end_of_a_text_is_refused():
    subject = reader("llama")
    first = DRIFT.run(subject, None, parse("a1"), DriftParams(TEXT, "off", LENGTH)).dense_ids[0, 0]
    subject.model.generation_config.eos_token_id = int(first)
    with pytest.raises(Refusal, match=r"ends after 1 step, so there is no step 3. Write a number from 0 to 0"):
        run(subject, "a1", 0, 3)


def test_the_layer_is_where_a_space_parts_most():
    found = moved(4)
    found.cumulative.h_cosine[:] = [1, 1, 0.9, 0.89, 0.88]
    found.cumulative.z_cosine[:] = [1, 1, 1, 1, 1]
    found.cumulative.p_cosine[:] = [1, 0.99, 0.98, 0.5, 0.6]
    assert [charts.parting(found, f"{space}_cosine") for space in "hzp"] == [1, None, 2] and charts.parting(found) == 1
    assert charts.sentence(found) == (
        "Where 1 − cos grows most at this step: hidden states in layer 1, from 0 to 0.100; probabilities in layer 2, from "
        "0.0200 to 0.500."
    )
    found.cumulative.h_cosine[:] = found.cumulative.p_cosine[:] = [1] * 5
    assert charts.sentence(found) == "At this step the two models do not diverge in any layer."
