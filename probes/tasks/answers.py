"""What a view answers to the harness: how likely continuations are, and what it writes itself."""

from collections.abc import Sequence
from typing import Any

import torch

from models.generate import Writer
from models.subject import Subject
from models.view import View
from probes.choice.option_tokens import OptionTokens, batches_by_length, padded
from probes.deviation.readout import Readout
from refusal import Progress

Pair = tuple[list[int], list[int]]  # token ids of a context and of its continuation


class Answers:
    """A view that answers requests of `probes.tasks.harness`.

    Parameters
    ----------
    name : str
        ``dense`` or ``pruned``, for what is told meanwhile.
    """

    def __init__(self, subject: Subject, view: View, name: str, progress: Progress) -> None:
        self._subject, self._view, self._name, self._progress = subject, view, name, progress
        self._readout = Readout(view, name)

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
            tokens, wanted = padded([rows[i] for i in batch])
            logits = self._readout(tokens.to(self._subject.device), wanted)[1]
            begin = 0
            for i in batch:
                part = logits[begin : begin + rows[i].positions]
                begin += rows[i].positions
                found |= {place: _score(part, pairs[place][1]) for place in groups[i]}
        return [found[place] for place in range(len(pairs))]

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


def _score(logits: torch.Tensor, continuation: list[int]) -> tuple[float, bool]:
    """From the logits (tokens, vocab) that predict a continuation."""
    tokens = torch.tensor(continuation, device=logits.device)
    chances = logits.double().log_softmax(-1)
    return float(chances.gather(-1, tokens[:, None]).sum()), bool((chances.argmax(-1) == tokens).all())
