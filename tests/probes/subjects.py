"""Subjects and corpora from models and token ids, for tests that need no files."""

from types import SimpleNamespace

import torch

from models.families import family_of
from models.subject import ModelRef, Subject
from texts.corpus import Corpus, CorpusRef


def subject_of(model, tokenizer=None):
    """A subject around a model that is already there."""
    tokenizer = tokenizer or plain_tokenizer()
    config = model.config.get_text_config(decoder=True)
    return Subject(ModelRef("tiny"), model, tokenizer, family_of(config), "0" * 64)


def corpus_of(ids: torch.Tensor):
    """A corpus of these token ids."""
    return Corpus(CorpusRef("tiny", *ids.shape), ids.numpy(), "0" * 64)


def plain_tokenizer(vocabulary: int = 97):
    """Token i is written ``i`` and a space; no chat template, no special tokens."""
    return SimpleNamespace(
        decode=lambda ids: "".join(f"{int(i)} " for i in ids),
        batch_decode=lambda rows: ["".join(f"{int(i)} " for i in row) for row in rows],
        bos_token_id=None,
        eos_token_id=None,
        chat_template=None,
    )
