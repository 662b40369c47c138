"""At which layer one step of a text goes wrong: the whole plan over depth, read where the step's token is predicted.

The context is the one of `generation_drift` at that step: a prompt, and what the dense model wrote after it so far. What is
measured is what `transitions` measures at the last token of a window, and this context is the window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from models.subject import Subject
from plans.cut import Calibrated
from plans.plan import Plan
from probes.base import Probe
from probes.deviation import generation_drift, transitions
from probes.deviation.continuations import chats, tokenized
from probes.deviation.dense_texts import DenseTexts
from probes.deviation.generation_drift import DriftParams
from probes.deviation.transitions import TransitionsParams, TransitionsResult
from refusal import Progress, Refusal, plural, silent
from texts import prompts as built_in
from texts.corpus import Corpus, CorpusRef


@dataclass(frozen=True)
class StepLayersParams:
    """Which step of which text; the first four are those of `generation_drift`, and name its texts.

    Attributes
    ----------
    prompts, chat, length, temperature
        See `DriftParams`.
    prompt, step : int
        Places among the prompts and among the tokens that the dense model writes, from 0.
    """

    prompts: str = ""
    chat: str = "auto"
    length: int = 32
    temperature: float = 1.0
    prompt: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        count = len(built_in.prompts_of(self.texts.prompts))
        if not 0 <= self.prompt < count:
            raise Refusal(f"There is no prompt {self.prompt}. Write a number from 0 to {count - 1}.")
        if not 0 <= self.step < self.length:
            raise Refusal(f"There is no step {self.step}. Write a number from 0 to {self.length - 1}, or a larger length.")

    @property
    def texts(self) -> DriftParams:
        """What the texts depend on, checked as there."""
        return DriftParams(self.prompts, self.chat, self.length, self.temperature)


def _run(
    subject: Subject,
    corpus: Any,
    plan: Plan | Calibrated,
    params: StepLayersParams,
    progress: Progress = silent,
    dense: DenseTexts | None = None,
) -> TransitionsResult:
    """Read one context at its last token; ``corpus`` is not looked at."""
    total = params.length + 2  # those of the text, and the two of `transitions` for one window

    def on_step(step: int) -> None:
        progress(step, total, f"dense model, token {step} of {params.length}")

    def later(done: float, _: float, text: str) -> None:
        progress(params.length + done, total, text)

    window = _window(subject, params, dense or DenseTexts(subject), on_step)
    return transitions.PROBE.run(subject, window, plan, TransitionsParams(params.temperature, last=True), later)


def _window(subject: Subject, params: StepLayersParams, dense: DenseTexts, on_step: Callable[[int], None]) -> Corpus:
    """The prompt and what the dense model wrote before the step, as a corpus of one window.

    Raises
    ------
    Refusal
        The text ends before the step.
    """
    prompts, chat = built_in.prompts_of(params.prompts), chats(subject, params.chat)
    prompt = tokenized(subject, prompts, chat)[params.prompt]
    ids = dense.read(prompt, params.length, on_step)[0].ids
    if params.step >= len(ids):
        raise Refusal(
            f"The dense model's text ends after {plural(len(ids), 'step')}, so there is no step {params.step}. Write a number "
            f"from 0 to {len(ids) - 1}."
        )
    tokens = torch.cat([prompt[0].cpu(), torch.tensor(ids[: params.step], dtype=prompt.dtype)])[None].numpy()
    return Corpus(CorpusRef(windows=1), tokens, "")  # named by nothing: it is read here and nowhere else


PROBE = Probe(
    "step_layers", "Deviation by layer at one step", transitions.PROBE.version, StepLayersParams, TransitionsResult, _run,
    takes_plan=True, takes_corpus=False, builtin=generation_drift.PROBE.builtin, dense_side=DenseTexts, writes=("length",),
    holds=generation_drift.PROBE.holds,
)  # fmt: skip
