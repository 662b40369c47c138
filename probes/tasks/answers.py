"""What a view answers to the harness: how likely continuations are, and what it writes itself."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from measures.chunks import row_chunks
from measures.finite import refuse_nonsense
from measures.precision import float64_device
from models.generate import Writer
from models.head import Head, last_states, widen
from models.subject import Subject
from models.view import View
from probes.choice.option_tokens import OptionTokens, batches_by_length, padded
from refusal import Progress

Pair = tuple[list[int], list[int]]  # token ids of a context and of its continuation
_PROJECTED = 2**24


class Answers:
    """A view that answers requests of `probes.tasks.harness`.

    Parameters
    ----------
    name : str
        ``dense`` or ``pruned``, for what is told meanwhile.
    projected : int
        Logits that are there at a time: 64 MB, and four times that of their logarithms.
    """

    def __init__(self, subject: Subject, view: View, name: str, progress: Progress, projected: int = _PROJECTED) -> None:
        self._subject, self._view, self._name, self._progress = subject, view, name, progress
        widen(view)  # a difference of half-precision logits is mostly rounding
        self._head, self._projected = Head(subject, wide=True), projected

    def __call__(self, kind: str, requests: list[Any]) -> list[Any]:
        return self.scored(requests) if kind == "score" else self.written(requests)

    @torch.inference_mode()
    def scored(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """For each pair the log-probability of the continuation, in nats, and whether greedy decoding would write it."""
        # Continuations of one token, such as the letters of a choice, are read off one pass.
        same: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for place, (context, continuation) in enumerate(pairs):
            same.setdefault((tuple([*context, *continuation][:-1]), len(continuation)), []).append(place)
        groups = list(same.values())
        rows = [_row(*pairs[places[0]]) for places in groups]
        found: dict[int, tuple[float, bool]] = {}
        for batch in batches_by_length(rows, self._subject.config.vocab_size):
            self._tell(len(found), len(pairs))
            asked = [(place, i) for i in batch for place in groups[i]]
            begins = dict(zip(batch, accumulate((rows[i].positions for i in batch), initial=0), strict=False))
            places = [begins[i] + k for _, i in asked for k in range(rows[i].positions)]
            targets = [token for place, _ in asked for token in pairs[place][1]]
            chances, hits = self._predicted([rows[i] for i in batch], places, targets)
            for (place, _), chance, hit in zip(asked, *(_split(each, asked, rows) for each in (chances, hits)), strict=True):
                found[place] = float(chance.sum()), bool(hit.all())
        return [found[place] for place in range(len(pairs))]

    def _predicted(self, rows: list[OptionTokens], places: list[int], targets: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability in nats of some tokens, and whether each is the likeliest; both of shape (tokens,).

        A few positions at a time go through the head, so that one long document does not fill the memory with logits.

        Parameters
        ----------
        places : list of int
            Which of the positions that the rows predict, counted through all of them, predicts each token.
        """
        tokens, wanted = padded(rows)
        states = last_states(self._view, tokens.to(self._subject.device)).flatten(0, 1)[wanted].to(self._head.device)
        at, ids = torch.tensor(places), torch.tensor(targets)
        chances, hits = torch.empty(len(ids), dtype=torch.float64), torch.empty(len(ids), dtype=torch.bool)
        for part in row_chunks(len(states), self._head.vocab, self._projected):
            logits = self._head(states[part])
            refuse_nonsense(f"The {self._name} model's logits", logits)
            here = (at >= part.start) & (at < part.stop)
            logs = logits.to(float64_device(logits.device)).double().log_softmax(-1)[(at[here] - part.start).to(logits.device)]
            chances[here] = logs.gather(-1, ids[here, None].to(logs.device))[:, 0].cpu()
            hits[here] = logs.argmax(-1).cpu() == ids[here]
        return chances, hits

    def written(self, requests: Sequence[tuple[list[int], int, list[str]]]) -> list[str]:
        """What the view writes after each prompt: up to a number of tokens, an end-of-text token or one of some texts."""
        found, tokenizer = [], self._subject.tokenizer
        for prompt, most, stops in requests:
            writer = Writer(self._view, tokenizer, torch.tensor([prompt], device=self._subject.device))
            for _ in range(most):
                self._tell(len(found), len(requests))
                if writer.step(0.0).ends or any(stop in writer.text for stop in stops if stop):
                    break
            found.append(tokenizer.decode(writer.written, skip_special_tokens=True))
        return found

    def _tell(self, done: int, total: int) -> None:
        self._progress(done, total, f"{self._name} model: {done} of {total} requests")


def _row(context: list[int], continuation: list[int]) -> OptionTokens:
    return OptionTokens(([*context, *continuation],), len(context), len(context), None)


def _split(values: torch.Tensor, asked: list[tuple[int, int]], rows: list[OptionTokens]) -> Sequence[torch.Tensor]:
    """Values token by token, parted by what was asked."""
    return values.split([rows[i].positions for _, i in asked])
