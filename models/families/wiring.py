"""What has to be known of an architecture: where it keeps its parts, as dotted paths, and what it does its own way.

A family is known by what is *added* to the residual stream, because that is what every score of a sublayer is defined by
(arXiv 2406.15786, §3): usually the output of the attention or MLP module, but the output of a norm after it where the
family has one there (Gemma, OLMo 2, GLM-4), times a constant (Granite), or less the residual that went in (BLOOM, MPT).
"""

from dataclasses import dataclass
from typing import Any

Config = Any  # a transformers PreTrainedConfig; its attributes differ by family


@dataclass(frozen=True)
class Sublayer:
    """One addend of a block.

    Attributes
    ----------
    module : str
        The attention or MLP itself, inside a block.
    addend : str
        The module whose output is added to the stream; empty: ``module``.
    norms : tuple of str
        Norms that nobody else reads; they go with the sublayer.
    dead : tuple of str
        Other modules that only feed ``module``.
    takes_residual : bool
        The module is called with ``(hidden, residual)`` and returns their sum.
    returns_tuple : bool
        The module returns ``(output, something)``.
    overwritten : bool
        The block adds into the module's output in place, so whoever wants it must copy it.
    """

    module: str
    addend: str = ""
    norms: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    takes_residual: bool = False
    returns_tuple: bool = False
    overwritten: bool = False


@dataclass(frozen=True)
class Family:
    """How to find the parts of one architecture.

    Attributes
    ----------
    layers, final_norm, head : str
        Dotted paths in the model.
    attention, mlp : Sublayer
        Dotted paths in a block.
    parallel : bool
        Attention and MLP both read the block's input.
    scale : str
        Name of the config value by which both addends are multiplied; empty: 1.
    expands_keys : str
        The attention is latent (MLA): it caches something smaller, of which this method of it makes the keys and values of
        each head. Empty: the cache holds keys and values.
    distinct_keys : str
        The attention copies each key to all queries of its group before it goes to the cache, and this attribute of it
        says how many different heads there are. Empty: nothing is copied.
    begins_with_bos : bool
        Trained to see a BOS token first, whether or not its tokenizer puts one there.
    """

    name: str
    attention: Sublayer
    mlp: Sublayer
    layers: str = "model.layers"
    final_norm: str = "model.norm"
    head: str = "lm_head"
    parallel: bool = False
    scale: str = ""
    expands_keys: str = ""
    distinct_keys: str = ""
    begins_with_bos: bool = False

    @property
    def latent(self) -> bool:
        """Whether attention is latent, which keeps no keys per head."""
        return bool(self.expands_keys)

    def factor(self, config: Config) -> float:
        """The constant by which both addends are multiplied."""
        return float(getattr(config, self.scale)) if self.scale else 1.0

    def copies(self, attention: object, heads: int) -> int:
        """How often each key stands in a row among ``heads`` heads of the cache."""
        return heads // getattr(attention, self.distinct_keys) if self.distinct_keys else 1
