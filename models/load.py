"""The one door through which a model comes in: every quirk of name, format, dtype and device stops here."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from models import Progress, Refusal, bundled, silent
from models.bars import reported
from models.families import Family, family_of
from models.memory import DEVICES, DTYPES, Estimate, estimated
from models.pretrained import config_of, model_of, tokenizer_of
from models.sources import fetched, find, gguf_size, size
from models.weights import fingerprint_of

__all__ = ["Estimate", "ModelRef", "Subject", "estimate", "fingerprint", "load"]


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
        embeddings = self.model.get_input_embeddings()
        hook = getattr(embeddings, "_hf_hook", None)  # accelerate keeps offloaded weights on "meta"
        return torch.device(getattr(hook, "execution_device", None) or embeddings.weight.device)

    @property
    def context(self) -> int | None:
        """Most tokens in a row; None: no limit is known."""
        return getattr(self.config, "max_position_embeddings", None) or getattr(self.config, "max_seq_len", None)

    @property
    def expects_bos(self) -> bool:
        """Whether the model was trained to see a BOS token first; without it a Gemma talks nonsense."""
        bos = self.tokenizer.bos_token_id
        prepends = bos is not None and self.tokenizer("a").input_ids[:1] == [bos]
        return prepends or self.config.model_type.startswith("gemma")


def estimate(ref: ModelRef) -> Estimate:
    """Memory that a model would take and where it would go; of a hub model only small files are fetched.

    Raises
    ------
    Refusal
        There is no such model or device.
    """
    if ref.name == bundled.NAME and not bundled.converted().is_dir():
        return estimated(*gguf_size(bundled.gguf()), ref.dtype, ref.device)
    return estimated(*size(find(ref.name, ref.revision)), ref.dtype, ref.device)


def fingerprint(ref: ModelRef) -> str:
    """The fingerprint that the loaded model would have; reads the weight files once, then remembers them.

    Raises
    ------
    Refusal
        The model is not on this machine.
    """
    source = find(ref.name, ref.revision)
    return fingerprint_of(source.folder, source.files, estimated(*size(source), ref.dtype, ref.device).dtype)


def load(ref: ModelRef, progress: Progress = silent) -> Subject:
    """Load a model.

    Raises
    ------
    Refusal
        Not found, not supported, incomplete, not trusted, or too large for the memory that is free.
    """
    source = find(ref.name, ref.revision, progress)
    config = config_of(source)
    family = family_of(config)
    expected = estimated(*size(source), ref.dtype, ref.device)
    if not expected.fits:
        raise Refusal(
            f"{ref.name} {expected} on {expected.device} in {expected.dtype}. Choose bfloat16, another device, a "
            "smaller model, or unload what fills the memory."
        )
    source = fetched(source, progress)
    if not source.gguf:
        size(source)  # reads the headers: a download or copy that was cut short is told now, not by a crash
    tokenizer = tokenizer_of(source)
    with reported(progress):
        model = model_of(source, config, expected)
    progress(1, 1, "reading the fingerprint")
    return Subject(ref, model, tokenizer, family, fingerprint_of(source.folder, source.files, expected.dtype))
