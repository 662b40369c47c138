"""Which pictures, tables and texts a report shows of each probe's answer."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from charts.choice import choice_subspace
from charts.deviation import fidelity, generation_drift, step_layers, transitions
from charts.generation import answers
from charts.keys import key_rank, low_rank_attention, spectra
from charts.redundancy import similarity, spans
from charts.scan import drop_scan
from charts.search import search, stability
from charts.speed import speed
from charts.tasks import evaluate
from plans.plan import Plan
from probes.generation.answers import AnswersResult
from probes.generation.apart import apart, written
from probes.search.budget import UNITS

Shown = tuple[str, "go.Figure | list[dict] | str"]  # a title, and a figure, rows of a table, or HTML
Parts = Callable[[Any, Plan], Sequence[Shown]]
_PROMPTS = 3  # of which the texts are shown


def _similarity(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Importance per layer", similarity.importance(result, plan)),
        ("Distance between the states of any two layers", spans.states(result, plan)),
        ("Best span by length", similarity.span_curve(result, plan)),
        ("Contributions", similarity.contributions(result)),
    ]


def _key_rank(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Rank of the keys by layer and head", key_rank.heads(result, result.level)),
        ("Rank along the layers", key_rank.layers(result, result.level)),
        ("Overlap of the leading subspaces", spectra.overlap(result)),
    ]


def _low_rank(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Perplexity by shares of dimensions and keys", low_rank_attention.grid(result)),
        ("Recall and attention captured", low_rank_attention.by_layer(result, result.dims[0], result.top[0])),
    ]


def _transitions(result: Any, plan: Plan) -> list[Shown]:
    name = str(plan)
    return [
        ("The whole plan over depth", transitions.depth({name: result})),
        ("Each sublayer alone", transitions.alone({name: result})),
    ]


def _drift(result: Any, plan: Plan) -> list[Shown]:
    found: list[Shown] = [("Over steps, as a text is generated", generation_drift.steps({str(plan): result}))]
    for prompt, asked in enumerate(result.prompts[:_PROMPTS]):
        sides = "".join(
            f"<div><b>{name}</b>{generation_drift.written(result, prompt, pruned)}</div>"
            for name, pruned in (("Dense", False), (f"Pruned · {html.escape(str(plan))}", True))
        )
        found.append((f"Answers to “{asked}”", f'<div class="sides">{sides}</div>'))
    return found


def _step(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("The whole plan over depth, at one step of a text", transitions.depth({str(plan): result}, band=False)),
        ("In words", f"<p>{html.escape(step_layers.sentence(result))}</p>"),
    ]


def _choice(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Vocabulary against options", choice_subspace.subspaces({str(plan): result})),
        ("Accuracy, agreement and margins", choice_subspace.summary({str(plan): result})),
        ("Items that flipped, by letter", choice_subspace.flipped(result, "letters")),
    ]


def _fidelity(result: Any, plan: Plan) -> list[Shown]:
    worst = int(result.token_kl.mean(axis=1).argmax())
    return [(f"KL at each token of window {worst}, the worst", fidelity.damage(result, result.pieces, worst))]


def _speed(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Time of every round", speed.rounds(result)),
        ("Memory", speed.memory(result.memory)),
        ("In numbers", speed.table({str(plan): result})),
    ]


def _scan(result: Any, plan: Plan) -> list[Shown]:
    found: list[Shown] = [
        ("What each sublayer costs alone", drop_scan.damage(result, plan)),
        ("How well scores that need no drop rank that", result.agreements),
    ]
    if np.isfinite(result.skip_future).any():
        found.append(("What a skipped layer changes in later ones", drop_scan.skips(result, plan)))
    return found


def _search(result: Any, plan: Plan) -> list[Shown]:
    return [
        ("Damage against what is saved", search.front(result, plan, UNITS[result.unit])),
        ("Plans found", search.table(result)),
    ]


def _stability(result: Any, plan: Plan) -> list[Shown]:
    return [("What each variant drops", stability.chosen(result)), ("On the same windows", stability.table(result))]


def _evaluate(result: Any, plan: Plan) -> list[Shown]:
    return [("Pruned minus dense", evaluate.differences(result)), ("In numbers", evaluate.table(result))]


def beside_dense(result: AnswersResult, dense: AnswersResult | None, plan: Plan) -> list[Shown]:
    """Answers of a plan, each beside the dense model's if that is known, and how far they are apart."""
    found: list[Shown] = []
    for prompt, asked in enumerate(result.prompts):
        sides = [("Dense", dense), (f"Pruned · {plan}", result)] if dense else [(str(plan) or "Dense", result)]
        tokens = [written(each, prompt) for _, each in sides]
        texts = "".join(
            f"<div><b>{html.escape(name)}</b>{answers.answer(tokens[i], tokens[1 - i] if dense else ())}</div>"
            for i, (name, _) in enumerate(sides)
        )
        found.append((f"Answers to “{asked}”", f'<div class="sides">{texts}</div>'))
    if dense:
        rows = [[apart(dense, result, i)] for i in range(len(result.prompts))]
        found.append(("How far apart", answers.summary(result.prompts, ["dense", str(plan)], rows)))
    return found


PARTS: dict[str, Parts] = {
    "similarity": _similarity,
    "key_rank": _key_rank,
    "low_rank_attention": _low_rank,
    "transitions": _transitions,
    "generation_drift": _drift,
    "step_layers": _step,
    "choice_subspace": _choice,
    "fidelity": _fidelity,
    "answers": lambda result, plan: beside_dense(result, None, plan),
    "drop_scan": _scan,
    "search": _search,
    "stability": _stability,
    "speed": _speed,
    "evaluate": _evaluate,
}
