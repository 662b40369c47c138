"""What the dense model greedily writes after prompts, and what its head reads on the way: the same for every plan."""

import hashlib
from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor

from models.head import Head
from models.subject import Subject
from plans.cut import cut
from probes.deviation.continuations import Written, greedy, predictions
from probes.deviation.readout import Readout


class DenseTexts:
    """Continuations by the dense model with its last hidden states, taken from where they are kept or computed and kept there.

    Parameters
    ----------
    tokens : None
        Prompts are no corpus; they are given one by one.
    kept : mutable mapping of str to dict
        Pieces by content of the prompt and number of steps; a plain dict keeps them in memory.
    """

    def __init__(self, subject: Subject, tokens: None = None, kept: MutableMapping[str, dict[str, Any]] | None = None) -> None:
        self._subject, self._kept = subject, {} if kept is None else kept
        self._readout: Readout | None = None
        self._head = Head(subject, wide=True)

    def read(self, prompt: Tensor, length: int, on_step: Callable[[int], None]) -> tuple[Written, tuple[Tensor, Tensor]]:
        """A prompt's continuation, and what `continuations.predictions` gives of the dense model on it.

        Parameters
        ----------
        prompt : int64 tensor of shape (1, tokens)
        length : int
            Most steps.
        on_step : callable
            Is called with the step before each one, if it has to be written.
        """
        name = f"{hashlib.sha256(prompt.cpu().numpy().tobytes()).hexdigest()}-{length}"
        piece = self._kept.get(name)
        if piece is None:
            piece = self._kept[name] = self._written(prompt, length, on_step)
        hidden = torch.from_numpy(piece["states"]).to(self._head.device)
        written = Written(**{field: piece[field] for field in ("ids", "pieces", "text", "ended")})
        return written, (hidden, self._head(hidden))

    def _written(self, prompt: Tensor, length: int, on_step: Callable[[int], None]) -> dict[str, Any]:
        if self._readout is None:
            self._readout = Readout(cut(self._subject), "dense")
        written = greedy(self._readout.view, self._subject, prompt, length, on_step)
        hidden, _ = predictions(self._readout, prompt, written.ids)
        return vars(written) | {"states": hidden.cpu().numpy()}
