"""A view: a real pruned model that shares its weights with the dense one, but for those that a plan has replaced.

``copy.deepcopy`` with each parameter and buffer mapped to itself copies the module tree and no weight, so it costs time in
the number of modules and not in their size. The tree is private to whoever asked for it: it may be hooked, patched and
thrown away, and the dense model is never touched.
"""

import copy
import inspect
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from models.families import Config, Family, Sublayer, cache_argument


@dataclass(frozen=True, eq=False)
class View:
    """A private module tree over the dense model's weights, and which parts of the dense model are left in it.

    Attributes
    ----------
    model : PreTrainedModel
        Private module tree; weights that no operation replaced are those of the dense model.
    blocks : tuple of int
        The dense layer index of each block that is left.
    attentions : tuple of int
        The dense layer index of each attention that is left; its place here is its place in the cache.
    dense_config : PreTrainedConfig
        The text config of the dense model.
    """

    model: PreTrainedModel
    family: Family
    blocks: tuple[int, ...]
    attentions: tuple[int, ...]
    dense_config: Config

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks that are left, in order."""
        return self.model.get_submodule(self.family.layers)

    @property
    def device(self) -> torch.device:
        """Where token ids must be. The model's own ``device`` is that of any of its weights, and "meta" for those kept away."""
        return place_of(self.model.get_input_embeddings())

    @property
    def final_norm(self) -> nn.Module:
        """The norm before the head."""
        return self.model.get_submodule(self.family.final_norm)

    @property
    def head(self) -> nn.Module:
        """The output embedding."""
        return self.model.get_output_embeddings()

    def cache(self) -> DynamicCache | None:
        """An empty key-value cache for the attentions that are left; None where there is none and nothing to keep."""
        if not self.attentions:
            return None
        cache = DynamicCache(config=self.dense_config)
        cache.layers = [cache.layers[i] for i in self.attentions]
        return cache

    @torch.inference_mode()
    def logits(self, tokens: torch.Tensor, cache: DynamicCache | None = None, last: bool = False) -> torch.Tensor:
        """Logits after ``tokens``, which follow what ``cache`` holds.

        Parameters
        ----------
        tokens : int64 tensor of shape (windows, tokens)
        cache : DynamicCache, optional
            From `cache`; it grows by ``tokens``. Without one the tokens are the whole context.
        last : bool
            Only the last position, which saves the head's work on the others.

        Returns
        -------
        tensor of shape (windows, tokens or 1, vocab)
        """
        more = {"logits_to_keep": 1} if last and _takes(self.model, "logits_to_keep") else {}
        if cache is not None:
            more[cache_argument(type(self.model).forward)] = cache
        out = self.model(input_ids=tokens, use_cache=cache is not None, **more).logits
        return out[:, -1:] if last else out


def place_of(module: nn.Module) -> torch.device:
    """The device that a module computes on, which is not where its weights are if accelerate fetches them for each call."""
    for part in module.modules():
        device = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next(module.parameters()).device


def cache_bytes(cache: DynamicCache | None) -> int:
    """Bytes of keys and values that a cache holds now."""
    layers = cache.layers if cache is not None else ()
    kept = [tensor for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)


def shared(model: PreTrainedModel, family: Family) -> View:
    """A view of the whole model: a private copy of the module tree, whose parameters and buffers are the model's own."""
    tree = copy.deepcopy(model, _memo(model))
    blocks = model.get_submodule(family.layers)
    attentions = tuple(i for i, block in enumerate(blocks) if not lacks(block, family.attention))
    return View(tree, family, tuple(range(len(blocks))), attentions, model.config.get_text_config(decoder=True))


def lacks(block: nn.Module, sublayer: Sublayer) -> bool:
    """Whether a sublayer of a block is missing: dropped, or never in the checkpoint."""
    return getattr(block.get_submodule(sublayer.module), "adds_nothing", False)


_TABLES = (dict, OrderedDict, set)


def _memo(model: PreTrainedModel) -> dict[int, Any]:
    """The memo that makes deepcopy hand every weight through.

    Weights that accelerate keeps on disk or in host memory hang on hooks and not on modules: their maps are only read,
    so they are shared as well. Each module has ten empty tables, for hooks and the like, and deepcopy takes longer for these
    than for all the rest: an empty one of the same type is as good.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        memo |= {id(each): type(each)() for each in vars(module).values() if type(each) in _TABLES and not each}
        hook = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            weights = getattr(part, "weights_map", None)
            if weights is not None:
                memo[id(weights)] = weights
    return memo


def _takes(model: PreTrainedModel, argument: str) -> bool:
    return argument in inspect.signature(type(model).forward).parameters  # looks through decorators
