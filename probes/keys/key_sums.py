"""Running sums of keys, values and queries, layer by layer."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from measures.covariance import Moments
from measures.finite import refuse_nonsense
from models.batching import batches, pass_bytes, step_text
from models.keys import watch_keys, widened
from models.subject import Subject
from plans.cut import cut
from probes.interim import Interim
from refusal import Refusal
from texts.corpus import Corpus


class KeySums:
    """Moments of keys, values and queries: ``kinds[name][layer]``, position 0 of the keys in ``kinds["first"]``.

    Keys are summed in two parts, the first ``middle`` tokens and the others, so that how stable they are costs no second
    pass; `finish` adds them up.

    Parameters
    ----------
    length : int, optional
        Tokens of a window, where several are added at once; without it, what is added at once is one window.
    """

    KINDS = ("pre", "post", "value", "query")

    def __init__(self, middle: int, length: int | None = None) -> None:
        self.kinds: dict[str, dict[int, Moments]] = {name: {} for name in (*self.KINDS, "first")}
        self.halves: dict[str, list[dict[int, Moments]]] = {"pre": [{}, {}], "post": [{}, {}]}
        self.rotary: dict[int, bool] = {}
        self.middle, self.length, self.seen = middle, length, 0
        self._rotated: dict[int, Tensor] = {}
        self._room: dict[tuple[int, ...], Tensor] = {}
        self._shape: tuple[torch.Size, ...] = ()

    def add(self, layer: int, states: dict[str, Tensor]) -> None:
        """Add what `watch_keys` shows of some windows, before ``seen`` grows by them."""
        self._check(states)
        rotated = (states["pre"] != states["post"]).any()
        self._rotated[layer] = self._rotated[layer] | rotated if layer in self._rotated else rotated  # read by `finish`
        for name in ("value", "query"):
            _of(self.kinds[name], layer).add(widened(states[name], self._room))
        for name, halves in self.halves.items():
            keys = widened(states[name], self._room)
            left = min(max(self.middle - self.seen, 0), keys.shape[1])  # so many belong to the first half
            for half, part in zip(halves, (keys[:, :left], keys[:, left:]), strict=True):
                if part.shape[1]:
                    _of(half, layer).add(part)
            if name == "post":
                _of(self.kinds["first"], layer).add(keys[:, :: self.length or keys.shape[1]])

    def state(self) -> dict[str, Any]:
        """The moments of each layer and what is known of all, by name; for `restore`, before `finish`."""
        tables = self._tables()
        layers = {
            str(layer): {name: table[layer].state() for name, table in tables.items() if layer in table}
            for layer in self._rotated
        }
        rotated = {str(layer): bool(turned) for layer, turned in self._rotated.items()}
        return layers | {"seen": {"tokens": self.seen, "rotated": rotated}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.seen = int(state["seen"]["tokens"])
        self._rotated = {int(layer): torch.tensor(turned) for layer, turned in state["seen"]["rotated"].items()}
        for name, table in self._tables().items():
            found = {layer: state[str(layer)].get(name) for layer in self._rotated}
            table |= {layer: Moments.restored(each) for layer, each in found.items() if each is not None}

    def finish(self) -> None:
        """Add the halves up, and read from the device which layers rotate their keys."""
        device = next(iter(self._rotated.values())).device
        found = torch.stack([rotated.to(device) for rotated in self._rotated.values()]).tolist()
        self.rotary = dict(zip(self._rotated, found, strict=True))
        for name, (one, other) in self.halves.items():
            self.kinds[name] = {layer: one[layer] + other[layer] for layer in one}

    def everything(self) -> Iterator[Moments]:
        """All moments there are."""
        for kind in (*self.kinds.values(), *self.halves["pre"], *self.halves["post"]):
            yield from kind.values()

    def _tables(self) -> dict[str, dict[int, Moments]]:
        """Every table of moments, by a name of its own."""
        return self.kinds | {f"{name} {i}": half for name, halves in self.halves.items() for i, half in enumerate(halves)}

    def _check(self, states: dict[str, Tensor]) -> None:
        shape = tuple(states[name].shape[1:] for name in self.KINDS)
        if self._shape and shape != self._shape:
            raise Refusal(
                "The layers of this model differ in their number of heads or in the dimension of a head, so they do not fit "
                "one table of layers × heads. Choose a model whose layers are alike."
            )
        if shape[0][-1] == 1:
            raise Refusal("The keys of this model have one dimension: there is nothing to rank. Choose one with wider heads.")
        self._shape = shape


def _of(sums: dict[int, Moments], layer: int) -> Moments:
    return sums.setdefault(layer, Moments())


def key_sums(
    subject: Subject, corpus: Corpus, begins: Callable[[int, str], None], interim: Interim | None = None, name: str = ""
) -> KeySums:
    """One pass of the dense model over a corpus.

    Parameters
    ----------
    begins : callable
        Is called with the first window of each batch, and what that is called.
    interim : Interim, optional
        Where the sums are kept while they grow.
    name : str
        What they are kept by, and what the batches are called.
    """
    windows, length = corpus.tokens.shape
    # Between windows: within one, the halves would differ by position as well, and rotation makes that another subspace.
    middle, interim = windows // 2 * length if windows > 1 else length // 2, interim or Interim()
    done, sums = interim.taken_up(lambda: KeySums(middle, length), name)
    view = cut(subject)
    watch_keys(view, sums.add)
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    for begin, batch in batches(tokens, subject.device, pass_bytes(view, length), done=done):
        begins(begin, name + step_text(begin, len(batch), windows))
        view.logits(batch, last=True)
        sums.seen += batch.numel()
        refuse_nonsense("The model's keys", *(seen.sum for seen in sums.everything()))
        interim.keep(begin + len(batch), sums, name)
    sums.finish()
    return sums
