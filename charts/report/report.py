"""A report on a model, and on a plan if one is named: what it is made of, the plans tried, and every stored answer."""

import time
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from charts import anatomy as anatomy_charts
from charts.deviation.tried import SAVED, tried
from charts.report import page
from charts.report.figures import PARTS, beside_dense
from models.anatomy import Anatomy
from models.subject import ModelRef
from plans.cost import Cost, kept, shape_of
from plans.plan import Plan, parse
from probes import PROBES
from probes.answer import Answer
from probes.base import as_dict
from probes.gate import numeric
from probes.known import Known
from refusal import Refusal, plural
from texts.corpus import is_own

_UNCOUNTED = (
    "This model has not been counted here yet. Load it in the app or run `python -m probes anatomy`, and `python -m probes "
    "cost --plan PLAN` for what a plan leaves of it; then report again."
)


def report(known: Known, ref: ModelRef, plan: str = "", own: str | None = None) -> str:
    """Compose it from what is stored; nothing is computed, and the model is not needed.

    Parameters
    ----------
    plan : str
        Answers on this plan and those that depend on none; empty: on every plan.
    own : str, optional
        Digest of the one text of somebody's own that the reader may see, or empty; without it, all of them.

    Returns
    -------
    str
        An HTML file.

    Raises
    ------
    Refusal
        Nothing is stored on this model or plan, or the plan cannot be read.
    """
    chosen = parse(plan)
    answers = [answer for answer in known.answers(ref) if own is None or _open_to(answer, own)]
    mine = [answer for answer in answers if not chosen or _plan(answer) in ("", str(chosen))]
    if not mine or (chosen and all(_plan(answer) != str(chosen) for answer in mine)):
        on = f" and the plan {chosen}" if chosen else ""
        raise Refusal(f"There are no answers on {ref.name}{on} to report. Measure something first.")
    anatomy = known.anatomy(ref)
    parts = [page.paragraph(_preface(known, ref, len(mine)), quiet=True)]
    cost = known.cost(ref, str(chosen)) if chosen else None
    parts += _model(anatomy, chosen, cost) if anatomy else [page.paragraph(_UNCOUNTED, quiet=True)]
    parts += _tried(known, ref, answers, anatomy)
    parts += [part for answer in mine for part in _answer(answer, _dense(answer, answers))]
    return page.document(f"PruneScope: {ref.name}{f', {chosen}' if chosen else ''}", parts)


def _open_to(answer: Answer, own: str) -> bool:
    """Whether an answer shows nothing of a text that somebody else pasted or uploaded."""
    question = answer.about["question"]
    read = [(question["params"][name], digest) for name, digest in question["texts"].items() if name in question["params"]]
    if question["corpus"]:
        read.append((question["corpus"]["name"], question["corpus"]["text"]))
    return all(digest == own for name, digest in read if is_own(str(name)))


def _plan(answer: Answer) -> str:
    return answer.about["question"]["plan"]


def _preface(known: Known, ref: ModelRef, count: int) -> str:
    today = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    answers = plural(count, "stored answer")
    return f"{answers}, reported on {today}. Fingerprint of the model: {known.identify(ref)}. Layers count from 0."


def _model(anatomy: Anatomy, plan: Plan, cost: Cost | None) -> Iterator[str]:
    """What the model is made of, and what the plan leaves of it."""
    yield page.heading("The model")
    row = {
        "": "dense", "parameters": anatomy.parameters, "of them zero": 0, "weights, MB": anatomy.bytes / 1e6,
        "KV cache per token, KiB": anatomy.cache_bytes / 1024, "multiply-adds per token": anatomy.multiply_adds,
    }  # fmt: skip
    rows = [row]
    if cost is not None:
        values = (cost.parameters, cost.zeros, cost.bytes / 1e6, cost.cache_bytes / 1024, cost.multiply_adds)
        rows.append(dict(zip(row, (str(plan), *values), strict=True)))
    yield page.table(rows)
    yield page.paragraph(f"{anatomy.family}, {plural(anatomy.layers, 'layer')}, width {anatomy.width}, {anatomy.dtype}.")
    if plan:
        yield page.paragraph(f"The plan {plan}: {plan.checked(shape_of(anatomy)).sentence(shape_of(anatomy))}")
    yield page.shown("Parameters per layer", anatomy_charts.sizes(anatomy_charts.by_layer(anatomy), plan))


