"""The one door through which a model comes in, in steps: understand, fetch, read. Whoever leases models makes room between.

Every quirk of name, format, dtype and device stops here. What can be refused is refused before anything large is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from models.families import Family, family_of
from models.loading import bundled
from models.loading.checks.shapes import refuse_mismatch
from models.loading.checks.tokens import watch_ids
from models.loading.gaps import gaps_in
from models.loading.identity import identify, identity
from models.loading.memory import Estimate, estimated
from models.loading.pretrained import config_of, model_of, tokenizer_of
from models.loading.sources import Source, fetched, find, gguf_size, size
from models.subject import ModelRef, Subject
from refusal import Progress, Refusal, silent

__all__ = ["Wanted", "estimate", "fetch", "identify", "load", "present", "read", "understood"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """A model that is understood and not read yet.

    Attributes
    ----------
    expected : Estimate
        What it takes, of which memory.
    fingerprint : str
        Empty until its files are `present`.
    """

    ref: ModelRef
    source: Source
    config: PreTrainedConfig
    family: Family
    tokenizer: PreTrainedTokenizerBase
    expected: Estimate
    fingerprint: str = ""


def understood(ref: ModelRef, progress: Progress = silent, room: Callable[[str], int] | None = None) -> Wanted:
    """Everything about a model but its weights; of a hub model only small files are fetched.

    Parameters
    ----------
    room : callable, optional
        Bytes that the model may take on a device; without it, what is free now.

    Raises
    ------
    Refusal
        Not found, not supported, not trusted, or without a tokenizer.
    """
    progress(0, 0, "checking the files")
    source = find(ref.name, ref.revision, progress)
    config = config_of(source)
    family = family_of(config)
    tokenizer = tokenizer_of(source)
    return Wanted(ref, source, config, family, tokenizer, estimated(*size(source), ref.dtype, ref.device, room))


def present(wanted: Wanted, progress: Progress = silent) -> Wanted:
    """The same with its weights on this machine, and with its fingerprint.

    Raises
    ------
    Refusal
        The weights cannot be fetched, are incomplete, or hold less than the config describes.
    """
    source = fetched(wanted.source, progress)
    gaps = None if source.gguf else gaps_in(source.folder)
    # reads the headers: a download or copy that was cut short shows now, not as a crash
    refuse_mismatch(source, wanted.config, wanted.family, gaps, wanted.expected)
    return replace(wanted, source=source, fingerprint=identity(source, wanted.ref, progress))


def read(wanted: Wanted, progress: Progress = silent) -> Subject:
    """The model in memory.

    Raises
    ------
    Refusal
        Its weights are not those of its config, or changed meanwhile.
    """
    model = model_of(wanted.source, wanted.config, wanted.expected, progress)
    if identity(wanted.source, wanted.ref) != wanted.fingerprint:
        raise Refusal(f"The files of {wanted.ref.name} changed while they were being read. Load it again.")
    watch_ids(model, wanted.tokenizer)
    return Subject(wanted.ref, model, wanted.tokenizer, wanted.family, wanted.fingerprint)


def load(ref: ModelRef, progress: Progress = silent) -> Subject:
    """Load a model into the memory that is free.

    Raises
    ------
    Refusal
        Not found, not supported, incomplete, not trusted, or too large for the memory that is free.
    """
    wanted = understood(ref, progress)
    if not wanted.expected.fits:
        expected = wanted.expected
        raise Refusal(
            f"{ref.name} {expected} on {expected.device} in {expected.dtype}. Choose bfloat16, another device or a "
            "smaller model, or unload what fills the memory."
        )
    return read(present(wanted, progress), progress)


def fetch(ref: ModelRef, progress: Progress = silent) -> None:
    """Bring all files of a model to this machine, without reading it into memory; see `identify`.

    Raises
    ------
    Refusal
        Not found, not supported, not trusted, without a tokenizer, or it cannot be downloaded.
    """
    present(understood(ref, progress), progress)


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
