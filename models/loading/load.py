"""The one door through which a model comes in: every quirk of name, format, dtype and device stops here."""

from models.families import family_of
from models.loading import bundled
from models.loading.memory import Estimate, estimated
from models.loading.pretrained import config_of, model_of, tokenizer_of
from models.loading.progress_bars import reported
from models.loading.sources import fetched, find, gguf_size, size
from models.loading.weight_files import fingerprint_of
from models.subject import ModelRef, Subject
from refusal import Progress, Refusal, silent


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
