"""Choices against a slow loop in plain transformers: an option at a time, without batches, padding or views."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import Plan
from probes.base import as_dict, from_dict, read_params
from probes.choice.choice_subspace import PROBE, ChoiceParams, deviations
from refusal import Refusal
from tests.models.tiny import TINY
from tests.probes.characters import character_tokenizer, learned, reader
from tests.probes.subjects import subject_of
from texts.items import LETTERS, builtin, read_items

P, Q = [0.7, 0.2, 0.08, 0.02], [0.6, 0.25, 0.1, 0.05]
NO_ATTENTION = "a0,a1,a2,a3,a4"
ITEMS = [
    {"question": "Rain makes you", "options": ["wet", "dry", "tall"], "answer": "wet", "category": "sense"},
    {"question": "2 + 2 =", "options": ["3", "4"], "answer": 1, "category": "sums"},
    {"question": "Which is red?", "options": ["Blood", "Snow", "Grass", "Ink", "Coal"], "answer": "A"},
    {"question": "New towns", "options": ["York", "Yard", "Rome"], "answer": "c", "category": "sense"},
    {"question": "The sun is hot and", "options": ["bright", "black"], "answer": 0, "category": "sense"},
]
GOOD = {"question": "q", "options": ["a", "b"], "answer": 0}


def lines(*items):
    return "\n".join(json.dumps(item) for item in items)


def run(subject, plan="", items=ITEMS, temperature=1.0):
    return PROBE.run(subject, None, learned(subject, plan), ChoiceParams(lines(*items), temperature))


# Pure maths


def test_sums_and_not_means_over_the_options():
    """The reference's code would say .006775 here, and a quarter of a hundred-thousandth of it for the vocabulary."""
    found = deviations(*(torch.tensor(each, dtype=torch.float64).log() for each in (P, Q)), [0, 1, 2, 3])
    assert found["option_kl"] == found["kl"] == pytest.approx(0.027099, abs=5e-7)
    assert found["option_reverse_kl"] == pytest.approx(0.031424, abs=5e-7)
    assert found["option_mass"] == found["dense_option_mass"] == pytest.approx(1)


