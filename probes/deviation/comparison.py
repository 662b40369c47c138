"""Many pairs of streams compared: deviations of h, z and p, summed up by layer while the vocabulary passes through in parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.chunks import even_chunks, row_chunks
from measures.deviation import HIDDEN, LOGITS, hidden_deviation, logit_deviation
from measures.finite import FiniteCheck
from measures.precision import float64_device
from probes.deviation.lens import Lens
from probes.deviation.sublayers import Pair

QUANTILES = (0.05, 0.5, 0.95)
_MEASURES = (*HIDDEN, *LOGITS)
_SPREAD = ("h_cosine", "z_cosine", "p_cosine", "kl")
# Logits of one stream held at a time, three or four streams at a time, and of them compared at a time, widened to float64: 16
# and 2 MB, which stay in a CPU's cache. A GPU would spend its time with beginning to work: 128 and 32 MB, the latter six times.
_HELD = {"cpu": 2**22, "cuda": 2**25}
_COMPARED = {"cpu": 2**18, "cuda": 2**22}


@dataclass(frozen=True)
class Deviation:
    """Means over positions of what `measures.deviation` measures: one value per layer, or per depth.

    Attributes
    ----------
    h_cosine … kl_estimate : list of float
        Mean of the values of single positions; ``h_…`` before the final norm, always. KL in nats, dense side first; the
        estimates of 1 − cos(h), 1 − cos(z) and 1 − cos(p) are ``h_estimate, z_estimate, p_estimate``, that of ``kl`` is
        ``kl_estimate``. ``uniform_variance`` is raw: 1 / (2T²) is not in it.
    h_cosine_spread, z_cosine_spread, p_cosine_spread, kl_spread : float64 arrays of shape (layers, 3)
        Quantiles 5, 50 and 95 % over positions.
    top_tokens : int64 array of shape (layers, 2, top)
        The likeliest tokens of the dense and of the modified side, at the last token of the first window.
    top_probabilities : float64 array of shape (layers, 2, top)
    top_pieces : list of list of list of str, layers × 2 × top
        The texts of these tokens.
    """

    h_cosine: list[float]
    h_estimate: list[float]
    h_alpha: list[float]
    h_parallel: list[float]
    h_orthogonal: list[float]
    z_cosine: list[float]
    z_estimate: list[float]
    z_alpha: list[float]
    z_parallel: list[float]
    z_orthogonal: list[float]
    uniform_variance: list[float]
    p_cosine: list[float]
    p_estimate: list[float]
    kl: list[float]
    reverse_kl: list[float]
    kl_estimate: list[float]
    h_cosine_spread: np.ndarray
    z_cosine_spread: np.ndarray
    p_cosine_spread: np.ndarray
    kl_spread: np.ndarray
    top_tokens: np.ndarray
    top_probabilities: np.ndarray
    top_pieces: list[list[list[str]]]


class Record:
    """What becomes one `Deviation`. Four float32 numbers per layer and position are kept for the quantiles."""

    def __init__(self, layers: int) -> None:
        self._sums = torch.zeros(layers, len(_MEASURES), dtype=torch.float64)
        self._kept: list[list[Tensor]] = [[] for _ in range(layers)]
        self._tops: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, layer: int, rows: Tensor) -> None:
        """Add float64 values of shape (measures, positions), which are on the CPU."""
        self._sums[layer] += rows.sum(-1)
        self._kept[layer].append(rows[[_MEASURES.index(name) for name in _SPREAD]].float())

    def note(self, layer: int, dense: Tensor, modified: Tensor, top: int) -> None:
        """Note the likeliest tokens of two logit vectors of shape (vocab,), the temperature already in them."""
        sides = (logits.to(float64_device(logits.device)).double().softmax(-1) for logits in (dense, modified))
        best = [chances.topk(min(top, len(chances))) for chances in sides]
        self._tops[layer] = torch.stack([each.indices for each in best]), torch.stack([each.values for each in best])

    def state(self) -> dict[str, Any]:
        """Sums, what is kept for quantiles and the noted tokens; for `restore`."""
        return {
            "sums": self._sums.numpy().copy(),
            "kept": [torch.cat(rows, -1).numpy() if rows else None for rows in self._kept],
            "tops": {str(layer): [each.cpu().numpy() for each in noted] for layer, noted in self._tops.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._sums.copy_(torch.from_numpy(state["sums"].astype(np.float64)))
        self._kept = [[] if rows is None else [torch.from_numpy(rows)] for rows in state["kept"]]
        self._tops = {int(layer): tuple(torch.from_numpy(each) for each in noted) for layer, noted in state["tops"].items()}

    def turned(self, layer: int, windows: int) -> np.ndarray:
        """Mean 1 − cos(h) of each window, of shape (windows,): positions were added window by window."""
        cosines = torch.cat([rows[_SPREAD.index("h_cosine")] for rows in self._kept[layer]]).double()
        return (1 - cosines.reshape(windows, -1).mean(1)).numpy()

    def read(self, pieces: Callable[[Tensor], list[str]]) -> Deviation:
        """Means, quantiles and tokens; ``pieces`` gives the texts of token ids of shape (tokens, 1)."""
        kept = torch.stack([torch.cat(rows, -1) for rows in self._kept]).double().numpy()
        means = self._sums / kept.shape[-1]
        spread = np.moveaxis(np.quantile(kept, QUANTILES, axis=-1), 0, -1)  # (layers, measures, quantiles)
        tops = [[each.cpu() for each in self._tops[layer]] for layer in range(len(means))]
        return Deviation(
            **{name: means[:, i].tolist() for i, name in enumerate(_MEASURES)},
            **{f"{name}_spread": np.ascontiguousarray(spread[:, i]) for i, name in enumerate(_SPREAD)},
            top_tokens=torch.stack([tokens for tokens, _ in tops]).numpy(),
            top_probabilities=torch.stack([chances for _, chances in tops]).numpy(),
            top_pieces=[[pieces(side[:, None]) for side in tokens] for tokens, _ in tops],
        )


class Comparison:
    """Compares pairs of streams by position; ``records`` has a `Record` per part, and one of its ``raw_`` logits.

    Parameters
    ----------
    temperature : float
        T of every softmax.
    top : int
        How many of the likeliest tokens are noted.
    """

    def __init__(self, lens: Lens, layers: int, temperature: float, top: int) -> None:
        self._lens, self._temperature, self._top = lens, temperature, top
        self.records = {name: Record(layers) for name in ("attention", "mlp", "raw_attention", "raw_mlp")}
        self.records["cumulative"] = Record(layers + 1)

    def state(self) -> dict[str, Any]:
        """Of every record, for `restore`."""
        return {name: record.state() for name, record in self.records.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for name, record in self.records.items():
            record.restore(state[name])

    def add(self, states: list[Tensor], pairs: list[Pair], noted: int | None) -> Iterator[float]:
        """Compare each pair, with the final norm and, but for the whole plan, without it.

        Parameters
        ----------
        states : list of tensors of shape (positions, width)
        noted : int or None
            The position whose likeliest tokens are noted.

        Yields
        ------
        float
            The share that is done, before each step.
        """
        pairs = _unchanged_once(states, pairs)
        # In even chunks: the head reads all its weights for a few rows as well.
        work = [
            (rows, norm, pair)
            for rows in even_chunks(len(states[0]), self._lens.vocab, _limit(_HELD, states[0]))
            for norm in (True, False)
            for pair in pairs
            if norm or pair[0] != "cumulative"
        ]
        held: dict[int, Tensor] = {}
        at: tuple[slice, bool] | None = None
        found: list[tuple[Record, int, Tensor]] = []
        for step, (rows, norm, (name, layer, *both)) in enumerate(work):
            yield step / len(work)
            if at != (rows, norm):
                held, at = {}, (rows, norm)
            parts = {k: states[k][rows] for k in both}
            # Neighbours share a stream, so its logits are computed once.
            held = {k: held[k] if k in held else self._lens(part, norm) for k, part in parts.items()}
            record = self.records[name if norm else f"raw_{name}"]
            streams, logits = [parts[k] for k in both], [held[k] for k in both]
            values = hidden_deviation(*streams) | self._compare(*logits)
            found.append((record, layer, torch.stack([values[name] for name in _MEASURES])))
            if noted is not None and rows.start <= noted < rows.stop:
                record.note(layer, *(each[noted - rows.start] / self._temperature for each in logits), self._top)
        _record(found)

    def _compare(self, dense: Tensor, modified: Tensor) -> dict[str, Tensor]:
        if dense is modified:
            dense = modified = torch.ones(len(dense), 1)  # equal logits deviate alike, however many there are
        chunks = row_chunks(*dense.shape, _limit(_COMPARED, dense))
        found = [logit_deviation(dense[rows], modified[rows], self._temperature) for rows in chunks]
        return {name: torch.cat([part[name] for part in found]) for name in LOGITS}


def _limit(limits: dict[str, int], values: Tensor) -> int:
    return limits.get(values.device.type, limits["cpu"])


def _unchanged_once(states: list[Tensor], pairs: list[Pair]) -> list[Pair]:
    """What a plan does not change (the layers before its first item, say) needs no logits of its own: one state, twice."""
    doubtful = [(i, j) for _, _, i, j in pairs if i != j]
    if not doubtful:
        return pairs
    same = dict(zip(doubtful, torch.stack([(states[i] == states[j]).all() for i, j in doubtful]).tolist(), strict=True))
    return [(name, layer, i, i if same.get((i, j)) else j) for name, layer, i, j in pairs]


def _record(found: list[tuple[Record, int, Tensor]]) -> None:
    """Add values of shape (measures, positions) where they belong, all fetched from the device at once."""
    rows = torch.cat([values for _, _, values in found], -1).cpu().split([values.shape[1] for _, _, values in found], -1)
    check = FiniteCheck()
    for (_, layer, _), values in zip(found, rows, strict=True):
        check.look(f"With this plan, the hidden states or logits of layer {layer}", values)
    check.refuse()
    for (record, layer, _), values in zip(found, rows, strict=True):
        record.add(layer, values.contiguous())
