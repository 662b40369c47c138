"""Where a plan hurts, layer by layer: hidden states h, logits z and probabilities p, of each sublayer alone and of the whole.

Each attention and MLP is left out (or pruned) alone in an otherwise dense model, on the same context, and the stream right
after it is read by the head; `probes.deviation.sublayers` defines the streams. Besides, the whole plan is applied and its
stream is compared with the dense one at every depth.

References
----------
arXiv 2603.24652: theorems 1 to 3 and the transition metrics. Its code reads the stream with the bare head (here ``raw_…``),
measures KL(pruned‖dense) for pruned sublayers, and takes the last token only.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.deviation import checked_temperature
from measures.finite import refuse_nonsense
from models.batching import batches, step_text
from models.loading.memory import free_memory
from models.subject import Subject
from plans.cut import Calibrated
from plans.plan import Plan
from probes.base import Probe
from probes.deviation.comparison import Comparison, Deviation
from probes.deviation.lens import Lens
from probes.deviation.sublayers import Pair, Streams, states_bytes
from probes.interim import Interim
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus


@dataclass(frozen=True)
class TransitionsParams:
    """How to measure.

    Attributes
    ----------
    temperature : float
        T > 0 of every softmax.
    last : bool
        Only the last token of each window, as in the paper; else all tokens.
    top : int
        How many of the likeliest tokens are noted, at least 1.

    Raises
    ------
    Refusal
        The temperature or the number of tokens is not valid.
    """

    temperature: float = 1.0
    last: bool = True
    top: int = 5

    def __post_init__(self) -> None:
        checked_temperature(self.temperature)
        if self.top < 1:
            raise Refusal(f"The {self.top} likeliest tokens cannot be shown. Write a number of at least 1.")


@dataclass(frozen=True)
class TransitionsResult:
    """Everything the probe found.

    Attributes
    ----------
    layers, tokens : int
        Layers of the dense model; positions averaged over.
    temperature : float
        T of every softmax.
    mode : str
        ``dropped``: each sublayer is left out alone. ``pruned``: each is alone replaced by its pruned form; those that the
        plan drops are left out.
    parallel : bool
        Attention and MLP read the same stream, so both are looked at after the block and not right after themselves.
    attention, mlp : Deviation
        By layer; z is what the model would say if it ended there: final norm, head, scaling and soft-cap.
    raw_attention, raw_mlp : Deviation
        The same with z of the bare head, no final norm: the paper's way.
    cumulative : Deviation
        The whole plan by depth: layers + 1 values, the first at the embedding, the last before the final norm; z with the
        final norm. At a dropped block the stream stays what it was.
    output_turn : float64 array of shape (windows,)
        1 − cos(h) of the whole plan at the last depth, the mean over the positions of each window.
    """

    layers: int
    tokens: int
    temperature: float
    mode: str
    parallel: bool
    attention: Deviation
    mlp: Deviation
    raw_attention: Deviation
    raw_mlp: Deviation
    cumulative: Deviation
    output_turn: np.ndarray


class _LastStates:
    """The streams at the last tokens of the windows read so far, and the pairs to compare among them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._rows: list[list[Tensor]] = []
        self.pairs: list[Pair] = []

    def add(self, states: list[Tensor], pairs: list[Pair]) -> None:
        """Add the streams of some windows, each (windows, width)."""
        self._rows.append(states)
        self.pairs = pairs

    def read(self) -> list[Tensor]:
        """The streams, each of all windows."""
        return [torch.cat(each) for each in zip(*self._rows, strict=True)]

    def state(self) -> dict[str, Any]:
        """Streams and pairs, for `restore`."""
        return {"states": [each.cpu().numpy() for each in self.read()], "pairs": [list(pair) for pair in self.pairs]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._rows = [[torch.from_numpy(each).to(self._device) for each in state["states"]]]
        self.pairs = [(str(part), int(layer), int(one), int(other)) for part, layer, one, other in state["pairs"]]


@torch.inference_mode()
def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan | Calibrated,
    params: TransitionsParams,
    progress: Progress = silent,
    interim: Interim | None = None,
) -> TransitionsResult:
    """Measure a subject and a plan; without a plan, or with drops alone, each sublayer of the model is left out in turn."""
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    if not params.last:
        _check_room(subject, tokens.shape[1])
    streams, lens = Streams(subject, plan, params.last), Lens(subject)
    fresh = partial(Comparison, lens, subject.layers, params.temperature, params.top)
    interim = interim or Interim()
    done, seen = interim.taken_up(partial(_LastStates, subject.device) if params.last else fresh)
    _read(streams, lens, tokens, done, seen, interim, progress)
    comparison = seen
    if params.last:  # one projection for all windows: the head's weights are read once and not once per window
        comparison = fresh()
        for share in comparison.add(seen.read(), seen.pairs, 0):
            progress(len(tokens) + share, len(tokens) + 1, "logits of every layer")
    return TransitionsResult(
        layers=subject.layers,
        tokens=len(tokens) if params.last else tokens.numel(),
        temperature=params.temperature,
        mode=streams.mode,
        parallel=subject.family.parallel,
        output_turn=comparison.records["cumulative"].turned(subject.layers, len(tokens)),
        **{name: record.read(subject.tokenizer.batch_decode) for name, record in comparison.records.items()},
    )


def _read(
    streams: Streams,
    lens: Lens,
    tokens: Tensor,
    done: int,
    seen: _LastStates | Comparison,
    interim: Interim,
    progress: Progress,
) -> None:
    """Read the windows that are not in ``seen`` yet; comparing all tokens takes time, so it tells progress."""
    last, length = isinstance(seen, _LastStates), tokens.shape[1]
    total = len(tokens) + (1 if last else 0)  # a step of its own for the logits of all windows
    for begin, batch in batches(tokens, tokens.device, streams.window_bytes(length), done=done):
        text = step_text(begin, len(batch), len(tokens))
        progress(begin, total, text)
        states, pairs, logits = streams.read(batch)
        refuse_nonsense("The dense model's logits", logits)
        if begin == 0:
            end = 0 if last else length - 1  # the last token of the first window
            lens.check(states[streams.end][end : end + 1], logits[:1])
        if last:
            seen.add(states, pairs)
        else:
            for share in seen.add(states, pairs, length - 1 if begin == 0 else None):
                progress(begin + len(batch) * share, total, text)
        interim.keep(begin + len(batch), seen)


def _check_room(subject: Subject, length: int) -> None:
    """All tokens: a window's streams lie in memory together."""
    needs, free = states_bytes(subject.layers, length, subject.width), free_memory(subject.device.type)
    if needs > free:
        raise Refusal(
            f"The states of a window of {length} tokens need {needs / 1e9:.1f} GB, and {free / 1e9:.1f} GB is free. Make the "
            "windows shorter, or look at their last tokens only."
        )


PROBE = Probe(
    "transitions", "Deviation by layer", 3, TransitionsParams, TransitionsResult, _run, takes_plan=True, keeps_sums=True
)