def _tried(known: Known, ref: ModelRef, answers: list[Answer], anatomy: Anatomy | None) -> Iterator[str]:
    """Plans against each other, apart for each text, on which alone they can be compared."""
    measured = [answer for answer in answers if answer.about["question"]["probe"] == "fidelity"]
    measured.sort(key=_text)
    for text, each in groupby(measured, _text):
        rows = []
        for answer in each:
            result, cost = answer.result, known.cost(ref, _plan(answer)) if anatomy else None
            row = {"plan": _plan(answer), "kl": result.kl, "perplexity": result.perplexity}
            row |= {"dense_perplexity": result.dense_perplexity, "top1": result.top1_agreement}
            rows.append(row | (kept(anatomy, cost, parse(row["plan"])) if cost else dict.fromkeys(SAVED)))
        rows.sort(key=lambda row: row["kl"])
        yield page.heading(f"Plans tried on {text}")
        if counted := [row for row in rows if row["parameters"] is not None]:
            yield page.shown("KL against non-zero parameters kept", tried(counted, "nonzero"))
        names = {"kl": "KL, nats per token", "dense_perplexity": "dense perplexity", "top1": "same top token"}
        names |= {name: f"{what} kept" for name, what in SAVED.items()}
        yield page.table([{names.get(name, name): value for name, value in row.items()} for row in rows])


def _text(answer: Answer) -> str:
    """A text as people name it; its digest tells apart what has the same name."""
    corpus = answer.about["question"]["corpus"]
    if not corpus:
        return "no text"
    bos = ", each after BOS" if corpus.get("bos") else ""
    name = corpus["name"].rpartition("/")[2]
    return f"{name}, {plural(corpus['windows'], 'window')} of {plural(corpus['length'], 'token')}{bos} ({corpus['text'][:8]})"


def _dense(answer: Answer, answers: list[Answer]) -> Answer | None:
    """What the dense model wrote after the same prompts, for the answers of a plan."""
    question = answer.about["question"]
    if question["probe"] != "answers" or not question["plan"]:
        return None
    same = ("probe", "params", "texts")
    found = (each for each in answers if not _plan(each) and all(each.about["question"][k] == question[k] for k in same))
    return next(found, None)


def _answer(answer: Answer, dense: Answer | None) -> Iterator[str]:
    """One answer: pictures, numbers, and how it came about; with the ``dense`` model's where it is shown beside it."""
    question, probe = answer.about["question"], PROBES[answer.about["question"]["probe"]]
    plan = parse(question["plan"])
    yield page.heading(f"{probe.title}{f': {plan}' if plan else ''}")
    if question["corpus"]:
        yield page.paragraph(_text(answer), quiet=True)
    shown = beside_dense(answer.result, dense.result, plan) if dense else PARTS.get(probe.name, _nothing)(answer.result, plan)
    for title, part in shown:
        yield page.shown(title, part)
    values = as_dict(answer.result)
    yield page.shown("Numbers", page.pairs({name: _value(values, name) for name in numeric(probe.result)}))
    yield page.folded("How this was computed", page.pairs(_provenance(answer)))


def _nothing(result: Any, plan: Plan) -> tuple:
    return ()


def _value(values: dict[str, Any], name: str) -> Any:
    for each in name.split("."):
        values = values[each]
    return values


def _provenance(answer: Answer) -> dict[str, Any]:
    """Everything the answer depends on, and the circumstances, as names and values."""
    about, question = answer.about, answer.about["question"]
    learned = about.get("calibration")
    found = {
        "probe": f"{question['probe']}, version {question['probe_version']}",
        "model": f"{question['model']['name']} {question['model']['revision'] or ''}".strip(),
        "fingerprint": question["model"]["fingerprint"],
        "plan": question["plan"] or "none",
        "text": _text(answer),
        "digest of its tokens": about["digest"],
        "tokens read": about["tokens"],
        "tokens learned from": learned["tokens"] if learned and parse(question["plan"]).calibrates else 0,
        "dtype and device": f"{about['dtype']} on {about['device']}",
        "seconds": float(about["seconds"]),
        "computed on": time.strftime("%Y-%m-%d %H:%M", time.localtime(about["created"])),
    }
    found |= {f"parameter {name}": str(value)[:200] for name, value in question["params"].items()}
    found |= {f"version of {name}": value for name, value in about["versions"].items()}
    return found | {f"machine, {name}": str(value) for name, value in question.get("machine", {}).items()}
