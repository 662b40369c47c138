"""A model as asked for, and a model that is loaded."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from models.families import Family, context
from models.loading import bundled
from models.loading.memory import DEVICES, DTYPES
from models.view import place_of
from refusal import Refusal


@dataclass(frozen=True)
class ModelRef:
    """A model as asked for.

    Attributes
    ----------
    name : str
        ``bundled``, a folder, a ``.gguf`` file, or a hub id.
    revision : str or None
        Branch, tag or commit of a hub id.
    dtype : str
        What to compute in; "auto": the checkpoint's own, but float32 for a float16 checkpoint on a CPU.
    device : str
        "auto" takes a GPU with room, else both GPU and CPU, else the CPU; "split" lays the layers over what there is.

    Raises
    ------
    Refusal
        A dtype or device that does not exist.
    """

    name: str = bundled.NAME
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        for what, given, known in (("dtype", self.dtype, DTYPES), ("device", self.device, DEVICES)):
            if given not in known:
                raise Refusal(f"There is no {what} '{given}'. Choose one of: {', '.join(known)}.")


@dataclass(frozen=True, eq=False)
class Subject:
    """A loaded model: in eval mode, no parameter wants a gradient, and nobody changes it.

    Attributes
    ----------
    ref : ModelRef
        As asked.
    fingerprint : str
        sha256 of config, tokenizer, weights and dtype: equal for equal models, wherever they lie.
    """

    ref: ModelRef
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    fingerprint: str

    @property
    def config(self) -> PreTrainedConfig:
        """The config of the text decoder."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.model.get_submodule(self.family.layers))

    @property
    def width(self) -> int:
        """Numbers in the residual stream per token."""
        return self.config.hidden_size

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        """Where token ids must be."""
        return place_of(self.model.get_input_embeddings())

    @property
    def context(self) -> int | None:
        """Most tokens in a row; None: no limit is known."""
        return context(self.config)

    @property
    def expects_bos(self) -> bool:
        """Whether the model was trained to see a BOS token first; without it a Gemma talks nonsense."""
        bos = self.tokenizer.bos_token_id
        prepends = bos is not None and self.tokenizer("a").input_ids[:1] == [bos]
        return prepends or self.family.begins_with_bos
