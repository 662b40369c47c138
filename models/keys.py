"""The keys of every attention, without rotation and as attention sees them, whatever the architecture.

Every attention writes its keys and values into a cache between rotating and comparing them, so a cache that only looks is
put into the call: that is where the keys are taken, before any window drops some of them. Keys without rotation are what
the same attention writes when it is told cos = 1 and sin = 0: it is called so first, its projections are remembered, and
it stops at the cache, so that nothing large is computed twice. Multi-head latent attention (DeepSeek) caches something
smaller than keys; there they are the full keys of each head, taken where it expands them.
"""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from measures.covariance import Moments, components
from measures.finite import refuse_nonsense
from measures.precision import float64_device
from models.batching import batches, pass_bytes, step_text
from models.families import Family, cache_argument
from models.view import View
from refusal import Progress, Refusal, silent

# visit(dense layer, {"pre", "post", "value", "query"}), each of shape (tokens, heads, head_dim) in the model's dtype
Visit = Callable[[int, dict[str, Tensor]], None]
_ADDING = {torch.baddbmm, Tensor.baddbmm}
_PRODUCTS = {
    torch.nn.functional.scaled_dot_product_attention, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm,
    *_ADDING,
}  # fmt: skip


def watch_keys(view: View, visit: Visit) -> None:
    """Call ``visit`` at each attention of every later forward pass of this view, one layer held at a time.

    Parameters
    ----------
    visit : callable
        Gets the dense layer index and ``pre``, ``post`` and ``value`` of shape (tokens, kv heads, head_dim) and ``query`` of
        shape (tokens, query heads, head_dim). ``pre`` are the keys with their norm, if they have one, and without rotation;
        where the layer has no rotation they equal ``post``. ``query`` is rotated, and scaled where the family scales it.
        The tokens of several windows follow each other.

    Raises
    ------
    Refusal
        No attention is left in the view.
    """
    if not view.attentions:
        raise Refusal("No attention is left in this model, so it has no keys. Keep the attention of at least one layer.")
    for layer, block in zip(view.blocks, view.layers, strict=True):
        if layer in view.attentions:
            _watch(layer, block.get_submodule(view.family.attention.module), view.family, visit)


def key_basis(view: View, tokens: Tensor, progress: Progress = silent) -> dict[int, Tensor]:
    """The principal components of the keys as attention sees them: the basis in which low-rank attention compares them.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)

    Returns
    -------
    dict of int to float32 tensor of shape (kv heads, head_dim, head_dim)
        By dense layer; rows are eigenvectors of the centred covariance, by falling eigenvalue.

    Raises
    ------
    Refusal
        No attention is left, or the keys are not numbers.

    References
    ----------
    arXiv 2406.02542, §4.
    """
    sums: dict[int, Moments] = {}
    room: dict[tuple[int, ...], Tensor] = {}

    def visit(layer: int, states: dict[str, Tensor]) -> None:
        sums.setdefault(layer, Moments()).add(widened(states["post"], room))

    watch_keys(view, visit)
    tokens = tokens.to(view.device)
    for begin, batch in batches(tokens, view.device, pass_bytes(view, tokens.shape[1])):
        progress(begin, len(tokens), f"keys of {step_text(begin, len(batch), len(tokens))}")
        view.logits(batch, last=True)
        refuse_nonsense("The model's keys", *(seen.sum for seen in sums.values()))
    return {layer: components(seen.covariance()).float() for layer, seen in sums.items()}


def widened(states: Tensor, room: dict[tuple[int, ...], Tensor]) -> Tensor:
    """(tokens, heads, head_dim) → float64 (heads, tokens, head_dim), on the CPU for Apple's GPUs, which have no float64.

    The ``room`` is used again for the next states: asking the system for fresh memory costs more than the sums.
    """
    device = float64_device(states.device)
    shape = (states.shape[1], states.shape[0], states.shape[2])
    if shape not in room or room[shape].device != device:
        room[shape] = torch.empty(shape, dtype=torch.float64, device=device)
    return room[shape].copy_(states.transpose(0, 1))


class _Reached(Exception):
    """The keys are there, so the rest of this call is not needed."""


