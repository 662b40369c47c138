"""Tasks of lm-evaluation-harness on the dense and the pruned model, compared item by item.

The harness knows the tasks, makes the requests and judges the answers; the model's numbers come from views of the model that is
in memory, so any plan on any device can be judged, and the harness needs no copy of the weights. Log-likelihoods are sums in
nats of float64 over logits in float32, also where the model computes in less.

References
----------
Gao et al., A framework for few-shot language model evaluation (EleutherAI/lm-evaluation-harness).
"""

import importlib.metadata
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from measures.significance.intervals import bootstrap
from measures.significance.paired import mcnemar
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.plan import Plan
from probes.base import Probe
from probes.tasks import session
from probes.tasks.answers import Answers
from probes.tasks.folder import folder_digest, tasks_folder
from refusal import Progress, Refusal, silent
from texts import items
from texts.sources import digest_of

BUILTIN = "prunescope_items"
_VERSION = 1


@dataclass(frozen=True)
class EvaluateParams:
    """What to ask.

    Attributes
    ----------
    tasks : str
        Names with commas between, as the harness knows them, of own tasks, or ``prunescope_items``: the built-in items.
    folder : str
        A folder with tasks of one's own; empty: the one that ``PRUNESCOPE_TASKS`` names, if any. Tasks may hold code, and
        the harness runs it.
    limit : int
        Only so many items of each task, from the first; 0: all.
    fewshot : int
        Examples before each item; -1: as the task says.
    chat : bool
        Put requests into the model's chat template.
    seed : int
        Of the choice of examples.

    Raises
    ------
    Refusal
        There is no task, or a number is out of its range.
    """

    tasks: str = BUILTIN
    folder: str = ""
    limit: int = 0
    fewshot: int = -1
    chat: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.names:
            raise Refusal(f"Name a task, such as {BUILTIN} or hellaswag; separate several with commas.")
        if self.limit < 0:
            raise Refusal(f"A limit of {self.limit} items is not valid. Write 0 for all items, or a number of items.")
        if self.fewshot < -1:
            raise Refusal(f"{self.fewshot} examples are not valid. Write -1 for the task's default, or 0 or more.")

    @property
    def names(self) -> list[str]:
        """The tasks."""
        return list(dict.fromkeys(name for name in map(str.strip, self.tasks.split(",")) if name))


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of both models.

    Attributes
    ----------
    score, dense_score : float
        Mean over tasks of each task's first metric.
    p : float
        The least p-value among the first metrics that have one; NaN: none has.
    tasks : list of dict
        For each task ``name, version, items, metrics``; a metric has ``name, better`` (whether higher is better), ``dense,
        pruned``, and where the harness gives a value for each item the paired ``difference`` with ``low, high`` (95 %
        bootstrap over items), ``won, lost`` (items that only one gets right) and ``p`` (exact McNemar) where values are 0 or 1.
    digests : dict of str to list of str
        The harness's digest of each item, by task: equal digests are the same item.
    values, dense_values : dict of str to dict of str to float64 arrays of shape (items,)
        By task and metric.
    harness : str
        Its version.
    """

    score: float
    dense_score: float
    p: float
    tasks: list[dict[str, Any]]
    digests: dict[str, list[str]]
    values: dict[str, dict[str, np.ndarray]]
    dense_values: dict[str, dict[str, np.ndarray]]
    harness: str


def _run(
    subject: Subject,
    corpus: Any,
    plan: Plan | Calibrated,
    params: EvaluateParams,
    progress: Progress = silent,
    dense: MutableMapping[str, Any] | None = None,
) -> EvaluateResult:
    """Ask both models; ``dense`` keeps what the dense one scored, for the next plan."""
    session.refuse_missing()
    kept = {} if dense is None else dense
    name = _name(params)
    if name not in kept:
        kept[name] = {"tasks": _asked(subject, cut(subject, Plan()), "dense", params, progress)}
    before = kept[name]["tasks"]
    after = _asked(subject, cut(subject, plan), "pruned", params, progress)
    try:
        return compared(before, after)
    except Refusal:
        del kept[name]  # the items may have changed since
        raise


def _name(params: EvaluateParams) -> str:
    """What was asked, of what, and of which harness: what the dense model scored is kept under it."""
    asked = replace(params, folder="")
    of = (_VERSION, asked, folder_digest(params.folder), items.digest(), importlib.metadata.version("lm_eval"))
    return f"tasks {digest_of(repr(of))}"


def _asked(subject: Subject, view: Any, name: str, params: EvaluateParams, progress: Progress) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        subject.tokenizer.save_pretrained(folder)
        job = {"tasks": params.names, "folder": str(tasks_folder(params.folder) or ""), "tokenizer": folder,
               "context": subject.context, "limit": params.limit, "fewshot": params.fewshot, "chat": params.chat,
               "seed": params.seed}  # fmt: skip
        return session.run(job, Answers(subject, view, name, progress), progress)


def compared(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> EvaluateResult:
    """Put what the harness found of two models side by side.

    Raises
    ------
    Refusal
        They were not asked the same items.
    """
    if [(each["name"], each["digests"]) for each in before] != [(each["name"], each["digests"]) for each in after]:
        raise Refusal("The tasks' items changed between the two models. Ask again.")
    tasks = [_task(*pair) for pair in zip(before, after, strict=True)]
    firsts = [task["metrics"][0] for task in tasks]
    chances = [metric["p"] for metric in firsts if "p" in metric]
    return EvaluateResult(
        score=float(np.mean([metric["pruned"] for metric in firsts])),
        dense_score=float(np.mean([metric["dense"] for metric in firsts])),
        p=min(chances, default=float("nan")),
        tasks=tasks,
        digests={each["name"]: each["digests"] for each in after},
        values={each["name"]: {name: np.array(row) for name, row in each["values"].items()} for each in after},
        dense_values={each["name"]: {name: np.array(row) for name, row in each["values"].items()} for each in before},
        harness=importlib.metadata.version("lm_eval"),
    )


def _task(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    if not after["metrics"]:
        raise Refusal(f"The task {after['name']} produced no numeric metric. Check that its metric_list fits its output_type.")
    metrics = []
    for name, value in after["metrics"].items():
        row = {"name": name, "better": after["better"][name], "dense": before["metrics"][name], "pruned": value}
        if name in after["values"] and name in before["values"]:
            row |= paired(np.array(before["values"][name]), np.array(after["values"][name]))
        metrics.append(row)
    return {"name": after["name"], "version": after["version"], "items": len(after["digests"]), "metrics": metrics}


def paired(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """The difference of two models on the same items, (items,) each: ``difference, low, high`` and, of 0 and 1, the test."""
    apart = after - before
    low, high = bootstrap(apart)
    found = {"difference": float(apart.mean()), "low": float(low), "high": float(high)}
    if np.isin(np.concatenate([before, after]), (0, 1)).all():
        right, was_right = after == 1, before == 1
        found |= {"won": int((right & ~was_right).sum()), "lost": int((was_right & ~right).sum())}
        found["p"] = mcnemar(was_right, right)
    return found


PROBE = Probe(
    "evaluate",
    "Tasks",
    _VERSION,
    EvaluateParams,
    EvaluateResult,
    _run,
    takes_plan=True,
    takes_corpus=False,
    contents={"folder": folder_digest},
    builtin={"items": items.digest()},
    dense_side=lambda subject, tokens, kept: kept,
    libraries=("lm_eval",),
)
