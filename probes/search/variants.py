"""The same search on other calibration texts: which windows stand for which circumstance."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.subject import Subject
from refusal import Refusal
from texts.chat import rendered
from texts.corpus import Corpus, label, read_corpus, text_digest

SAME = "this text"
SEED = "another seed"


def variants(subject: Subject, corpus: Corpus, other: str) -> tuple[dict[str, Corpus], dict[str, str]]:
    """Corpora of equal shape to choose on, by what is different about them.

    Parameters
    ----------
    corpus : Corpus
        What all are compared with; it comes first.
    other : str
        Name of another text; empty: none.

    Returns
    -------
    dict of str to Corpus
    dict of str to str
        What could not be made, and why in a sentence.
    """
    ref, windows = corpus.ref, len(corpus.tokens)
    made: dict[str, Callable[[], Corpus]] = {
        "the windows after these": lambda: _read(subject, replace(ref, windows=windows).following),
        "without BOS" if ref.bos else "with BOS": lambda: _read(subject, replace(ref, windows=windows, bos=not ref.bos)),
        "in the chat template": lambda: _as_chat(subject, corpus),
    }
    if other and text_digest(other) != text_digest(ref.name):
        made[label(other)] = lambda: _read(subject, replace(ref, name=other, windows=windows, skip=0))
    found, missing = {SAME: corpus}, {}
    for name, make in made.items():
        try:
            each = make()
            if each.tokens.shape != corpus.tokens.shape:
                raise Refusal(f"There are only {len(each.tokens)} such windows.")
            found[name] = each
        except Refusal as refusal:
            missing[name] = str(refusal)
    return found, missing


def _read(subject: Subject, ref) -> Corpus:
    return read_corpus(ref, subject.tokenizer, subject.context)


def _as_chat(subject: Subject, corpus: Corpus) -> Corpus:
    """Each window's text as a user's turn, cut to the length of the window."""
    tokenizer, length = subject.tokenizer, corpus.tokens.shape[1]
    if not getattr(tokenizer, "chat_template", None):
        raise Refusal("This tokenizer has no chat template.")
    rows = []
    for window in corpus.tokens:
        turns = [{"role": "user", "content": tokenizer.decode(window, skip_special_tokens=True)}]
        rows.append(tokenizer(rendered(tokenizer, turns), add_special_tokens=False).input_ids[:length])
    if min(map(len, rows)) < length:
        raise Refusal("In the chat template the windows are shorter than here.")
    return Corpus(corpus.ref, np.array(rows, dtype=np.int64), "")
