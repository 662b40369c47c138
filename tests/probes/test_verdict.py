"""The verdict: the same words for the same numbers, other words for others, and what happens right at a threshold."""

from dataclasses import replace

import numpy as np
import pytest

from probes.deviation import verdict as judge
from probes.deviation.verdict import verdict
from tests.charts.fakes_deviation import chosen, drifted, moved


def layers(*turned, kl=0.01):
    """Hidden states turned by so much at each depth; logits and probabilities by twice and ten times as much at the end."""
    found = moved(layers=len(turned) - 1)
    whole = replace(
        found.cumulative,
        h_cosine=[1 - each for each in turned],
        z_cosine=[1 - 2 * each for each in turned],
        p_cosine=[1 - 10 * each for each in turned],
        kl=[kl] * len(turned),
    )
    return replace(found, cumulative=whole)


def steps(p=(0.05,) * 6, kl=0.05, repeated=0.0, dense_repeated=0.0, divergence=(3, 5), rouge=0.5):
    """Two prompts whose probabilities are turned by so much at each step; the second may end with a NaN."""
    found = drifted(steps=len(p), lengths=(len(p), len(p)))
    spread = {name: values.copy() for name, values in found.forced_spread.items()}
    spread["p_cosine"][:, 0] = 1 - np.array(p)
    values = np.where(np.isnan(p), np.nan, np.full((2, len(p)), kl))
    return replace(
        found,
        forced=found.forced | {"kl": values},
        forced_spread=spread,
        repetition=np.full(2, repeated),
        dense_repetition=np.full(2, dense_repeated),
        divergence=list(divergence),
        rouge_l=np.full(2, rouge),
    )


def choices(agreement=0.96, accuracy=0.6, dense=0.6, text_dense=0.3, chance=0.25):
    found = chosen()
    letters = replace(found.letters, agreement=agreement, accuracy=accuracy, dense_accuracy=dense)
    texts = replace(found.texts, agreement=0.5, accuracy=0.2, dense_accuracy=text_dense)
    return replace(found, letters=letters, texts=texts, chance=chance, items=100)


STILL = (0.0, 0.001, 0.004)


def test_nothing_known_nothing_said():
    assert verdict() == judge.Verdict([], {}, "")


def test_the_paper_s_case_suits_ranking_and_choice_but_not_generation():
    said = verdict(layers(0, 0.001, 0.004, 0.02), steps((0.05, 0.05, 0.2, 0.3), kl=0.4, repeated=0.5), choices())
    assert said.uses == {"ranking": "well", "choice": "well", "generation": "badly"}
    assert said.conclusion == "This plan suits ranking and choice, not generation."
    hidden, output, probabilities, free, multiple = said.findings
    assert hidden == (
        "Hidden states stay within 1 − cos = 0.02 at every depth: at most 0.02, after layer 2. "
        "The largest step is in layer 2, from 0.004 to 0.02."
    )
    assert output == "At the output, 1 − cos: hidden states 0.02 < logits 0.04 < probabilities 0.2; KL 0.01 nats."
    assert probabilities.startswith("On the dense text, probabilities exceed 1 − cos = 0.1 at step 3; KL is 0.4 nats per step")
    assert "2 of 2 texts diverge, the median at step 5" in free
    assert "free generation repeats itself: 50 % of the 4-grams were there before (dense 0 %)" in free
    assert "Multiple choice, by letter: the same choice in 96 % of 100 items, accuracy 60 % (dense 60 %" in multiple


def test_a_harmless_plan_suits_everything():
    said = verdict(layers(*STILL), steps(divergence=(None, None)), choices(agreement=1.0))
    assert said.conclusion == "This plan suits ranking, choice and generation."
    assert "Written freely, all 2 texts are the same as the dense ones." in said.findings
    assert any("stay within 1 − cos = 0.1 over all 6 steps" in each for each in said.findings)


def test_a_ruinous_plan_suits_nothing():
    said = verdict(layers(0, 0.3, 0.5), steps((0.8,) * 4, kl=6.0), choices(agreement=0.3, accuracy=0.25))
    assert said.conclusion == "This plan does not suit ranking, choice or generation."
    assert said.findings[0].startswith("Hidden states exceed 1 − cos = 0.02 at once: 0.3 after layer 0.")
    assert "at step 1;" in said.findings[2]


def test_a_plan_in_between_changes_texts():
    said = verdict(drift=steps(kl=0.5), choice=choices())
    assert said.conclusion == "This plan suits choice; it changes generation without breaking it: read the texts."
    assert verdict(drift=steps(kl=0.5)).conclusion == "This plan changes generation without breaking it: read the texts."


@pytest.mark.parametrize(
    "results, uses, sentences",
    [
        ({"transitions": layers(*STILL)}, {"ranking"}, 2),
        ({"drift": steps()}, {"generation"}, 2),
        ({"choice": choices()}, {"choice"}, 1),
        ({"transitions": layers(*STILL), "choice": choices()}, {"ranking", "choice"}, 3),
    ],
)
def test_what_was_not_asked_is_not_judged(results, uses, sentences):
    said = verdict(**results)
    assert set(said.uses) == uses and len(said.findings) == sentences
    assert all(name not in said.conclusion for name in {"ranking", "choice", "generation"} - uses)


