"""The verdict: the same words for the same numbers, other words for others, and what happens right at a threshold."""

from dataclasses import replace

import numpy as np
import pytest

from probes.deviation import limits as judge
from probes.deviation.limits import CHOICE, GENERATION, RETRIEVAL, UNSURE
from probes.deviation.verdict import Verdict, verdict
from tests.charts.fakes_deviation import chosen, drifted, moved


def layers(*turned, kl=0.01, windows=()):
    """Hidden states turned by so much at each depth; logits and probabilities by twice and ten times as much at the end."""
    found = moved(layers=len(turned) - 1)
    whole = replace(
        found.cumulative,
        h_cosine=[1 - each for each in turned],
        z_cosine=[1 - 2 * each for each in turned],
        p_cosine=[1 - 10 * each for each in turned],
        kl=[kl] * len(turned),
    )
    return replace(found, cumulative=whole, output_turn=np.array(windows or [turned[-1]] * 8))


def steps(p=(0.05,) * 6, kl=0.05, repeated=0.0, dense_repeated=0.0, divergence=(3, 5), rouge=0.5, prompts=8):
    """Prompts whose probabilities are turned by so much at each step; ``kl`` of all prompts or of each."""
    found = drifted(steps=len(p), lengths=(len(p),) * prompts)
    spread = {name: values.copy() for name, values in found.forced_spread.items()}
    spread["p_cosine"][:, 0] = 1 - np.array(p)
    each = np.broadcast_to(np.asarray(kl, float).reshape(-1, 1), (prompts, len(p)))
    return replace(
        found,
        forced=found.forced | {"kl": np.where(np.isnan(p), np.nan, each)},
        forced_spread=spread,
        repetition=np.broadcast_to(np.asarray(repeated, float), (prompts,)),
        dense_repetition=np.full(prompts, dense_repeated),
        divergence=list(divergence) + [None] * (prompts - len(divergence)),
        rouge_l=np.full(prompts, rouge),
    )


def choices(agreement=0.96, accuracy=0.6, dense=0.6, text_dense=0.3, chance=0.25, items=1000):
    """So many items with five options, of which the first is right."""
    found, place = chosen(), np.arange(items)

    def way(way, agreement, accuracy, dense):
        dense_right, changed = place < round(dense * items), np.zeros(items, bool)
        lost = max(0, round((dense - accuracy) * items))
        changed[:lost] = True  # right and then wrong; the others change from wrong to wrong
        more = max(0, round((1 - agreement) * items) - lost)
        changed[items - more :] = True
        dense_chosen = np.where(dense_right, 0, 1)
        kept = np.where(changed, np.where(dense_right, 2, 3), dense_chosen)
        return replace(
            way, chosen=kept, dense_chosen=dense_chosen, agreement=float((kept == dense_chosen).mean()),
            accuracy=float((kept == 0).mean()), dense_accuracy=float(dense_right.mean()),
        )  # fmt: skip

    letters, texts = way(found.letters, agreement, accuracy, dense), way(found.texts, 0.5, 0.2, text_dense)
    return replace(found, letters=letters, texts=texts, chance=chance, items=items, answers=[0] * items)


def words(said):
    return {name: use.word for name, use in said.uses.items()}


STILL = (0.0, 0.001, 0.004)


def test_nothing_known_nothing_said():
    assert verdict() == Verdict([], {}, "")


def test_the_paper_s_case_suits_ranking_and_choice_but_not_generation():
    said = verdict(layers(0, 0.001, 0.004, 0.02), steps((0.05, 0.05, 0.2, 0.3), kl=0.4, repeated=0.5), choices())
    assert words(said) == {RETRIEVAL: "well", CHOICE: "well", GENERATION: "badly"}
    assert said.conclusion == "This plan suits embedding retrieval and multiple choice, not text generation."
    hidden, output, probabilities, free, multiple = said.findings
    assert hidden == (
        "On average, hidden states stay within 1 − cos = 0.02 at every depth: at most 0.02, after layer 2. "
        "The largest step is in layer 2, from 0.004 to 0.02."
    )
    assert output == "At the output, 1 − cos: hidden states 0.02 < logits 0.04 < probabilities 0.2; KL 0.01 nats."
    assert probabilities.startswith(
        "On the dense text, probabilities on average exceed 1 − cos = 0.1 at step 3; KL is 0.4 nats per step"
    )
    assert "2 of 8 texts diverge, the median at step 5" in free
    assert "free generation repeats itself: on average, 50 % of 4-grams are repeated (dense 0 %)" in free
    assert "Multiple choice, by letter: the same choice in 96 % of 1,000 items, accuracy 60 % (dense 60 %" in multiple


