"""What a view greedily writes after prompts, and how far two views are apart on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.chunks import row_chunks
from measures.deviation import hidden_deviation, logit_deviation
from measures.text import distinct, repetition
from models.generate import RUNNERS, Settings, Writer, prompt_tokens, write
from models.subject import Subject
from models.view import View
from probes.deviation.readout import Readout
from refusal import Refusal

MEASURES = ("h_cosine", "h_estimate", "z_cosine", "z_estimate", "p_cosine", "p_estimate", "kl", "reverse_kl", "kl_estimate")
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
CHAT = ("auto", "on", "off")
GRAMS = (1, 2, 3)
_CHUNK = 2**22  # logits compared at a time, in float64: 32 MB, a few times


@dataclass(frozen=True)
class Written:
    """A greedy continuation: token ids with the end-of-text token if there is one, the text each adds, all of it."""

    ids: list[int]
    pieces: list[str]
    text: str
    ended: bool

    @property
    def said(self) -> list[int]:
        """The ids without the end-of-text token."""
        return self.ids[:-1] if self.ended else self.ids


def chats(subject: Subject, chat: str) -> bool:
    """Whether prompts become a user's turn in the model's chat template.

    Raises
    ------
    Refusal
        The template is asked for and there is none.
    """
    there = bool(subject.tokenizer.chat_template)
    if chat == "on" and not there:
        raise Refusal("This tokenizer has no chat template. Write chat=off to continue the plain text, or chat=auto.")
    return chat == "on" or (chat == "auto" and there)


def tokenized(subject: Subject, prompts: list[str], chat: bool) -> list[Tensor]:
    """Each prompt as token ids of shape (1, tokens).

    Raises
    ------
    Refusal
        A prompt is longer than the context; the message says which.
    """
    rows = []
    for place, prompt in enumerate(prompts):
        try:
            rows.append(prompt_tokens(subject.tokenizer, prompt, chat, subject.context).to(subject.device))
        except Refusal as refusal:
            start = prompt if len(prompt) <= 40 else f"{prompt[:40]}…"
            raise Refusal(f"Prompt {place} ('{start}'): {refusal}") from refusal
    return rows


def greedy(view: View, subject: Subject, prompt: Tensor, length: int, on_step: Callable[[int], None]) -> Written:
    """What a view writes after a prompt, with its cache: up to ``length`` tokens, end-of-text, or the end of the context.

    ``on_step`` is called with the step before each one.
    """
    writer, pieces, ended = Writer(view, subject.tokenizer, prompt), [], False
    on_step(0)
    for _, token in write([writer], Settings(length), subject.context):
        pieces.append(token.piece)
        ended = token.ends
        on_step(len(pieces))
    said = writer.written[:-1] if ended else writer.written
    return Written(writer.written, pieces, subject.tokenizer.decode(said), ended)


def predictions(readout: Readout, prompt: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
    """What a model predicts at each step of a given continuation, in one pass without cache.

    Returns
    -------
    tensors of shape (steps, width) and (steps, vocab)
        Hidden states as the head reads them, and logits. Those of step t have seen the prompt and ``ids[:t]``.
    """
    text = torch.cat([prompt, torch.tensor([ids[:-1]], dtype=prompt.dtype, device=prompt.device)], 1)
    return readout(text, range(prompt.shape[1] - 1, text.shape[1]))


def deviation(dense: tuple[Tensor, Tensor], pruned: tuple[Tensor, Tensor], temperature: float) -> dict[str, np.ndarray]:
    """`MEASURES` of two `predictions` of equally many steps, each of shape (steps,)."""
    parts: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for rows in row_chunks(*dense[1].shape, _CHUNK):
        hidden, logits = ([each[kind][rows] for each in (dense, pruned)] for kind in (0, 1))
        found = hidden_deviation(*hidden) | logit_deviation(*logits, temperature)
        for name in MEASURES:
            parts[name].append(found[name])
    columns = torch.stack([torch.cat(values) for values in parts.values()]).cpu().numpy()  # fetched once
    return dict(zip(parts, columns, strict=True))


def spread(values: np.ndarray) -> np.ndarray:
    """Mean and quantiles `LEVELS` over prompts: (prompts, steps), NaN where one has ended, → (steps, 6)."""
    columns = [column[~np.isnan(column)] for column in values.T]
    empty = [np.nan] * (1 + len(LEVELS))
    return np.array([[column.mean(), *np.quantile(column, LEVELS)] if len(column) else empty for column in columns])


def likeliest(logits: Tensor, ids: list[int], temperature: float) -> dict[str, np.ndarray]:
    """What a model would write at each step of a given continuation, from its logits of shape (steps, vocab).

    Returns
    -------
    dict of arrays
        ``probability`` of each given token and its ``rank``, of shape (steps,); ``top_ids`` and ``top_probability`` of
        shape (steps, 5), or as many as there are tokens.
    """
    given = torch.tensor(ids, device=logits.device)[:, None]
    best = logits.topk(min(RUNNERS, logits.shape[-1]))
    # From the normaliser alone: no matrix of probabilities is kept.
    total = (logits / temperature).logsumexp(-1, keepdim=True)
    own = logits.gather(-1, given)
    found = {
        "probability": (own / temperature - total).double().exp()[:, 0],
        "rank": (logits > own).sum(-1),
        "top_ids": best.indices,
        "top_probability": (best.values / temperature - total).double().exp(),
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def stacked(rows: list[np.ndarray], steps: int) -> np.ndarray:
    """Arrays of shape (up to steps, …) as one of shape (prompts, steps, …), filled up with NaN, or -1 where they count."""
    fill = np.nan if rows[0].dtype.kind == "f" else -1
    out = np.full((len(rows), steps, *rows[0].shape[1:]), fill, rows[0].dtype)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out


def described(prefix: str, texts: list[Written], steps: int) -> dict[str, Any]:
    """What one model wrote after each prompt, by name; ``prefix`` stands before each name."""
    fields = {
        "ids": stacked([np.array(each.ids) for each in texts], steps),
        "pieces": [each.pieces for each in texts],
        "texts": [each.text for each in texts],
        "ended": [each.ended for each in texts],
        "length": [len(each.said) for each in texts],
        "distinct": np.array([[distinct(each.said, n) for n in GRAMS] for each in texts]),
        "repetition": np.array([repetition(each.said) for each in texts]),
    }
    return {f"{prefix}{name}": value for name, value in fields.items()}


def folded(rows: list[dict[str, np.ndarray]], steps: int, name: str, count: str) -> dict[str, Any]:
    """The `deviation` of each prompt as one array per measure, their `spread`, and how many prompts each step has."""
    measures = {key: stacked([row[key] for row in rows], steps) for key in MEASURES}
    return {
        name: measures,
        f"{name}_spread": {key: spread(values) for key, values in measures.items()},
        count: (~np.isnan(measures["kl"])).sum(0).tolist(),
    }
