"""A view: a real pruned model that shares its weights with the dense one."""

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from models.families import Config, Family


@dataclass(frozen=True, eq=False)
class View:
    """A model cut by a plan.

    Attributes
    ----------
    model : PreTrainedModel
        Private module tree; weights that are not pruned are those of the dense model.
    blocks : tuple of int
        The dense layer index of each block that is left.
    attentions : tuple of int
        The dense layer index of each attention that is left; its place here is its place in the cache.
    dense_config : PreTrainedConfig
        The text config of the dense model.
    """

    model: PreTrainedModel
    family: Family
    plan: object
    blocks: tuple[int, ...]
    attentions: tuple[int, ...]
    dense_config: Config

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks that are left, in order."""
        return self.model.get_submodule(self.family.layers)

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
        keep = {"logits_to_keep": 1} if last and _keeps_logits(self.model) else {}
        out = self.model(input_ids=tokens, past_key_values=cache, use_cache=cache is not None, **keep).logits
        return out[:, -1:] if last else out


def _keeps_logits(model: PreTrainedModel) -> bool:
    return "logits_to_keep" in inspect.signature(type(model).forward).parameters  # looks through decorators
