"""Every probe asked of a tiny family, on a device and in a dtype."""

import json

import torch

from benchmarks.gpu.shapes import DEVICE
from plans.cut import cut
from plans.learn import calibrate
from plans.plan import parse
from probes import PROBES
from probes.base import read_params
from probes.tasks.answers import Answers
from refusal import silent
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
    "step_layers": {"prompts": "Why is the sky blue?\nOne two", "length": 6},
    "speed": {"prompt": 8, "new": 2, "rounds": 5},
    "choice_subspace": {"items": "\n".join(map(json.dumps, _ITEMS))},
    "answers": {"prompts": "Why is the sky blue?\nOne two", "length": 6},
    "search": {"points": 1, "draws": 1, "generations": 1, "offspring": 2, "again": 2, "strategies": "kl,greedy,swaps,random"},
    "stability": {"other": ""},
}
PLAN = "a1,m3"
# The harness of `evaluate` is a process that computes nothing and may not be installed; what it asks is asked in its place.
NAMES = [name for name in PROBES if name != "evaluate"]
_READ = {"low_rank_attention": 2, "search": 4, "stability": 4}  # windows of probes that read further in the text


def made(family, device=DEVICE, weights=torch.float32, dtype=torch.float32):
    """A tiny subject whose weights are rounded to ``weights`` and kept in ``dtype``; no token ends its texts."""
    model = tiny_model(family)
    model.generation_config.eos_token_id = None
    for weight in model.parameters():  # the buffers stay: transformers keeps rotations in float32 as well
        weight.data = weight.data.to(weights).to(dtype)
    return subject_of(model.to(device), character_tokenizer())


def text_of(folder, windows):
    """A corpus of a file, for probes that read further in it."""
    path = folder / "text.txt"
    path.write_text(character_tokenizer().decode(tokens(8, 24).flatten()))
    return read_corpus(CorpusRef(str(path), windows=windows, length=24), character_tokenizer())


def learned(subject, plan):
    """The plan, calibrated if it has to be."""
    plan = parse(plan)
    return calibrate(subject, plan, tokens(2, 24)) if plan.learning else plan


def ask(name, subject, folder, plan=PLAN):
    """The answer of a probe."""
    probe = PROBES[name]
    corpus = None
    if probe.takes_corpus:
        corpus = text_of(folder, _READ[name]) if name in _READ else corpus_of(tokens(2, 24))
    return probe.run(
        subject, corpus, learned(subject, plan if probe.takes_plan else ""), read_params(probe, PARAMS.get(name, {}))
    )


def scored(subject, plan=PLAN):
    """What tasks ask of a model: the log-likelihoods of continuations, and whether they are the likeliest."""
    pairs = [[row[:8].tolist(), row[8:].tolist()] for row in tokens(4, 12)]
    return Answers(subject, cut(subject, learned(subject, plan)), "pruned", silent).scored(pairs)