def test_a_harmless_plan_suits_everything():
    said = verdict(layers(*STILL), steps(divergence=(None, None)), choices(agreement=1.0))
    assert said.conclusion == "This plan suits embedding retrieval, multiple choice and text generation."
    assert "In free generation, every text matches the dense one." in said.findings
    assert any("stay within 1 − cos = 0.1 over all 6 steps" in each for each in said.findings)


def test_a_ruinous_plan_suits_nothing():
    said = verdict(layers(0, 0.3, 0.5), steps((0.8,) * 4, kl=6.0), choices(agreement=0.3, accuracy=0.25))
    assert said.conclusion == "This plan does not suit embedding retrieval, multiple choice or text generation."
    assert said.findings[0].startswith("On average, hidden states exceed 1 − cos = 0.02 immediately: 0.3 after layer 0.")
    assert "at step 1;" in said.findings[2]


def test_a_plan_in_between_changes_texts():
    said = verdict(drift=steps(kl=0.5), choice=choices())
    assert said.conclusion == "This plan suits multiple choice; it changes text generation without breaking it: read the texts."
    assert verdict(drift=steps(kl=0.5)).conclusion == "This plan changes text generation without breaking it: read the texts."


@pytest.mark.parametrize(
    "results, uses, sentences",
    [
        ({"transitions": layers(*STILL)}, {RETRIEVAL}, 2),
        ({"drift": steps()}, {GENERATION}, 2),
        ({"choice": choices()}, {CHOICE}, 1),
        ({"transitions": layers(*STILL), "choice": choices()}, {RETRIEVAL, CHOICE}, 3),
    ],
)
def test_what_was_not_asked_is_not_judged(results, uses, sentences):
    said = verdict(**results)
    assert set(said.uses) == uses and len(said.findings) == sentences
    assert all(name not in said.conclusion for name in {RETRIEVAL, CHOICE, GENERATION} - uses)


@pytest.mark.parametrize("last, use", [(judge.HIDDEN - 1e-6, "well"), (judge.HIDDEN + 1e-6, "badly")])
def test_hidden_states_at_their_threshold(last, use):
    said = verdict(layers(0, 0.001, 0.002, last))
    assert words(said)[RETRIEVAL] == use
    assert ("at every depth" in said.findings[0]) == (use == "well")
    assert ("up to layer 1 and are at 0.020001 after layer 2" in said.findings[0]) == (use == "badly")


def test_hidden_states_that_leave_and_come_back_are_fine_at_the_output():
    said = verdict(layers(0, 0.001, 0.05, 0.01))
    assert words(said)[RETRIEVAL] == "well" and "up to layer 0 and are at 0.05 after layer 1" in said.findings[0]


@pytest.mark.parametrize("kl, use", [(0.1, "well"), (0.1001, "partly"), (1.0, "partly"), (1.0001, "badly")])
def test_generation_at_its_thresholds(kl, use):
    assert words(verdict(drift=steps(kl=kl)))[GENERATION] == use


@pytest.mark.parametrize(
    "repeated, dense, again", [(0.3, 0.0, False), (0.31, 0.0, True), (0.6, 0.5, False), (0.61, 0.5, True), (0.9, 0.9, False)]
)
def test_repetition_counts_where_it_is_much_and_more_than_before(repeated, dense, again):
    said = verdict(drift=steps(repeated=repeated, dense_repeated=dense))
    assert (words(said)[GENERATION] == "badly") == again
    assert ("repeats itself" in " ".join(said.findings)) == again


def test_texts_too_short_to_repeat_are_told():
    said = verdict(drift=steps(repeated=np.nan, dense_repeated=np.nan))
    assert "too short to contain repetition" in said.findings[1] and words(said)[GENERATION] == "well"


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
    [
        (0.95, 0.6, "well"),
        (0.9, 0.6, UNSURE),
        (0.85, 0.6, "badly"),
        (0.95, 0.58, "well"),
        (0.93, 0.55, UNSURE),
        (0.9, 0.5, "badly"),
    ],
)
def test_choice_at_its_thresholds(agreement, accuracy, use):
    assert words(verdict(choice=choices(agreement, accuracy)))[CHOICE] == use


def test_a_model_that_guesses_is_not_judged():
    said = verdict(choice=choices(dense=0.34, accuracy=0.34))
    assert said.uses == {} and said.conclusion == "" and "at most 10 points above guessing" in said.findings[0]


