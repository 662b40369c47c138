"""Every probe asked of a tiny family, on a device and in a dtype."""

import json

import torch

from benchmarks.gpu.shapes import DEVICE
from plans.learn import calibrate
from plans.plan import parse
from probes import PROBES
from probes.base import read_params
from tests.models.tiny import tiny_model, tokens
from tests.probes.characters import character_tokenizer
from tests.probes.subjects import corpus_of, subject_of
from texts.corpus import CorpusRef, read_corpus

CPU = torch.device("cpu")
_ITEMS = [
    {"question": "2 + 2 =", "options": ["3", "4"], "answer": 1},
    {"question": "Which is red?", "options": ["Blood", "Snow", "Grass"], "answer": 0},
]
PARAMS = {
    "low_rank_attention": {"dims": "0.5", "top": "0.5"},
    "transitions": {"last": False},
    "generation_drift": {"prompts": "Why is the sky blue?\nOne two", "length": 6},
    "speed": {"prompt": 8, "new": 2, "rounds": 5},
    "choice_subspace": {"items": "\n".join(map(json.dumps, _ITEMS))},
}
PLAN = "a1,m3"


def made(family, device=DEVICE, weights=torch.float32, dtype=torch.float32):
    """A tiny subject whose weights are rounded to ``weights`` and kept in ``dtype``; no token ends its texts."""
    model = tiny_model(family)
    model.generation_config.eos_token_id = None
    for weight in model.parameters():  # the buffers stay: transformers keeps rotations in float32 as well
        weight.data = weight.data.to(weights).to(dtype)
    return subject_of(model.to(device), character_tokenizer())


def text_of(folder):
    """A corpus of a file, for the probe that reads further in it."""
    path = folder / "text.txt"
    path.write_text(character_tokenizer().decode(tokens(8, 24).flatten()))
    return read_corpus(CorpusRef(str(path), windows=2, length=24), character_tokenizer())


def learned(subject, plan):
    """The plan, calibrated if it has to be."""
    plan = parse(plan)
    return calibrate(subject, plan, tokens(2, 24)) if plan.learning else plan


def ask(name, subject, folder, plan=PLAN):
    """The answer of a probe."""
    probe = PROBES[name]
    corpus = None
    if probe.takes_corpus:
        corpus = text_of(folder) if name == "low_rank_attention" else corpus_of(tokens(2, 24))
    return probe.run(
        subject, corpus, learned(subject, plan if probe.takes_plan else ""), read_params(probe, PARAMS.get(name, {}))
    )
