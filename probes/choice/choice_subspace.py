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


@dataclass(frozen=True)
class Way:
    """A way of choosing.

    Attributes
    ----------
    tokens : callable
        The tokens whose probabilities are looked up for an item.
    score : callable
        From logits (positions, vocab) and these tokens to a float64 tensor of shape (options,).
    length : callable
        What an option's score is divided by, from its text.
    """

    tokens: Callable[[OptionTokens], Sequence[int]]
    score: Callable[[Tensor, Tensor, OptionTokens], Tensor]
    length: Callable[[str], int]


def deviations(
    dense: Tensor, pruned: Tensor, options: Sequence[int] | Tensor | None, temperature: float = 1.0
) -> dict[str, Tensor]:
    """Measures at one position, from two logit vectors of shape (vocab,); without ``options`` those are NaN.

    Returns
    -------
    dict of float64 tensors without axes, where the logits are: nobody waits for them here
    """
    found = logit_deviation(dense, pruned, temperature)
    values = {name: found[key] for name, key in MEASURES.items()}
    inside = [f"option_{name}" for name in MEASURES]
    if options is None:
        nothing = torch.full_like(values["kl"], torch.nan)
        return values | dict.fromkeys([*inside, "option_mass", "dense_option_mass"], nothing)
    options = torch.as_tensor(options, device=dense.device)
    found = logit_deviation(dense[options], pruned[options], temperature)
    values |= {name: found[key] for name, key in zip(inside, MEASURES.values(), strict=True)}
    for name, logits in (("option_mass", pruned), ("dense_option_mass", dense)):
        values[name] = (logits.to(values["kl"].device).double() / temperature).softmax(-1)[options].sum()
    return values


def _letter_scores(logits: Tensor, tokens: Tensor, each: OptionTokens) -> Tensor:
    """Log-probability of each letter's token, from the logits (1, vocab) at the position where the letters diverge."""
    return logits[-1].double().log_softmax(-1)[tokens]


def _text_scores(logits: Tensor, tokens: Tensor, each: OptionTokens) -> Tensor:
    """Log-likelihood of each option, from the logits (positions, vocab) of all its rows, one after another."""
    chances = logits.double().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return torch.stack([part.sum() for part in chances.split([len(row) - each.start for row in each.rows])])


BY_LETTER = Way(lambda each: each.firsts, _letter_scores, lambda option: 1)
BY_TEXT = Way(
    lambda each: [token for row in each.rows for token in row[each.start :]],
    _text_scores,
    lambda option: len(option.encode()),
)


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
    for name, (options, way) in {"letters": (letters, BY_LETTER), "texts": (texts, BY_TEXT)}.items():
        rows: dict[int, dict[str, Any]] = {}
        for batch in batches_by_length(options, subject.config.vocab_size):
            done = len(found) * len(items) + len(rows)
            progress(done, 2 * len(items), f"{name}: {len(rows)} of {len(items)} items")
            asked = [(items[place], options[place]) for place in batch]
            rows |= zip(batch, _ask(asked, way, readouts, params.temperature, subject.device), strict=True)
        found[name] = choices(items, [rows[place] for place in range(len(items))])
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
        raise Refusal(
            f"{name}: this tokenizer encodes two of the letters A to E as the same token, so they cannot be told apart."
        )
    return each.trimmed


def _ask(
    batch: Sequence[tuple[Item, OptionTokens]], way: Way, readouts: list[Readout], temperature: float, device: torch.device
) -> list[dict[str, Any]]:
    """For each item the scores of dense and pruned model, and the measures at the answer's position."""
    tokens, wanted = padded([each for _, each in batch])
    tokens = tokens.to(device)
    both = [readout(tokens, wanted)[1] for readout in readouts]
    looked_up, firsts = (_places(lists, both[0].device) for lists in _tokens(batch, way))
    found, begin = [], 0
    for (_, each), asked, options in zip(batch, looked_up, firsts, strict=True):
        dense, pruned = (logits[begin : begin + each.positions] for logits in both)
        measures = deviations(dense[each.deciding], pruned[each.deciding], options if each.firsts else None, temperature)
        scores = [way.score(logits, asked, each) for logits in (pruned, dense)]
        found.append((measures, scores))
        begin += each.positions
    return _fetched(batch, way, found)


def _tokens(batch: Sequence[tuple[Item, OptionTokens]], way: Way) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    return [way.tokens(each) for _, each in batch], [each.firsts or () for _, each in batch]


def _places(lists: list[Sequence[int]], device: torch.device) -> Sequence[Tensor]:
    """Lists of token ids on the device, brought there together."""
    whole = torch.tensor([token for each in lists for token in each], dtype=torch.int64).to(device)
    return whole.split([len(each) for each in lists])


def _fetched(
    batch: Sequence[tuple[Item, OptionTokens]], way: Way, found: list[tuple[dict[str, Tensor], list[Tensor]]]
) -> list[dict[str, Any]]:
    """What was found at each item as numbers, fetched from the device at once."""
    parts = [torch.cat([torch.stack(list(measures.values())), *scores]) for measures, scores in found]
    numbers = iter(torch.cat(parts).tolist())
    rows = []
    for (item, _), (measures, scores) in zip(batch, found, strict=True):
        row: dict[str, Any] = {name: next(numbers) for name in measures}
        for name, side in zip(("scores", "dense_scores"), scores, strict=True):
            row[name] = [next(numbers) / way.length(option) for _, option in zip(side, item.options, strict=True)]
        rows.append(row)
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
