"""Why multiple choice survives pruning: predictions at the answer's position, over the whole vocabulary and over the options.

A plan may move a distribution over 50,000 tokens far and leave the few tokens that are options in their order. So the same
cosines and KL are taken twice, of everything and of the options alone, whose probabilities are renormalised. Both are sums.

Options are chosen in two ways. By letter: the options stand in the prompt, and the likeliest of the tokens A, B, … after
"Answer:" is chosen. By text: each option's text follows the question, and its log-likelihood in nats, summed over its tokens,
is divided by its length in bytes of UTF-8, so that neither long options lose nor a tokenizer matters.

References
----------
arXiv 2603.24652, §5 (subspace of the options); its code divides KL by the number of tokens compared, which is undone here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.deviation import checked_temperature, logit_deviation
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.plan import Plan
from probes.base import Probe
from probes.choice.choices import Choices, choices
from probes.choice.option_tokens import OptionTokens, batches_by_length, padded, tokenize_options
from probes.deviation.readout import Readout
from refusal import Progress, Refusal, silent
from texts.items import LETTERS, Item, builtin, digest, read_items

MEASURES = {"logit_cosine": "z_cosine", "prob_cosine": "p_cosine", "kl": "kl", "reverse_kl": "reverse_kl"}


@dataclass(frozen=True)
class ChoiceParams:
    """What to ask.

    Attributes
    ----------
    items : str
        JSON lines, see `texts.items`; empty: the built-in items.
    temperature : float
        T > 0 of the probabilities that are compared; what is chosen does not depend on it.
    """

    items: str = ""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        checked_temperature(self.temperature)
        self.asked()

    def asked(self) -> tuple[Item, ...]:
        """The items meant."""
        return read_items(self.items) if self.items else builtin()


@dataclass(frozen=True)
class ChoiceResult:
    """Choices of dense and pruned model.

    Attributes
    ----------
    items : int
    chance : float
        Accuracy of guessing: the mean of 1 / (number of options).
    temperature : float
    questions, categories : list of str
    options : list of list of str
    answers : list of int
        Place of the right option.
    letters, texts : Choices
        Chosen by letter, and by length-normalised likelihood of the option's text.
    """

    items: int
    chance: float
    temperature: float
    questions: list[str]
    categories: list[str]
    options: list[list[str]]
    answers: list[int]
    letters: Choices
    texts: Choices


def deviations(dense: Tensor, pruned: Tensor, options: Sequence[int] | None, temperature: float = 1.0) -> dict[str, float]:
    """Measures at one position, from two logit vectors of shape (vocab,); without ``options`` those are NaN."""
    found = logit_deviation(dense, pruned, temperature)
    values = {name: found[key].item() for name, key in MEASURES.items()}
    inside = [f"option_{name}" for name in MEASURES]
    if options is None:
        return values | dict.fromkeys([*inside, "option_mass", "dense_option_mass"], float("nan"))
    found = logit_deviation(dense[list(options)], pruned[list(options)], temperature)
    values |= {name: found[key].item() for name, key in zip(inside, MEASURES.values(), strict=True)}
    for name, logits in (("option_mass", pruned), ("dense_option_mass", dense)):
        values[name] = (logits.double() / temperature).softmax(-1)[list(options)].sum().item()
    return values


def by_letter(logits: Tensor, item: Item, each: OptionTokens) -> list[float]:
    """Log-probability of each letter's token, from the logits (1, vocab) at the position where the letters diverge."""
    return logits[-1].double().log_softmax(-1)[list(each.firsts)].tolist()


def by_text(logits: Tensor, item: Item, each: OptionTokens) -> list[float]:
    """Log-likelihood per byte of each option, from the logits (positions, vocab) of all its rows, one after another."""
    targets = torch.tensor([token for row in each.rows for token in row[each.start :]], device=logits.device)
    chances = logits.double().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    parts = chances.split([len(row) - each.start for row in each.rows])
    return [part.sum().item() / len(option.encode()) for part, option in zip(parts, item.options, strict=True)]


def _run(
    subject: Subject, corpus: Any, plan: Plan | Calibrated, params: ChoiceParams, progress: Progress = silent
) -> ChoiceResult:
    """Ask dense and pruned model; ``corpus`` is not looked at."""
    items = params.asked()
    letters = [_lettered(subject, item, f"Item {place}") for place, item in enumerate(items)]
    texts = [tokenize_options(subject, item.opened, item.options, f"Item {place}") for place, item in enumerate(items)]
    cuts = [cut(subject, each) for each in (Plan(), plan)]
    readouts = [Readout(view, name) for view, name in zip(cuts, ("dense", "pruned"), strict=True)]
    found = {}
    for way, (options, score) in {"letters": (letters, by_letter), "texts": (texts, by_text)}.items():
        rows: dict[int, dict[str, Any]] = {}
        for batch in batches_by_length(options, subject.config.vocab_size):
            done = len(found) * len(items) + len(rows)
            progress(done, 2 * len(items), f"{way} of {len(rows)} of {len(items)} items")
            asked = [(items[place], options[place]) for place in batch]
            rows |= zip(batch, _ask(asked, score, readouts, params.temperature, subject.device), strict=True)
        found[way] = choices(items, [rows[place] for place in range(len(items))])
    return ChoiceResult(
        items=len(items),
        chance=float(np.mean([1 / len(item.options) for item in items])),
        temperature=params.temperature,
        questions=[item.question for item in items],
        categories=[item.category for item in items],
        options=[list(item.options) for item in items],
        answers=[item.answer for item in items],
        **found,
    )


def _lettered(subject: Subject, item: Item, name: str) -> OptionTokens:
    each = tokenize_options(subject, item.lettered, LETTERS[: len(item.options)], name)
    if each.firsts is None:
        raise Refusal(f"{name}: this tokenizer writes two of the letters A to E with one token, so none can be chosen.")
    return each.trimmed


def _ask(
    batch: Sequence[tuple[Item, OptionTokens]],
    score: Callable,
    readouts: list[Readout],
    temperature: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    """For each item the scores of dense and pruned model, and the measures at the answer's position."""
    tokens, wanted = (each.to(device) for each in padded([each for _, each in batch]))
    both = [readout(tokens, wanted)[1] for readout in readouts]
    rows, begin = [], 0
    for item, each in batch:
        dense, pruned = (logits[begin : begin + each.positions] for logits in both)
        row: dict[str, Any] = deviations(dense[each.deciding], pruned[each.deciding], each.firsts, temperature)
        rows.append(row | {"scores": score(pruned, item, each), "dense_scores": score(dense, item, each)})
        begin += each.positions
    return rows


PROBE = Probe(
    "choice_subspace",
    "Multiple choice",
    1,
    ChoiceParams,
    ChoiceResult,
    _run,
    takes_plan=True,
    takes_corpus=False,
    builtin={"items": digest()},
)