def test_the_better_way_of_choosing_is_judged():
    said = verdict(choice=choices(dense=0.3, text_dense=0.7))
    assert "by text" in said.findings[0] and words(said)[CHOICE] == "badly"


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
    assert len(judge.THRESHOLDS) == 8 and all(all(each) for each in judge.THRESHOLDS)
    shown = " ".join(limit for _, limit, _ in judge.THRESHOLDS)
    assert all(value in shown for value in ("0.02", "0.1", "30 %", "10 points", "90 %", "5 points"))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_how_near_generation_stays_is_judged_at_a_temperature_of_1(temperature):
    """KL falls with the square of T, so a hot dial would make every plan look harmless."""
    hot = replace(steps(kl=0.05), temperature=temperature)
    assert words(verdict(drift=steps(kl=0.05))) == {GENERATION: "well"}
    said = verdict(drift=hot)
    assert said.uses == {} and said.conclusion == "" and f"read at T = {temperature:g}" in said.findings[-1]
    assert words(verdict(drift=replace(steps(repeated=0.9), temperature=temperature))) == {GENERATION: "badly"}


# What samples can tell


@pytest.mark.parametrize(
    "windows, word",
    [
        ((0.01,) * 8, "well"),
        ((0.01,) * 5, UNSURE),  # too few
        ((0.001,) * 7 + (0.1,), UNSURE),  # a mean of 0.013, but one window does it all
        ((0.03, 0.05) * 4, "badly"),
        ((0.019, 0.022) * 4, UNSURE),
    ],
)
def test_hidden_states_cross_their_limit_with_the_whole_interval(windows, word):
    said = verdict(layers(*STILL, windows=windows))
    assert words(said) == {RETRIEVAL: word}
    use = said.uses[RETRIEVAL]
    assert f"{len(windows)} windows" in use.evidence and "1 − cos(h) " in use.evidence
    if word == UNSURE:
        assert said.conclusion == "There is too little text to say whether it suits embedding retrieval: measure more."


@pytest.mark.parametrize(
    "kl, word",
    [((0.05, 0.06) * 4, "well"), ((0.02,) * 7 + (0.5,), UNSURE), ((0.3, 0.5) * 4, "partly"), ((0.2, 2.2) * 4, UNSURE),
     ((2.0, 3.0) * 4, "badly")],
)  # fmt: skip
def test_generation_is_judged_where_its_interval_is_beyond_a_limit(kl, word):
    said = verdict(drift=steps(kl=kl))
    assert words(said) == {GENERATION: word}
    assert said.uses[GENERATION].evidence.startswith(f"KL {np.mean(kl):.2g} nats per step (95 %: ")
    assert said.uses[GENERATION].evidence.endswith(", 8 prompts")


def test_two_prompts_are_too_little_text():
    assert words(verdict(drift=steps(kl=5.0, prompts=2))) == {GENERATION: UNSURE}


def test_repetition_of_a_single_text_is_no_repetition_of_the_plan():
    said = verdict(drift=steps(kl=0.05, repeated=(0.0,) * 5 + (1.0,) * 3))
    assert words(said) == {GENERATION: UNSURE} and "38 % of 4-grams are repeated (95 %: " in said.uses[GENERATION].evidence


def test_texts_that_are_too_short_to_repeat_do_not():
    said = verdict(drift=steps(kl=0.05, repeated=(0.0,) * 3 + (np.nan,) * 5))
    assert words(said) == {GENERATION: "well"}
    assert verdict(drift=steps(kl=0.05, repeated=(1.0,) * 8)).uses[GENERATION].word == "badly"


def test_repetition_in_two_texts_of_eight_is_not_yet_well():
    """25 % on average is below the limit, and the interval reaches far beyond it."""
    said = verdict(drift=steps(kl=0.05, repeated=(0.0,) * 6 + (1.0,) * 2))
    assert words(said) == {GENERATION: UNSURE} and "25 % of 4-grams are repeated (95 %: " in said.uses[GENERATION].evidence


@pytest.mark.parametrize("items, word", [(20, UNSURE), (1000, "well")])
def test_few_items_say_little_about_multiple_choice(items, word):
    said = verdict(choice=choices(agreement=0.95, accuracy=0.6, items=items))
    assert words(said) == {CHOICE: word} and "same choice in 95 % (95 %: " in said.uses[CHOICE].evidence
    assert said.uses[CHOICE].evidence.endswith(f", {items:,} items")
