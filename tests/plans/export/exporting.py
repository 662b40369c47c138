"""Tiny models on the disk, exported and opened again."""

import torch

from models.lease import Leases
from models.subject import ModelRef
from plans.export.export import Order, export
from plans.learn import calibrate
from plans.plan import parse
from tests.conftest import tiny_tokenizer
from tests.models.tiny import tiny_model
from texts.corpus import CorpusRef, read_corpus

TEXT = "The capital of France is Paris, and the capital of the arts. " * 40


def saved(folder, name, **more):
    """A tiny model of a family as a folder, with a tokenizer."""
    tokenizer = tiny_tokenizer()
    options = {"vocab_size": len(tokenizer)} | {key: value for key, value in more.items() if key != "shard"}
    model = tiny_model(name, **options)
    model.save_pretrained(folder, **({"max_shard_size": more["shard"]} if "shard" in more else {}))
    tokenizer.save_pretrained(folder)
    return folder


def text_of(folder):
    """A short text to learn from and to compare on."""
    path = folder / "text.txt"
    path.write_text(TEXT)
    return CorpusRef(str(path), 2, 16)


def order_of(folder, plan, form, name="out", **more):
    """An order for a tiny model."""
    text = text_of(folder.parent)
    dtype = more.pop("dtype", "auto")
    return Order(ModelRef(str(folder), device="cpu", dtype=dtype), parse(plan), form, name, text, **more)


def exported(folder, plan, form, name="out", **more):
    """Export a tiny model."""
    order = order_of(folder, plan, form, name, **more)

    def learn(subject, progress):
        tokens = read_corpus(order.text.following, subject.tokenizer).tokens
        return calibrate(subject, order.plan, torch.from_numpy(tokens), progress).learned

    return export(order, Leases(), learn)
