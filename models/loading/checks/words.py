"""The one door for what other libraries raise about a model's files: it comes out as a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from refusal import Progress, Refusal, silent

_MOST = 300  # letters of another library's words
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_SPEAKING = (OSError, ValueError, ImportError)  # their messages are sentences; others need the name of their class


@contextmanager
def in_words(name: str, progress: Progress = silent) -> Iterator[Progress]:
    """Turn whatever transformers, tokenizers, safetensors and gguf raise about a hostile or broken file into a Refusal.

    Our own refusals, a lack of memory, and what ``progress`` raises to cancel pass as they are.

    Parameters
    ----------
    name : str
        The model, as the person wrote it.
    progress : Progress
        What is yielded calls it; hand that to the libraries.

    Raises
    ------
    Refusal
        What is wrong, on one line.
    """
    cancelled: list[BaseException] = []

    def watched(*step: Any) -> None:
        try:
            progress(*step)
        except BaseException as error:
            cancelled.append(error)
            raise

    try:
        yield watched
    except BaseException as error:
        if cancelled and error is not cancelled[0]:
            raise cancelled[0] from None
        if cancelled or isinstance(error, Refusal | MemoryError) or not _of_a_library(error) or _of_memory(error):
            raise
        raise Refusal(
            f"{name} could not be opened ({_said(error)}). Check its config.json and tokenizer, or save or download it again."
        ) from error


def _of_a_library(error: BaseException) -> bool:
    """Not a Ctrl-C or an exit; a panic of a library in Rust is no Exception either."""
    return isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime"


def _of_memory(error: BaseException) -> bool:
    return any(sign in str(error).lower() for sign in _MEMORY)


def _said(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    lines = str(error).strip().split("\n")
    said = lines[0].rstrip(".") if isinstance(error, _SPEAKING) and lines[0] else f"{type(error).__name__}: {lines[0]}"
    if len(lines) > 1 and said.endswith(":"):  # the reason is on the next line
        said = f"{said} {lines[1].strip()}"
    return said if len(said) <= _MOST else f"{said[:_MOST]}…"
