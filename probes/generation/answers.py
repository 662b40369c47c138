"""What one model writes after each prompt, kept: a column of a comparison.

Each answer is a piece of its own, so another prompt costs one more answer, an interrupted question goes on where it was, and
what is being written can be read meanwhile, from any process. How far the plan is from the dense model is measured on the
dense model's own greedy texts, which are kept for the next plan.
"""

import hashlib
import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from measures.chunks import row_chunks
from measures.divergence import Softmax, divergence
from models.generate import Settings, Token, Writer, write
from models.subject import Subject
from plans.cut import Calibrated, cut, plan_of
from plans.plan import Plan
from probes.base import Probe
from probes.deviation.continuations import CHAT, chats, predictions, stacked, tokenized
from probes.deviation.dense_texts import DenseTexts
from probes.deviation.readout import Readout
from refusal import Progress, Refusal, silent
from texts import prompts as built_in

LONGEST = 4096
NOW = " now"  # ends the name of a piece that is still being written
_EVERY = 0.4  # seconds between looks that others can have at it
_COMPARED = 2**22  # logits compared at a time


@dataclass(frozen=True)
class AnswersParams:
    """How to continue which prompts.

    Attributes
    ----------
    prompts : str
        One per line, or one JSON object per line with a ``prompt``; empty: the built-in ones.
    length : int
        Most tokens per answer.
    temperature : float
        0: always the likeliest token; else sampled.
    seed : int
        Of sampling. Every model draws the same random numbers, so where two agree on the probabilities they write the same.
    chat : str
        Prompts as a user's turn in the model's chat template: ``on``, ``off``, or ``auto``, which is on where there is one.
    """

    prompts: str = ""
    length: int = 64
    temperature: float = 0.0
    seed: int = 0
    chat: str = "auto"

    def __post_init__(self) -> None:
        built_in.prompts_of(self.prompts)
        if self.chat not in CHAT:
            raise Refusal(f"chat is one of {', '.join(CHAT)}, not '{self.chat}'.")
        if not 1 <= self.length <= LONGEST:
            raise Refusal(f"Answers of {self.length} tokens cannot be written. Write a length from 1 to {LONGEST}.")
        if not 0 <= self.temperature <= 100:
            raise Refusal(f"A temperature of {self.temperature} is not valid. Write 0 or more, up to 100.")
        if not 0 <= self.seed < 2**31:
            raise Refusal(f"The seed {self.seed} is not valid. Write a whole number from 0 to {2**31 - 1}.")

    @property
    def settings(self) -> Settings:
        """What the writer is told."""
        return Settings(self.length, self.temperature, self.seed)


@dataclass(frozen=True)
class AnswersResult:
    """Lists have one entry per prompt. Arrays hold NaN or -1 where an answer has ended.

    Attributes
    ----------
    prompts : list of str
    chat : bool
        Whether the model's chat template was used.
    ids : int64 array of shape (prompts, steps)
        Tokens written, with the end-of-text token.
    pieces : list of list of str
        The text that each adds.
    texts : list of str
        Whole answers, without the end-of-text token.
    ended : list of bool
        Whether the model ended it by itself.
    probabilities : float32 array of shape (prompts, steps)
        Of the token written, before temperature.
    runners : list of list of list of str
        The five likeliest tokens at each step.
    runner_probabilities : float32 array of shape (prompts, steps, 5)
    kl : float64 array of shape (prompts,)
        Mean KL(dense‖pruned) in nats per token on the dense model's greedy answer of at most as many tokens; NaN of the dense
        model itself.
    kl_tokens : list of int
        How many tokens that mean is over.
    """

    prompts: list[str]
    chat: bool
    ids: np.ndarray
    pieces: list[list[str]]
    texts: list[str]
    ended: list[bool]
    probabilities: np.ndarray
    runners: list[list[list[str]]]
    runner_probabilities: np.ndarray
    kl: np.ndarray
    kl_tokens: list[int]


def _run(
    subject: Subject,
    corpus: None,
    plan: Plan | Calibrated,
    params: AnswersParams,
    progress: Progress = silent,
    dense: DenseTexts | None = None,
    memory: MutableMapping[str, dict[str, Any]] | None = None,
) -> AnswersResult:
    prompts = built_in.prompts_of(params.prompts)
    chat = chats(subject, params.chat)
    rows = tokenized(subject, prompts, chat)
    memory = {} if memory is None else memory
    view = cut(subject, plan)
    pieces = []
    for place, row in enumerate(rows):
        name = piece_name(str(plan_of(plan)), prompts[place], params)

        def tell(step: int, place: int = place) -> None:
            progress(place + step / params.length, len(rows), f"prompt {place + 1} of {len(rows)}, token {step}")

        if name not in memory:
            memory[name] = _written(view, subject, row, params.settings, memory, name, tell)
        pieces.append(memory[name])
    distances = [(np.nan, 0)] * len(rows)
    if plan_of(plan):
        dense = dense or DenseTexts(subject)
        readout = Readout(view, "pruned")  # from here on the view computes its logits in float32
        distances = [_distance(dense, readout, row, params.length, place, rows, progress) for place, row in enumerate(rows)]
    return _result(prompts, chat, pieces, distances)


