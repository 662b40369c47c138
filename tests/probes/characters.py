"""Tiny models that read text: a tokenizer of 97 characters, so that prompts of tests are real ones."""

import string

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from plans.learn import calibrate
from plans.plan import parse
from tests.models.tiny import tiny_model, tokens
from tests.probes.subjects import subject_of

_SPECIAL = ["<pad>", "<s>", "</s>"]
_CHARACTERS = "\n " + string.ascii_letters + string.digits + string.punctuation[:30]


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A token per character, ids from 3 to 96; a character that it does not know is padding. It closes no text."""
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *_CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<pad>")


def reader(name: str = "llama", seed: int = 0):
    """A subject with this tokenizer around a tiny model that no token ends."""
    model = tiny_model(name, seed)
    model.generation_config.eos_token_id = None
    return subject_of(model, character_tokenizer())


def learned(subject, plan):
    """The plan, calibrated on a few tokens if it has to be."""
    plan = parse(plan)
    if not plan.learning:
        return plan
    return calibrate(subject, plan, tokens(2, 24))
