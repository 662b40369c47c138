"""Token ids of whole texts; the last few are kept, because one question cuts the same text more than once."""

import weakref
from collections import OrderedDict
from threading import Lock

import numpy as np
from transformers import PreTrainedTokenizerBase

from texts.sources import digest_of, read_text, text_digest

_MOST = 4  # texts kept: at 8 bytes a token, 16 MB for the longest
_lock = Lock()
# Keyed by the digest of the text and the id of the tokenizer. The reference does not keep the tokenizer alive; it tells
# whether the id still belongs to it, because Python gives the id of a dead object to a new one.
_kept: OrderedDict[tuple[str, int], tuple[weakref.ref, np.ndarray]] = OrderedDict()


def token_ids(name: str, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """A whole text as token ids, without special tokens.

    Returns
    -------
    int64 array of shape (tokens,)
        Shared and read-only.

    Raises
    ------
    Refusal
        The text is missing, unreadable or empty.
    """
    found = _found(text_digest(name), tokenizer)
    if found is not None:
        return found
    text = read_text(name)
    # The whole text goes to the tokenizer: the end of a part could be cut into other tokens.
    ids = np.array(tokenizer(text, add_special_tokens=False, verbose=False).input_ids, dtype=np.int64)
    ids.flags.writeable = False
    _keep(digest_of(text), tokenizer, ids)  # of what was read: a file may have changed since its digest was taken
    return ids


def _found(digest: str, tokenizer: PreTrainedTokenizerBase) -> np.ndarray | None:
    with _lock:
        _forget_dead()
        key = (digest, id(tokenizer))
        if key not in _kept:
            return None
        _kept.move_to_end(key)
        return _kept[key][1]


def _keep(digest: str, tokenizer: PreTrainedTokenizerBase, ids: np.ndarray) -> None:
    with _lock:
        _kept[digest, id(tokenizer)] = weakref.ref(tokenizer), ids
        _kept.move_to_end((digest, id(tokenizer)))
        _forget_dead()
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def _forget_dead() -> None:
    """Drop the ids of tokenizers that are gone. A weakref callback could run in the middle of `_keep` and wait for itself."""
    for key in [key for key, (tokenizer, _) in _kept.items() if tokenizer() is None]:
        del _kept[key]