def test_options_are_renormalised():
    """The same four options hold 30 % and 60 % of two wider distributions, somewhere in between."""
    dense, pruned = torch.rand(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    places = [40, 3, 17, 8]
    for whole, options, mass in ((dense, P, 0.3), (pruned, Q, 0.6)):
        whole[places] = 0
        whole *= (1 - mass) / whole.sum()
        whole[places] = torch.tensor(options, dtype=torch.float64) * mass
    found = deviations(dense.log() + 3, pruned.log() - 5, places)
    assert found["option_kl"] == pytest.approx(0.027099, abs=5e-7)
    assert found["option_reverse_kl"] == pytest.approx(0.031424, abs=5e-7)
    assert found["dense_option_mass"] == pytest.approx(0.3) and found["option_mass"] == pytest.approx(0.6)
    assert found["kl"] == pytest.approx(float((dense * (dense / pruned).log()).sum()))
    assert found["option_prob_cosine"] == pytest.approx(np.dot(P, Q) / np.linalg.norm(P) / np.linalg.norm(Q))


def test_without_options_there_is_no_subspace():
    found = deviations(torch.randn(9), torch.randn(9), None)
    assert found["kl"] > 0 and all(math.isnan(value) for name, value in found.items() if "option" in name)


# The probe against a slow loop


@torch.inference_mode()
def logits_of(view, ids):
    """Of all positions, shape (tokens, vocab), in float64."""
    return view.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()


def slow_scores(view, tokenizer, item, way):
    """Scores of the options one by one: characters are tokens, so an option begins after the prompt and a space."""
    options = LETTERS[: len(item.options)] if way == "letters" else item.options
    prompt = tokenizer(item.lettered if way == "letters" else item.opened).input_ids
    scores = []
    for option in options:
        ids = prompt + tokenizer(f" {option}").input_ids
        chances = logits_of(view, ids).log_softmax(-1)
        if way == "letters":
            scores.append(chances[len(prompt), ids[-1]].item())
        else:
            scores.append(sum(chances[i - 1, ids[i]].item() for i in range(len(prompt), len(ids))) / len(option))
    return scores


def slow_measures(dense, pruned, temperature):
    x, y = dense.numpy(), pruned.numpy()
    p, q = (np.exp(z / temperature) / np.exp(z / temperature).sum() for z in (x, y))
    return {
        "logit_cosine": x @ y / np.linalg.norm(x) / np.linalg.norm(y),
        "prob_cosine": p @ q / np.linalg.norm(p) / np.linalg.norm(q),
        "kl": p @ np.log(p / q),
        "reverse_kl": q @ np.log(q / p),
    }


@pytest.mark.parametrize(
    "name, plan, temperature",
    [
        ("llama", "a1,m3", 1.0),
        ("llama", NO_ATTENTION, 1.0),
        ("gpt2", "m2", 0.5),
        ("gpt2", NO_ATTENTION, 1.0),
        ("gemma2", "b1-2", 2.0),
        ("gpt_neox", "a0", 1.0),
        ("bloom", "m1", 1.0),
        ("llama", "a1,w:sparsegpt@2:4", 1.0),
        ("gemma2", "m2,k:0.5/0.5", 1.0),
    ],
)
def test_choices_are_those_of_a_slow_loop(name, plan, temperature):
    subject = reader(name)
    found, items = run(subject, plan, temperature=temperature), read_items(lines(*ITEMS))
    views = [cut(subject, each) for each in (Plan(), learned(subject, plan))]
    for way in ("letters", "texts"):
        choices = getattr(found, way)
        for place, item in enumerate(items):
            prompt = subject.tokenizer(f"{item.lettered if way == 'letters' else item.opened} ").input_ids
            options = LETTERS[: len(item.options)] if way == "letters" else item.options
            for prefix, view in (("dense_", views[0]), ("", views[1])):
                scores = slow_scores(view, subject.tokenizer, item, way)
                known = getattr(choices, f"{prefix}scores")[place]
                np.testing.assert_allclose(known[: len(scores)], scores, rtol=1e-4, atol=1e-5)
                assert np.isnan(known[len(scores) :]).all() and len(known) == 5
                assert getattr(choices, f"{prefix}chosen")[place] == np.argmax(scores)
                top = sorted(scores)[-2:]
                assert getattr(choices, f"{prefix}margin")[place] == pytest.approx(top[1] - top[0], abs=1e-5)
            both = [logits_of(view, prompt)[-1] for view in views]
            firsts = [subject.tokenizer(option).input_ids[0] for option in options]
            expected = slow_measures(*both, temperature)
            if way == "letters" or place not in (3,):
                if way == "texts" and place == 4:  # both begin with b, so they part after it
                    both = [logits_of(view, [*prompt, firsts[0]])[-1] for view in views]
                    expected, firsts = slow_measures(*both, temperature), subject.tokenizer("rl").input_ids
                inside = slow_measures(*(each[firsts] for each in both), temperature)
                expected |= {f"option_{measure}": value for measure, value in inside.items()}
                chances = [(each / temperature).softmax(-1)[firsts].sum().item() for each in both]
                expected |= dict(zip(("dense_option_mass", "option_mass"), chances, strict=True))
            else:
                assert np.isnan([choices.option_kl[place], choices.option_mass[place]]).all()
            for measure, value in expected.items():
                assert getattr(choices, measure)[place] == pytest.approx(value, rel=2e-3, abs=2e-5), measure
    assert found.letters.left_out == [] and found.texts.left_out == [3]


def test_an_empty_plan_changes_nothing():
    found = run(reader())
    for each in (found.letters, found.texts):
        assert each.agreement == 1 and each.accuracy == each.dense_accuracy
        assert (each.kl == 0).all() and np.nanmax(each.option_kl) == 0
        np.testing.assert_allclose(each.option_prob_cosine[:3], 1, atol=1e-12)
        np.testing.assert_array_equal(each.scores, each.dense_scores)
        np.testing.assert_array_equal(each.margin, each.dense_margin)


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    found = run(reader(name), "a1,m2", ITEMS[:2])
    for each in (found.letters, found.texts):
        assert (each.kl > 0).all() and (each.option_kl >= 0).all() and np.isfinite(list(each.means.values())).all()


def test_what_is_said_of_all_items():
    found = run(reader(seed=2), "b1-3")
    assert found.items == 5 and found.answers == [0, 1, 0, 2, 0]
    assert found.chance == pytest.approx(np.mean([1 / 3, 1 / 2, 1 / 5, 1 / 3, 1 / 2]))
    assert found.categories == ["sense", "sums", "own items", "sense", "sense"] and found.options[1] == ["3", "4"]
    for each in (found.letters, found.texts):
        assert each.accuracy == np.mean(each.chosen == found.answers)
        assert each.agreement == np.mean(each.chosen == each.dense_chosen)
        assert each.means["kl"] == pytest.approx(each.kl.mean())
        assert each.means["option_kl"] == pytest.approx(np.nanmean(each.option_kl))
        assert [kind["items"] for kind in each.categories.values()] == [3, 1, 1]
        sense = each.categories["sense"]
        assert sense["dense_accuracy"] == np.mean(each.dense_chosen[[0, 3, 4]] == np.array([0, 2, 0]))
        assert sense["kl"] == pytest.approx(each.kl[[0, 3, 4]].mean())
        assert sense["option_kl"] == pytest.approx(np.nanmean(each.option_kl[[0, 3, 4]]))
        assert sense["margin"] == pytest.approx(each.margin[[0, 3, 4]].mean())


def test_options_that_share_their_first_token_have_no_subspace_and_are_told():
    found = run(reader(), "a1", [ITEMS[3]])
    assert found.texts.left_out == [0] and math.isnan(found.texts.means["option_kl"])
    assert "Item 0 ('New towns'): some of its options begin with the same token" in found.texts.remarks[0]
    assert found.texts.means["kl"] > 0 and np.isfinite(found.texts.scores[0, :3]).all()
    assert found.letters.left_out == [] and found.letters.means["option_kl"] > 0


def test_an_option_that_another_one_begins_with():
    found = run(reader(), "a1", [{"question": "New", "options": ["York", "York City"], "answer": 1}])
    assert found.texts.left_out == [0] and found.texts.kl[0] > 0


def test_letters_of_one_token_are_refused():
    class Blind:
        """Writes A and B with the same token, and tells them apart only by what follows."""

        eos_token_id = None
        inner = character_tokenizer()

        def __call__(self, text):
            ids = self.inner(text).input_ids
            return SimpleNamespace(input_ids=[*ids[:-1], 90, ids[-1]] if text[-1] in "AB" else ids)

    with pytest.raises(Refusal, match="Item 0: this tokenizer encodes two of the letters A to E as the same token"):
        run(subject_of(reader().model, Blind()), "", [ITEMS[0]])


def test_a_batch_changes_nothing():
    subject, items = reader("gpt2"), [ITEMS[2], ITEMS[1], ITEMS[0]]
    together = run(subject, "a1", items)
    for place, item in enumerate(items):
        alone = run(subject, "a1", [item])
        for way in ("letters", "texts"):
            one, many = getattr(alone, way), getattr(together, way)
            np.testing.assert_allclose(one.scores[0], many.scores[place], rtol=1e-5)
            np.testing.assert_allclose(one.kl[0], many.kl[place], rtol=1e-4)


# What everybody may do wrong


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_a_temperature_that_divides_nothing_is_refused(temperature):
    with pytest.raises(Refusal, match="number above 0"):
        read_params(PROBE, {"temperature": temperature})


def test_an_item_longer_than_the_context_is_refused():
    with pytest.raises(Refusal, match=r"Item 1 has \d+ tokens, but this model reads at most 128"):
        run(reader(), "", [ITEMS[0], GOOD | {"question": "x" * 130}])


@pytest.mark.parametrize("plan, name", [("", "dense"), ("b0-4", "pruned")])
def test_a_model_that_gives_no_numbers_is_refused(plan, name):
    subject = reader()
    model = subject.model.model
    if name == "dense":
        model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    else:  # nothing is left but a stream of zeros, and a norm that divides by its length
        model.embed_tokens.weight.zero_()
        model.norm.variance_epsilon = 0.0
    with pytest.raises(Refusal, match=f"{name} model's logits .*NaN or infinite"):
        run(subject, plan)


def test_an_answer_survives_the_store():
    found = run(reader(), "a0")
    again = from_dict(PROBE.result, decode(encode(as_dict(found))))
    np.testing.assert_array_equal(again.texts.kl, found.texts.kl)
    assert again.letters.categories == found.letters.categories and again.texts.remarks == found.texts.remarks


def test_progress_is_told_before_each_batch_and_may_stop_the_work():
    told, items = [], [GOOD | {"question": f"{place} " + "x" * 80} for place in range(30)]

    def progress(done, total, text):
        told.append((done, total, text))
        if done > 40:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        PROBE.run(reader(), None, Plan(), ChoiceParams(lines(*items)), progress)
    assert told[0] == (0, 60, "letters: 0 of 30 items") and (30, 60, "texts: 0 of 30 items") in told
    assert [done for done, *_ in told] == sorted(done for done, *_ in told) and 4 <= len(told) < 10


@pytest.mark.real
def test_the_bundled_model_knows_most_of_it():
    """Every eighth built-in item; by letter a model of this size guesses."""
    items = [{"question": each.question, "options": each.options, "answer": each.answer} for each in builtin()[::8]]
    found = run(load(ModelRef(dtype="float32", device="cpu")), "a25,a26", items)
    assert found.chance == 0.25 and found.texts.dense_accuracy >= 0.55
    assert found.texts.agreement >= 0.8 and found.texts.means["kl"] < 0.3