@pytest.mark.parametrize("last, use", [(judge.HIDDEN - 1e-6, "well"), (judge.HIDDEN + 1e-6, "badly")])
def test_hidden_states_at_their_threshold(last, use):
    said = verdict(layers(0, 0.001, 0.002, last))
    assert said.uses["ranking"] == use
    assert ("at every depth" in said.findings[0]) == (use == "well")
    assert ("up to layer 1 and are at 0.020001 after layer 2" in said.findings[0]) == (use == "badly")


def test_hidden_states_that_leave_and_come_back_are_fine_at_the_output():
    said = verdict(layers(0, 0.001, 0.05, 0.01))
    assert said.uses["ranking"] == "well" and "up to layer 0 and are at 0.05 after layer 1" in said.findings[0]


@pytest.mark.parametrize("kl, use", [(0.1, "well"), (0.1001, "partly"), (1.0, "partly"), (1.0001, "badly")])
def test_generation_at_its_thresholds(kl, use):
    assert verdict(drift=steps(kl=kl)).uses["generation"] == use


@pytest.mark.parametrize(
    "repeated, dense, again", [(0.3, 0.0, False), (0.31, 0.0, True), (0.6, 0.5, False), (0.61, 0.5, True), (0.9, 0.9, False)]
)
def test_repetition_counts_where_it_is_much_and_more_than_before(repeated, dense, again):
    said = verdict(drift=steps(repeated=repeated, dense_repeated=dense))
    assert (said.uses["generation"] == "badly") == again
    assert ("repeats itself" in " ".join(said.findings)) == again


def test_texts_too_short_to_repeat_are_told():
    said = verdict(drift=steps(repeated=np.nan, dense_repeated=np.nan))
    assert "too short to repeat themselves" in said.findings[1] and said.uses["generation"] == "well"


@pytest.mark.parametrize(
    "p, told", [((0.1, 0.1), "over all 2 steps"), ((0.1, 0.1001), "at step 2;"), ((0.2, 0.0), "at step 1;")]
)
def test_probabilities_at_their_threshold(p, told):
    assert told in verdict(drift=steps(p)).findings[0]


def test_steps_where_every_text_has_ended_are_not_counted():
    said = verdict(drift=steps((0.05, 0.05, np.nan, np.nan)))
    assert "over all 2 steps" in said.findings[0] and "nan" not in " ".join(said.findings)


@pytest.mark.parametrize(
    "agreement, accuracy, use",
    [(0.9, 0.55, "well"), (0.899, 0.6, "badly"), (0.95, 0.54, "badly"), (0.9, 0.7, "well")],
)
def test_choice_at_its_thresholds(agreement, accuracy, use):
    assert verdict(choice=choices(agreement, accuracy)).uses["choice"] == use


def test_a_model_that_guesses_is_not_judged():
    said = verdict(choice=choices(dense=0.34, accuracy=0.34))
    assert said.uses == {} and said.conclusion == "" and "hardly does better than guessing" in said.findings[0]


def test_the_better_way_of_choosing_is_judged():
    said = verdict(choice=choices(dense=0.3, text_dense=0.7))
    assert "by text" in said.findings[0] and said.uses["choice"] == "badly"


def test_the_worst_token_is_named():
    found = steps()
    found.forced["kl"][1, 4] = 7.0
    found.dense_pieces[1][4] = " the\nend "
    told = verdict(drift=found).findings[0]
    assert "worst is step 5 of prompt 2" in told and "(‘the⏎end’) with 7 nats" in told


def test_the_order_of_the_spaces_is_reported_as_found():
    found = layers(*STILL)
    whole = replace(found.cumulative, p_cosine=[1 - 1e-5] * 3)
    assert "probabilities 1e-05 < hidden states 0.004 < logits 0.008" in verdict(replace(found, cumulative=whole)).findings[1]


def test_every_threshold_is_explained():
    assert len(judge.THRESHOLDS) == 7 and all(all(each) for each in judge.THRESHOLDS)
    shown = " ".join(limit for _, limit, _ in judge.THRESHOLDS)
    assert all(value in shown for value in ("0.02", "0.1", "30 %", "10 points", "90 %", "5 points"))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_how_near_generation_stays_is_judged_at_a_temperature_of_1(temperature):
    """KL falls with the square of T, so a hot dial would make every plan look harmless."""
    hot = replace(steps(kl=0.05), temperature=temperature)
    assert verdict(drift=steps(kl=0.05)).uses == {"generation": "well"}
    said = verdict(drift=hot)
    assert said.uses == {} and said.conclusion == "" and f"read at T = {temperature:g}" in said.findings[-1]
    assert verdict(drift=replace(steps(repeated=0.9), temperature=temperature)).uses == {"generation": "badly"}
