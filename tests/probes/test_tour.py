"""The answers that come with the app."""

from probes import HIDDEN, PROBES
from probes.generation.apart import written
from probes.redundancy.ranking import most_redundant
from probes.tour.shipped import ATTENTIONS, FILE, MLPS, PROMPTS, QUESTIONS, shipped

KINDS = PROBES | HIDDEN


def test_the_file_is_small():
    assert FILE.stat().st_size < 2_000_000


def test_each_answer_is_of_today_s_probe_on_the_bundled_model():
    assert set(shipped()) == set(QUESTIONS)
    for name, question in QUESTIONS.items():
        told = shipped()[name].about["question"]
        assert told["probe_version"] == KINDS[question.probe].version, f"{name}: run scripts/tour.py"
        assert (told["model"]["name"], told["plan"]) == ("bundled", question.plan)


def test_the_plans_are_the_four_most_redundant_of_each_kind():
    found = shipped()["similarity"].result
    assert (str(most_redundant(found, "attention", 4)), str(most_redundant(found, "mlp", 4))) == (ATTENTIONS, MLPS)


def test_four_mlps_cost_more_than_four_attentions_and_every_answer_is_there():
    there = {name: each.result for name, each in shipped().items()}
    assert there["fidelity mlp"].kl > 2 * there["fidelity attention"].kl
    for name in ("dense", "attention", "mlp"):
        assert tuple(there[f"answers {name}"].prompts) == PROMPTS
        assert all(written(there[f"answers {name}"], place) for place in range(len(PROMPTS)))
    assert "Paris" in there["answers dense"].texts[0]
