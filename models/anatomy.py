"""What is known about a model once it was loaded: its shape, and the parameters, bytes, cache and work of every sublayer.

It is plain numbers and texts, so it can be kept and read where the model is not.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from models.attention import why_it_stays
from models.families import Sublayer, experts_per_token
from models.subject import Subject
from models.view import View, shared


@dataclass(frozen=True)
class Part:
    """One sublayer with its norms, of one layer; kind ``shared`` is what goes only with the whole block.

    Attributes
    ----------
    parameters, bytes : int
    multiply_adds : int
        Per token, of the weights alone; of an MLP with experts only those that a token is routed to.
    cache_bytes : int
        Key-value cache per token of context; 0 for an MLP.
    """

    layer: int
    kind: str
    parameters: int
    bytes: int
    multiply_adds: int
    cache_bytes: int


@dataclass(frozen=True)
class Anatomy:
    """A dense model in numbers; each weight counts once.

    Attributes
    ----------
    family, dtype : str
    layers, width, vocab : int
    context : int or None
        Most tokens in a row.
    chat : bool
        The tokenizer has a chat template.
    expects_bos : bool
    sliding : bool
        Some attentions see a window of the context only.
    attention_stays : str
        Why another attention cannot be put in the place of the family's own; empty: it can.
    rows : list of dict
        The fields of each `Part`.
    parameters, bytes, multiply_adds, cache_bytes : int
        Of the whole model: sublayers and the rest (embeddings, final norm, head).
    """

    family: str
    dtype: str
    layers: int
    width: int
    vocab: int
    context: int | None
    chat: bool
    expects_bos: bool
    sliding: bool
    attention_stays: str
    rows: list[dict[str, Any]]
    parameters: int
    bytes: int
    multiply_adds: int
    cache_bytes: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """The sublayers, layer by layer."""
        return tuple(Part(**row) for row in self.rows)

    @property
    def cache_by_layer(self) -> list[int]:
        """Bytes per token of context, by layer."""
        return [sum(part.cache_bytes for part in self.parts if part.layer == layer) for layer in range(self.layers)]


def anatomy(subject: Subject) -> Anatomy:
    """Look at a dense model; nothing is computed with its weights but the cache's size, from one token."""
    view, config, tokenizer = shared(subject.model, subject.family), subject.config, subject.tokenizer
    cache = _cache_bytes(view, subject.device)
    parts: list[Part] = []
    for i, block in enumerate(view.layers):
        modules = {"attention": _modules(block, subject.family.attention), "mlp": _modules(block, subject.family.mlp)}
        inside = {id(weight) for group in modules.values() for weight in weights_of(group)}
        for kind, group in modules.items():
            work = sum(work_of(module, config) for module in group)
            parts.append(Part(i, kind, *size_of(weights_of(group)), work, cache[i] if kind == "attention" else 0))
        rest = [weight for weight in weights_of([block]) if id(weight) not in inside]
        parts.append(Part(i, "shared", *size_of(rest), 0, 0))
    parameters, size = size_of(weights_of([subject.model]))
    return Anatomy(
        family=subject.family.name,
        dtype=str(subject.dtype).removeprefix("torch."),
        layers=subject.layers,
        width=subject.width,
        vocab=int(config.vocab_size),
        context=subject.context,
        chat=bool(getattr(tokenizer, "chat_template", None)),
        expects_bos=tokenizer is not None and subject.expects_bos,
        sliding="sliding_attention" in (getattr(config, "layer_types", None) or ()),
        attention_stays=why_it_stays(view),
        rows=[asdict(part) for part in parts],
        parameters=parameters,
        bytes=size,
        multiply_adds=work_of_view(view),
        cache_bytes=sum(cache),
    )


def weights_of(modules: Iterable[nn.Module]) -> list[torch.Tensor]:
    """Each weight once, however many modules share it."""
    return list({id(weight): weight for module in modules for weight in module.parameters()}.values())


def size_of(weights: Iterable[torch.Tensor]) -> tuple[int, int]:
    """Parameters and bytes."""
    weights = list(weights)
    return sum(each.numel() for each in weights), sum(each.numel() * each.element_size() for each in weights)


def work_of_view(view: View) -> int:
    """Multiply-adds per token of the blocks that are left and of the head."""
    head = view.head
    blocks = sum(work_of(block, view.dense_config) for block in view.layers)
    return blocks + (head.weight.numel() if head is not None else 0)


def work_of(module: nn.Module, config: object) -> int:
    """Multiply-adds per token of every matrix in ``module``; experts weighted by how many of them a token visits."""
    total = 0
    for child in module.modules():
        if isinstance(child, nn.Linear | Conv1D):
            total += child.weight.numel()
        else:
            # Fused experts are parameters of shape (experts, out, in); a router is (experts, width).
            for weight in child.parameters(recurse=False):
                if weight.dim() == 3:
                    total += weight.numel() * experts_per_token(config) // weight.shape[0]
                elif weight.dim() == 2:
                    total += weight.numel()
    return total


def _modules(block: nn.Module, sublayer: Sublayer) -> list[nn.Module]:
    return [block.get_submodule(name) for name in (sublayer.module, *sublayer.norms, *sublayer.dead)]


def _cache_bytes(view: View, device: torch.device) -> list[int]:
    """Bytes that each layer's cache grows by with a token: measured, since families keep very different things."""
    cache = view.cache()
    if cache is None:
        return [0] * len(view.blocks)
    view.logits(torch.zeros((1, 1), dtype=torch.long, device=device), cache)
    sizes = [sum(kept.numel() * kept.element_size() for kept in (layer.keys, layer.values)) for layer in cache.layers]
    by_layer = dict(zip(view.attentions, sizes, strict=True))
    return [by_layer.get(layer, 0) for layer in view.blocks]