def piece_name(plan: str, prompt: str, params: AnswersParams) -> str:
    """Under which an answer is kept, whatever other prompts were asked with it."""
    asked = [plan, prompt, params.length, params.temperature, params.seed, params.chat]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]


def so_far(kept: Mapping[str, dict[str, Any]], plan: str, params: AnswersParams) -> list[str | None]:
    """What is written after each prompt by now; None where nothing is. ``kept`` holds the pieces of a question."""
    found = []
    for prompt in built_in.prompts_of(params.prompts):
        name = piece_name(plan, prompt, params)
        piece = next((kept[each] for each in (name, name + NOW) if each in kept), None)
        found.append(None if piece is None else piece["text"])
    return found


def _written(
    view: Any, subject: Subject, prompt: Tensor, settings: Settings, memory: MutableMapping, name: str, tell: Any
) -> dict[str, Any]:
    """One answer; what there is of it is in ``memory`` under its `NOW` meanwhile."""
    writer, tokens, shown = Writer(view, subject.tokenizer, prompt, settings.temperature), [], time.monotonic()
    tell(0)
    for _, token in write([writer], settings, subject.context):
        tokens.append(token)
        if time.monotonic() - shown >= _EVERY:
            memory[name + NOW] = {"text": writer.text, "tokens": len(tokens)}
            shown = time.monotonic()
        tell(len(tokens))
    if name + NOW in memory:
        del memory[name + NOW]
    return _piece(tokens, subject)


def _piece(tokens: list[Token], subject: Subject) -> dict[str, Any]:
    said = [token.id for token in tokens if not token.ends]
    return {
        "ids": np.array([token.id for token in tokens], dtype=np.int64),
        "pieces": [token.piece for token in tokens],
        "text": subject.tokenizer.decode(said),
        "ended": bool(tokens and tokens[-1].ends),
        "probabilities": np.array([token.probability for token in tokens], dtype=np.float32),
        "runners": [[text for text, _ in token.runners] for token in tokens],
        "chances": np.array([[chance for _, chance in token.runners] for token in tokens], dtype=np.float32),
    }


def _distance(
    dense: DenseTexts, readout: Readout, prompt: Tensor, length: int, place: int, rows: list[Tensor], progress: Progress
) -> tuple[float, int]:
    """Mean KL on the dense model's greedy answer, and over how many tokens."""
    progress(place, len(rows), f"KL on prompt {place + 1} of {len(rows)}")
    written, (_, logits) = dense.read(prompt, length, lambda step: progress(place + step / length, len(rows), "dense text"))
    if not written.ids:
        return np.nan, 0
    _, pruned = predictions(readout, prompt, written.ids)
    logits, total = logits.to(pruned.device), 0.0
    for part in row_chunks(*pruned.shape, _COMPARED):
        total += float(divergence(Softmax(logits[part]), Softmax(pruned[part])).sum())
    return total / len(pruned), len(pruned)


def _result(prompts: list[str], chat: bool, pieces: list[dict], distances: list[tuple[float, int]]) -> AnswersResult:
    steps = max(len(piece["ids"]) for piece in pieces)
    return AnswersResult(
        prompts=prompts,
        chat=chat,
        ids=stacked([piece["ids"] for piece in pieces], steps),
        pieces=[piece["pieces"] for piece in pieces],
        texts=[piece["text"] for piece in pieces],
        ended=[piece["ended"] for piece in pieces],
        probabilities=stacked([piece["probabilities"] for piece in pieces], steps),
        runners=[piece["runners"] for piece in pieces],
        runner_probabilities=stacked([piece["chances"] for piece in pieces], steps),
        kl=np.array([kl for kl, _ in distances]),
        kl_tokens=[count for _, count in distances],
    )


PROBE = Probe(
    "answers", "Answers to prompts", 1, AnswersParams, AnswersResult, _run, takes_plan=True, takes_corpus=False,
    builtin={"prompts": built_in.digest()}, dense_side=DenseTexts, remembers=1, writes=("length",),
    holds=lambda params: params.length,
)  # fmt: skip
