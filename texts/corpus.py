"""Calibration tokens: a text cut into consecutive windows of equal length, without padding.

Padding would count as text in every score, so there is none: what does not fill a window is left out. Windows start at
the start of the text, so a corpus of 16 windows begins with the 8 windows of the smaller one; ``skip`` starts later, for what
is calibrated on one part of a text and measured on another.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from refusal import Refusal, plural
from texts.sources import BUNDLED, NAMES, forget_texts, is_own, keep_text, label, read_text, text_digest
from texts.tokens import token_ids

__all__ = [
    "BUNDLED", "NAMES", "Corpus", "CorpusRef", "forget_texts", "is_own", "keep_text", "label", "read_corpus", "read_text",
    "text_digest",
]  # fmt: skip


@dataclass(frozen=True)
class CorpusRef:
    """A corpus as asked for.

    Attributes
    ----------
    name : str
        One of `NAMES`, the path of a .txt or .jsonl file, or what `keep_text` returned.
    windows : int
        At most so many.
    length : int
        Tokens per window, with BOS if there is one.
    bos : bool
        Each window starts with the BOS token.
    skip : int
        Windows left out at the start of the text.
    """

    name: str = BUNDLED
    windows: int = 8
    length: int = 512
    bos: bool = False
    skip: int = 0

    @property
    def following(self) -> "CorpusRef":
        """As many windows, those that come next: what is calibrated on them never saw the tokens of these."""
        return replace(self, skip=self.skip + self.windows)

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise Refusal(f"{self.skip} windows cannot be skipped. Ask for 0 or more.")
        if self.windows < 1:
            raise Refusal(f"A corpus cannot have {self.windows} windows. Ask for 1 or more.")
        if self.length < 2:
            raise Refusal(f"A window of {self.length} tokens predicts nothing. Ask for a length of 2 or more.")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token ids to run a model on.

    Attributes
    ----------
    tokens : int64 array of shape (windows, tokens)
        Fewer windows than asked for when the text is short.
    digest : str
        sha256 of the token ids and their shape.
    """

    ref: CorpusRef
    tokens: np.ndarray
    digest: str


def read_corpus(ref: CorpusRef, tokenizer: PreTrainedTokenizerBase, context: int | None = None) -> Corpus:
    """Tokenise a text and cut it into windows.

    Parameters
    ----------
    context : int or None
        Most tokens that the model takes in a row.

    Raises
    ------
    Refusal
        The text is missing or shorter than one window, the windows are longer than the context, or BOS is asked of a
        tokenizer that has none.
    """
    if context is not None and ref.length > context:
        raise Refusal(f"A window of {ref.length} tokens does not fit the model, which reads at most {context}.")
    bos = tokenizer.bos_token_id
    if ref.bos and bos is None:
        raise Refusal("BOS was asked for, but this model's tokenizer has no BOS token. Leave it out.")
    ids = token_ids(ref.name, tokenizer)
    fresh = ref.length - ref.bos  # tokens of text in each window
    windows = min(ref.windows, len(ids) // fresh - ref.skip)
    if ref.skip and windows <= 0:
        raise Refusal(
            f"The text ends after {plural(len(ids) // fresh, 'window')} of {ref.length} tokens, and calibration needs windows "
            f"after the {ref.skip} that are measured. Measure fewer windows, make them shorter, or give a longer text."
        )
    if windows == 0:
        raise Refusal(
            f"The text has {plural(len(ids), 'token')}, fewer than one window of {ref.length}. Give a longer text, or ask for "
            "shorter windows."
        )
    # A copy: the ids are shared and read-only, and the whole text would stay in memory for a few windows.
    tokens = ids[ref.skip * fresh :][: windows * fresh].reshape(windows, fresh).copy()
    if ref.bos:
        tokens = np.concatenate([np.full((windows, 1), bos, dtype=np.int64), tokens], axis=1)
    return Corpus(ref, tokens, hashlib.sha256(f"{tokens.shape}".encode() + tokens.astype("<i8").tobytes()).hexdigest())
