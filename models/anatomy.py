"""What a model is made of and what a plan saves: parameters, bytes, cache and work per token, sublayer by sublayer."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from models.families import Sublayer
from models.subject import Subject
from plans.cut import cut
from plans.plan import Plan


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
    """Sublayers and the rest (embeddings, final norm, head), each weight counted once."""

    parts: tuple[Part, ...]
    parameters: int
    bytes: int
    multiply_adds: int
    cache_bytes: int

    def after(self, plan: Plan) -> "Anatomy":
        """The anatomy of what a plan leaves."""
        dropped = {"attention": plan.dropped_attention, "mlp": plan.dropped_mlp, "shared": plan.blocks}
        gone = [part for part in self.parts if part.layer in dropped[part.kind]]
        names = ("parameters", "bytes", "multiply_adds", "cache_bytes")
        left = {name: getattr(self, name) - sum(getattr(part, name) for part in gone) for name in names}
        return Anatomy(tuple(part for part in self.parts if part not in gone), **left)


def anatomy(subject: Subject) -> Anatomy:
    """Count a dense model; nothing is computed with its weights but the cache's size, from one token."""
    model, family, config = subject.model, subject.family, subject.config
    cache = _cache_bytes(subject)
    parts: list[Part] = []
    for i, block in enumerate(model.get_submodule(family.layers)):
        modules = {"attention": _modules(block, family.attention), "mlp": _modules(block, family.mlp)}
        inside = {id(weight) for group in modules.values() for weight in _weights(group)}
        for kind, group in modules.items():
            work = sum(_work(module, config) for module in group)
            parts.append(Part(i, kind, *_size(_weights(group)), work, cache[i] if kind == "attention" else 0))
        shared = [weight for weight in _weights([block]) if id(weight) not in inside]
        parts.append(Part(i, "shared", *_size(shared), 0, 0))
    head = model.get_output_embeddings()
    work = sum(part.multiply_adds for part in parts) + (head.weight.numel() if head is not None else 0)
    return Anatomy(tuple(parts), *_size(_weights([model])), work, sum(cache))


def _modules(block: nn.Module, sublayer: Sublayer) -> list[nn.Module]:
    return [block.get_submodule(name) for name in (sublayer.module, *sublayer.norms, *sublayer.dead)]


def _weights(modules: Iterable[nn.Module]) -> list[torch.Tensor]:
    """Each weight once, however many modules share it."""
    return list({id(weight): weight for module in modules for weight in module.parameters()}.values())


def _size(weights: Iterable[torch.Tensor]) -> tuple[int, int]:
    """Parameters and bytes."""
    weights = list(weights)
    return sum(each.numel() for each in weights), sum(each.numel() * each.element_size() for each in weights)


def _work(module: nn.Module, config: object) -> int:
    """Multiply-adds per token of every matrix in ``module``; experts weighted by how many of them a token visits."""
    total = 0
    for child in module.modules():
        if isinstance(child, nn.Linear | Conv1D):
            total += child.weight.numel()
        else:
            # Fused experts are parameters of shape (experts, out, in); a router is (experts, width).
            for weight in child.parameters(recurse=False):
                if weight.dim() == 3:
                    total += weight.numel() * _visited(config) // weight.shape[0]
                elif weight.dim() == 2:
                    total += weight.numel()
    return total


def _visited(config: object) -> int:
    names = ("num_experts_per_tok", "experts_per_token", "moe_topk")
    return next((getattr(config, name) for name in names if getattr(config, name, None)), 1)


def _cache_bytes(subject: Subject) -> list[int]:
    """Bytes that each layer's cache grows by with a token: measured, since families keep very different things."""
    view = cut(subject.model, subject.family)
    cache = view.cache()
    view.logits(torch.zeros((1, 1), dtype=torch.long, device=subject.device), cache)
    return [sum(kept.numel() * kept.element_size() for kept in (layer.keys, layer.values)) for layer in cache.layers]
