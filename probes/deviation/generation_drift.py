"""Where generation falls apart: dense and pruned model, step by step along a greedy continuation.

Teacher-forced: both read the dense model's continuation, so at each step they have the same context, and a distance is a
distance between models. Free-running: each goes on from its own words. After the first token that differs, distances there
also hold the distance between two texts; these steps are marked as ``mixed``.

The dense continuations and the dense model's last hidden states on them are the same for every plan, so they are kept
(`probes.deviation.dense_texts`) and a second plan needs no dense pass. Free-running, the text is the pruned model's own: it has
to be written and read for each plan, and nothing that is kept could stand in.

References
----------
arXiv 2603.24652, §4, with theorems 1 to 3 beside the measured values; its code compares sampled free-running texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from measures.deviation import checked_temperature
from measures.text import first_divergence, rouge_l
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.plan import Plan
from probes.base import Probe
from probes.deviation.continuations import (
    CHAT,
    chats,
    described,
    deviation,
    folded,
    greedy,
    likeliest,
    predictions,
    stacked,
    tokenized,
)
from probes.deviation.dense_texts import DenseTexts
from probes.deviation.readout import Readout
from refusal import Progress, Refusal, silent
from texts import prompts as built_in

LONGEST = 1024
_TOP = ("probability", "top_ids", "top_probability")


@dataclass(frozen=True)
class DriftParams:
    """What to continue, and how.

    Attributes
    ----------
    prompts : str
        One per line; empty: eight built-in ones.
    chat : str
        ``on``: each prompt is a user's turn in the chat template; ``off``: plain text; ``auto``: on if there is a template.
    length : int
        Most steps per prompt.
    temperature : float
        T > 0 of all probabilities measured. What is written does not depend on it: always the likeliest token.
    """

    prompts: str = ""
    chat: str = "auto"
    length: int = 32
    temperature: float = 1.0

    def __post_init__(self) -> None:
        checked_temperature(self.temperature)
        built_in.prompts_of(self.prompts)
        if self.chat not in CHAT:
            raise Refusal(f"chat is one of {', '.join(CHAT)}, not '{self.chat}'.")
        if not 1 <= self.length <= LONGEST:
            raise Refusal(f"{self.length} steps cannot be measured. Write a length from 1 to {LONGEST}.")


@dataclass(frozen=True)
class DriftResult:
    """Arrays of shape (prompts, steps) hold NaN (numbers) or -1 (ids, ranks) where a prompt has ended.

    ``measures`` are dicts by name: ``h_cosine, z_cosine, p_cosine`` of the last hidden state after the final norm (what the
    head reads), of the logits and of the probabilities at T; ``kl`` = KL(dense‖pruned) and ``reverse_kl`` in nats; the
    second-order estimates ``h_estimate`` of 1 − h_cosine, ``p_estimate`` of 1 − p_cosine, ``kl_estimate`` of kl, and
    ``z_estimate`` of 1 − z_cosine. See `measures.deviation`.

    Attributes
    ----------
    prompts : list of str
    prompt_tokens : list of int
        Length of each, in the chat template if ``chat``.
    chat : bool
    temperature : float
    dense_ids, ids : int64 arrays of shape (prompts, steps)
        What the dense and the pruned model write, each on its own; with the end-of-text token.
    dense_pieces, pieces : list of list of str
        The text that each of these tokens adds.
    dense_texts, texts : list of str
    dense_ended, ended : list of bool
        Whether it stopped by itself.
    forced : measures of shape (prompts, steps)
        Teacher-forced on ``dense_ids``.
    forced_spread : measures of shape (steps, 6)
        Mean and quantiles 10, 25, 50, 75 and 90 % over the prompts that have not ended.
    running : list of int
        How many prompts these are, at each step.
    dense_probability, probability : float64 arrays of shape (prompts, steps)
        Of the dense model's token, under the dense and under the pruned model.
    rank : int64 array of shape (prompts, steps)
        How many tokens the pruned model ranks above the dense model's token; 0: it still ranks it first.
    dense_top_ids, top_ids : int64 arrays of shape (prompts, steps, 5)
        The likeliest tokens of both, likeliest first, on the dense text.
    dense_top_probability, top_probability : float64 arrays of shape (prompts, steps, 5)
    dense_top_pieces, top_pieces : list of list of list of str
        Their texts.
    free : measures of shape (prompts, steps)
        Each on its own text, step by step as long as both go on. Equal to ``forced`` up to the first divergence.
    mixed : bool array of shape (prompts, steps)
        Steps of ``free`` where the texts before differ: a distance between trajectories, not only between models.
    free_spread, free_running : as ``forced_spread`` and ``running``
        Over mixed steps as well: ``mixed.sum(0)`` tells how many of ``free_running`` they are.
    divergence : list of int or None
        First step at which another token is written.
    dense_length, length : list of int
        Tokens written, without the end-of-text token.
    dense_distinct, distinct : float64 arrays of shape (prompts, 3)
        Distinct-1, -2 and -3 of the token ids; NaN where there are too few.
    dense_repetition, repetition : float64 arrays of shape (prompts,)
        Share of 4-grams of token ids that were there before.
    rouge_l : float64 array of shape (prompts,)
        F1 of the longest common subsequence of words with the dense text.
    """

    prompts: list[str]
    prompt_tokens: list[int]
    chat: bool
    temperature: float
    dense_ids: np.ndarray
    ids: np.ndarray
    dense_pieces: list[list[str]]
    pieces: list[list[str]]
    dense_texts: list[str]
    texts: list[str]
    dense_ended: list[bool]
    ended: list[bool]
    forced: dict[str, np.ndarray]
    forced_spread: dict[str, np.ndarray]
    running: list[int]
    dense_probability: np.ndarray
    probability: np.ndarray
    rank: np.ndarray
    dense_top_ids: np.ndarray
    top_ids: np.ndarray
    dense_top_probability: np.ndarray
    top_probability: np.ndarray
    dense_top_pieces: list[list[list[str]]]
    top_pieces: list[list[list[str]]]
    free: dict[str, np.ndarray]
    free_spread: dict[str, np.ndarray]
    free_running: list[int]
    mixed: np.ndarray
    divergence: list[int | None]
    dense_length: list[int]
    length: list[int]
    dense_distinct: np.ndarray
    distinct: np.ndarray
    dense_repetition: np.ndarray
    repetition: np.ndarray
    rouge_l: np.ndarray


def _run(
    subject: Subject,
    corpus: Any,
    plan: Plan | Calibrated,
    params: DriftParams,
    progress: Progress = silent,
    dense: DenseTexts | None = None,
) -> DriftResult:
    """Continue all prompts; ``corpus`` is not looked at."""
    prompts, chat = built_in.prompts_of(params.prompts), chats(subject, params.chat)
    tokens = tokenized(subject, prompts, chat)
    dense, pruned = dense or DenseTexts(subject), Readout(cut(subject, plan), "pruned")
    rows = []
    for place, prompt in enumerate(tokens):

        def on_step(step: int, side: int, place: int = place) -> None:
            text = f"prompt {place + 1} of {len(prompts)}, {('dense', 'pruned')[side]} model, token {step} of {params.length}"
            progress((2 * place + side) * params.length + step, 2 * len(prompts) * params.length, text)

        rows.append(_row(subject, dense, pruned, prompt, params, on_step))
    return _result(subject, prompts, tokens, chat, params.temperature, rows)


def _row(
    subject: Subject, side: DenseTexts, readout: Readout, prompt: Tensor, params: DriftParams, on_step: Callable
) -> dict[str, Any]:
    """Everything about one prompt of shape (1, tokens)."""
    dense, ours = side.read(prompt, params.length, lambda step: on_step(step, 0))
    theirs = predictions(readout, prompt, dense.ids)
    pruned = greedy(readout.view, subject, prompt, params.length, lambda step: on_step(step, 1))
    free = predictions(readout, prompt, pruned.ids)
    both, differs = min(len(dense.ids), len(pruned.ids)), first_divergence(dense.ids, pruned.ids)
    return {
        "dense": dense,
        "pruned": pruned,
        "forced": deviation(ours, theirs, params.temperature),
        "free": deviation(*([part[:both] for part in each] for each in (ours, free)), params.temperature),
        # The token that differs is written with the same context; only what comes after it is not.
        "mixed": np.arange(both) > (both if differs is None else differs),
        "divergence": differs,
        "dense_likeliest": likeliest(ours[1], dense.ids, params.temperature),
        "likeliest": likeliest(theirs[1], dense.ids, params.temperature),
        "rouge_l": rouge_l(pruned.text, dense.text),
    }


def _result(
    subject: Subject, prompts: list[str], tokens: list[Tensor], chat: bool, temperature: float, rows: list[dict[str, Any]]
) -> DriftResult:
    steps = max(len(row[side].ids) for row in rows for side in ("dense", "pruned"))
    written = {}
    for prefix, side in (("dense_", "dense"), ("", "pruned")):
        written |= described(prefix, [row[side] for row in rows], steps)
        tops = {name: stacked([row[f"{prefix}likeliest"][name] for row in rows], steps) for name in _TOP}
        written |= {f"{prefix}{name}": values for name, values in tops.items()}
        written[f"{prefix}top_pieces"] = [
            [subject.tokenizer.batch_decode(ids[:, None]) for ids in row[f"{prefix}likeliest"]["top_ids"]] for row in rows
        ]
    return DriftResult(
        prompts=prompts,
        prompt_tokens=[each.shape[1] for each in tokens],
        chat=chat,
        temperature=temperature,
        **written,
        rank=stacked([row["likeliest"]["rank"] for row in rows], steps),
        **folded([row["forced"] for row in rows], steps, "forced", "running"),
        **folded([row["free"] for row in rows], steps, "free", "free_running"),
        mixed=np.array([np.pad(row["mixed"], (0, steps - len(row["mixed"]))) for row in rows]),
        divergence=[row["divergence"] for row in rows],
        rouge_l=np.array([row["rouge_l"] for row in rows]),
    )


PROBE = Probe(
    "generation_drift", "Deviation by generation step", 1, DriftParams, DriftResult, _run, takes_plan=True, takes_corpus=False,
    builtin={"prompts": built_in.digest()}, dense_side=DenseTexts, writes=("length",), holds=lambda params: params.length,
)  # fmt: skip
