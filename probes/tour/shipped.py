"""Answers on the bundled model that come with the app, for whoever has computed nothing yet.

They are a bundle that is read where it lies. They are never put into the store: their keys name the versions of torch and
transformers that computed them, so that they would not be found under others; where they were, they would stand among what was
measured on this machine. ``scripts/tour.py`` writes the file, and a test computes its numbers again.
"""

from functools import cache
from pathlib import Path

from models.subject import ModelRef
from probes.answer import Answer
from probes.bundles import answers_in
from probes.question import Question
from texts.corpus import CorpusRef
from texts.prompts import as_lines

FILE = Path(__file__).with_name("answers.bundle")
# Not `auto`: some processors would take bfloat16.
MODEL, TEXT = ModelRef(dtype="float32", device="cpu"), CorpusRef()
_SHORT, _SHORTEST = CorpusRef(windows=2, length=256), CorpusRef(windows=2, length=64)  # for what is only shown small
# The four that turn the stream least, of each kind.
ATTENTIONS, MLPS = "a25,a26,a28,a29", "m15,m16,m17,m25"
PROMPTS = ("What is the capital of France?", "Why is the sky blue?", "Write one sentence about the sea.")
_WRITING = {"prompts": as_lines(list(PROMPTS)), "length": 48}

QUESTIONS = {
    "anatomy": Question("anatomy", MODEL),
    "similarity": Question("similarity", MODEL, TEXT),
    "cost attention": Question("cost", MODEL, plan=ATTENTIONS),
    "cost mlp": Question("cost", MODEL, plan=MLPS),
    "fidelity attention": Question("fidelity", MODEL, TEXT, ATTENTIONS),
    "fidelity mlp": Question("fidelity", MODEL, TEXT, MLPS),
    "answers dense": Question("answers", MODEL, TEXT, "", _WRITING),
    "answers attention": Question("answers", MODEL, TEXT, ATTENTIONS, _WRITING),
    "answers mlp": Question("answers", MODEL, TEXT, MLPS, _WRITING),
    "drop_scan": Question("drop_scan", MODEL, _SHORTEST, params={"splits": 0}),
    "key_rank": Question("key_rank", MODEL, _SHORT),
    "transitions": Question("transitions", MODEL, _SHORT, ATTENTIONS),
}


@cache
def shipped() -> dict[str, Answer]:
    """The answers, by the names of `QUESTIONS`."""
    there = {(each.about["question"]["probe"], each.about["question"]["plan"]): each for each in answers_in(FILE)}
    return {name: there[question.probe, question.plan] for name, question in QUESTIONS.items()}