class _Taking:
    """What is taken from one call of an attention: first without rotation, up to the keys; then all of it."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A call begins; what was taken from the last one is let go."""
        self.rotated: bool = False
        self.states: dict[str, Tensor] = {}

    def take(self, keys: Tensor, values: Tensor) -> None:
        """Keys and values of shape (windows, heads, tokens, head_dim), as attention hands them over."""
        if not self.rotated:
            self.states["pre"] = keys
            raise _Reached
        self.states["post"], self.states["value"] = keys, values

    def take_query(self, query: Tensor) -> None:
        """The left side of the first product after the keys."""
        if "post" in self.states and "query" not in self.states:
            self.states["query"] = query


class _Looking:
    """Stands in the place of the cache, which may be None, and shows what is written; else it changes nothing."""

    def __init__(self, cache: Any, show: Callable[[Tensor, Tensor], None]) -> None:
        self._cache, self._show = cache, show

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As transformers' caches."""
        self._show(keys, values)
        return (keys, values) if self._cache is None else self._cache.update(keys, values, *args, **kwargs)

    def get_seq_length(self, *args: Any) -> int:
        """As transformers' caches."""
        return 0 if self._cache is None else self._cache.get_seq_length(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


class _Products(TorchFunctionMode):
    """Shows the left side of every product of tensors. The mode belongs to the thread, and to the call."""

    def __init__(self, show: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._show = show

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in _PRODUCTS:
            adds = func in _ADDING  # as BLOOM does its bias; then the left side comes second
            self._show(kwargs["batch1"] if kwargs and "batch1" in kwargs else args[1 if adds else 0])
        return func(*args, **(kwargs or {}))


def _watch(layer: int, attention: nn.Module, family: Family, visit: Visit) -> None:
    forward, signature = attention.forward, inspect.signature(attention.forward)
    name = cache_argument(forward)
    held: dict[nn.Module, tuple[Tensor, Any]] = {}
    for part in attention.children():
        _remember(part, held)
    taking = _Taking()
    if family.latent:
        expand = getattr(attention, family.expands_keys)

        def expanded(*args: Tensor) -> tuple[Tensor, Tensor]:
            keys, values = expand(*args)
            taking.take(keys, values)
            return keys, values

        setattr(attention, family.expands_keys, expanded)
    show = (lambda keys, values: None) if family.latent else taking.take

    def watched(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        cache, embeddings = call.arguments.get(name), call.arguments.get("position_embeddings")
        taking.begin()
        if embeddings is not None:
            call.arguments |= {name: _Looking(None, show), "position_embeddings": _unrotated(embeddings)}
            with suppress(_Reached):
                forward(*call.args, **call.kwargs)
            call.arguments["position_embeddings"] = embeddings
        call.arguments[name], taking.rotated = _Looking(cache, show), True
        with _Products(taking.take_query):
            out = forward(*call.args, **call.kwargs)
        visit(layer, _shaped(attention, family, taking.states))
        taking.begin()
        held.clear()
        return out

    attention.forward = watched


def _remember(part: nn.Module, held: dict[nn.Module, tuple[Tensor, Any]]) -> None:
    """Let a projection that is given the very same tensor again return what it returned."""
    forward = part.forward

    def once(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1:
            return forward(*args, **kwargs)
        if part not in held or held[part][0] is not args[0]:
            held[part] = args[0], forward(args[0])
        return held[part][1]

    part.forward = once


def _unrotated(embeddings: Any) -> Any:
    """Position embeddings that rotate nothing; DeepSeek-V2 has complex numbers instead of cosines and sines."""
    if isinstance(embeddings, Tensor):
        return torch.ones_like(embeddings)
    cos, sin = embeddings
    return torch.ones_like(cos), torch.zeros_like(sin)


def _shaped(attention: nn.Module, family: Family, states: dict[str, Tensor]) -> dict[str, Tensor]:
    """(windows, heads, tokens, head_dim) → (tokens, heads, head_dim)."""
    if "query" not in states:
        raise Refusal("This attention does not show its queries. Load the model with sdpa or eager attention.")
    keys = states["post"]
    step = family.copies(attention, keys.shape[1])
    states.setdefault("pre", keys)
    query = states["query"]
    states["query"] = query.reshape(keys.shape[0], -1, *query.shape[-2:])  # BLOOM merges windows and heads
    tokens = query.shape[-2]  # MLA expands what was cached before as well
    return {
        name: each[:, :: 1 if name == "query" else step, -tokens:].transpose(1, 2).flatten(0, 1)
        for name, each in states.items()
    }
