"""Calibration tokens: a text cut into consecutive windows of equal length, without padding.

Padding would count as text in every score, so there is none: what does not fill a window is left out. Windows start at
the start of the text, so a corpus of 16 windows begins with the 8 windows of the smaller one; ``skip`` starts later, for what
is calibrated on one part of a text and measured on another.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from refusal import Refusal
from settings import subfolder, write_atomically
from texts.hub import HUB_TEXTS, hub_text

BUNDLED = "python-docs"
_LONGEST = 8_000_000  # characters read of a text: some 2 million tokens, more than any calibration uses
_NAMES = f"{BUNDLED}, {', '.join(HUB_TEXTS)}, or the path of a .txt or .jsonl file"


@dataclass(frozen=True)
class CorpusRef:
    """A corpus as asked for.

    Attributes
    ----------
    name : str
        ``python-docs``, ``wikitext-2-raw``, ``c4-validation``, the path of a .txt or .jsonl file, or what `keep_text`
        returned.
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
            raise Refusal(f"{self.windows} windows is no corpus. Ask for 1 or more.")
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


def cut(ref: CorpusRef, tokenizer: PreTrainedTokenizerBase, context: int | None = None) -> Corpus:
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
        raise Refusal(f"A window of {ref.length} tokens does not fit the model, which takes {context} at most.")
    bos = tokenizer.bos_token_id
    if ref.bos and bos is None:
        raise Refusal("BOS was asked for, but this model's tokenizer has no BOS token. Leave it out.")
    text = read_text(ref.name)
    # The whole text goes to the tokenizer: a part of it could be cut into other tokens at its end.
    ids = np.asarray(tokenizer(text, add_special_tokens=False, verbose=False).input_ids, dtype=np.int64)
    fresh = ref.length - ref.bos  # tokens of text in each window
    windows = min(ref.windows, len(ids) // fresh - ref.skip)
    if ref.skip and windows <= 0:
        raise Refusal(
            f"The text ends after {len(ids) // fresh} windows of {ref.length} tokens, and calibration needs windows after the "
            f"{ref.skip} that are measured. Measure fewer windows, make them shorter, or give a longer text."
        )
    if windows == 0:
        raise Refusal(
            f"The text has {len(ids)} tokens, fewer than one window of {ref.length}. Give a longer text, or ask for "
            "shorter windows."
        )
    tokens = ids[ref.skip * fresh :][: windows * fresh].reshape(windows, fresh)
    if ref.bos:
        tokens = np.concatenate([np.full((windows, 1), bos, dtype=np.int64), tokens], axis=1)
    return Corpus(ref, tokens, hashlib.sha256(f"{tokens.shape}".encode() + tokens.astype("<i8").tobytes()).hexdigest())


def read_text(name: str) -> str:
    """The text of that name, or the first 8 million characters of it.

    Raises
    ------
    Refusal
        There is no such text, it cannot be read, or it is empty.
    """
    text = _text(name)[:_LONGEST]
    if not text.strip():
        raise Refusal("The text is empty. Paste some prose, a few hundred words or more.")
    return text


def spoken(name: str) -> str:
    """The name of a text as a person says it; that of a kept one is its digest."""
    return f"own text {name[5:11]}…" if name.startswith("text:") else name


def text_digest(name: str) -> str:
    """sha256 of a text."""
    return _digest(read_text(name))


def keep_text(text: str) -> str:
    """Keep a text in the data directory.

    Returns
    -------
    str
        Its name, ``text:`` and its sha256; the same text has the same name everywhere.
    """
    if not text.strip():
        raise Refusal("The text is empty. Paste some prose, a few hundred words or more.")
    name = _digest(text)
    write_atomically(subfolder("texts") / f"{name}.txt", text)
    return f"text:{name}"


def _text(name: str) -> str:
    if name == BUNDLED:
        from pydoc_data.topics import topics

        return "\n\n".join(topics[topic] for topic in sorted(topics))
    if name in HUB_TEXTS:
        return hub_text(name)
    if name.startswith("text:"):
        return _kept(name.removeprefix("text:"))
    path = Path(name).expanduser()
    if path.suffix not in (".txt", ".jsonl"):
        raise Refusal(f"There is no text '{name}'. Name one of: {_NAMES}.")
    content = _content(path)
    return content if path.suffix == ".txt" else _joined(content, name)


def _kept(digest: str) -> str:
    path = subfolder("texts") / f"{digest}.txt"
    if not (len(digest) == 64 and digest.isalnum() and path.is_file()):  # isalnum: nobody walks out of the folder
        raise Refusal("This text is not kept on this machine. Paste or upload it again.")
    return _content(path)


def _content(path: Path) -> str:
    try:
        # newline="": the text as it is, so that what was kept has the digest it is named by
        with path.open(encoding="utf-8", newline="") as file:
            return file.read(_LONGEST if path.suffix == ".txt" else -1)
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error


def _joined(content: str, name: str) -> str:
    """The ``text`` fields of JSON lines, with blank lines between them."""
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Refusal(f"Line {number} of {name} is not JSON: {error}.") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise Refusal(f'Line {number} of {name} has no text field. Each line must look like {{"text": "…"}}.')
        texts.append(row["text"])
    return "\n\n".join(texts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
