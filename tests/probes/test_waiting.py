"""No probe lets the host wait once per token or once per layer: so many times per window, or per batch on a GPU."""

import json

import pytest
import torch

from plans.plan import parse
from probes import PROBES
from probes.base import read_params
from tests.models.tiny import tiny_model, tokens
from tests.probes.characters import character_tokenizer
from tests.probes.subjects import corpus_of, subject_of
from tests.probes.waits import Waits
from texts.corpus import CorpusRef, read_corpus

# Most reads of one value for one window more: one per pass is transformers', which looks whether windows are packed, and one
# is ours, whether all numbers were numbers. Low-rank attention makes 6 passes with its baselines, and one for the directions.
READS = {"similarity": 2, "fidelity": 3, "transitions": 4, "key_rank": 2, "low_rank_attention": 9}
# Most copies to the host for one window more: the dense side that is kept; which streams are equal, and what was found.
FETCHES = {"similarity": 0, "fidelity": 2, "transitions": 2, "key_rank": 0, "low_rank_attention": 0}
CASES = [
    ("similarity", {}), ("fidelity", {}), ("transitions", {"last": True}), ("transitions", {"last": False}), ("key_rank", {}),
    ("low_rank_attention", {"dims": "0.5", "top": "0.5"}),
]  # fmt: skip
# These wait for each drop that they measure, so not for each window alone.
SEARCHES = [
    ("drop_scan", {}),
    ("search", {"points": 1, "draws": 1, "generations": 1, "offspring": 2, "again": 2, "strategies": "kl,greedy,swaps,random"}),
]
PER_TOKEN = 4  # reads for one written token more, of logits that were copied to the host once: which one, how likely, …
ITEM = {"question": "2 + 2 =", "options": ["3", "4"], "answer": 1}


def waits_of(name, params, layers=5, windows=2, length=16, folder=None):
    """What a probe waits for, over a tiny model and random tokens."""
    model = tiny_model("llama", num_hidden_layers=layers)
    model.generation_config.eos_token_id = None
    subject, probe = subject_of(model, character_tokenizer()), PROBES[name]
    corpus = corpus_of(tokens(windows, length)) if probe.takes_corpus else None
    if name == "low_rank_attention":  # it reads further in its text
        path = folder / "text.txt"
        path.write_text(character_tokenizer().decode(tokens(16, 96).flatten()))
        corpus = read_corpus(CorpusRef(str(path), windows=windows, length=length), character_tokenizer())
    with Waits() as waits:
        probe.run(subject, corpus, parse("a1,m3" if probe.takes_plan else ""), read_params(probe, params))
    return waits


def test_a_wait_is_seen():
    with Waits() as waits:
        for value in torch.arange(3):
            value.item()
        torch.ones(2).tolist()
        bool(torch.ones(()) > 0)
        torch.ones(2).nonzero()
        torch.ones(2)[torch.tensor([True, False])]
        with torch.inference_mode():
            int(torch.ones(3).max())
            bool(torch.ones(()) > 0)
    assert waits.reads == 8 and waits.fetches == 1


@pytest.mark.parametrize("name, params", [*CASES, *SEARCHES])
def test_waits_do_not_grow_with_the_tokens(name, params, tmp_path):
    short, long = (waits_of(name, params, windows=4, length=length, folder=tmp_path) for length in (16, 64))
    assert (short.reads, short.fetches) == (long.reads, long.fetches)


@pytest.mark.parametrize("name, params", CASES)
def test_a_window_waits_a_few_times_however_many_layers_there_are(name, params, tmp_path):
    for layers in (4, 7):
        few, more = (waits_of(name, params, layers, windows, folder=tmp_path) for windows in (2, 4))
        assert 0 < (more.reads - few.reads) / 2 <= READS[name]
        assert (more.fetches - few.fetches) / 2 <= FETCHES[name]


def test_items_of_one_batch_wait_once():
    one, five = (waits_of("choice_subspace", {"items": "\n".join([json.dumps(ITEM)] * count)}) for count in (1, 5))
    assert (one.reads, one.fetches) == (five.reads, five.fetches)


def test_drift_waits_for_each_token_it_writes_and_no_more():
    """Whoever writes a text has to know each token before the next; what is measured on the texts waits once per prompt."""
    waits = {(layers, steps): waits_of("generation_drift", {"prompts": "Why is", "length": steps}, layers).reads
             for layers, steps in ((5, 4), (5, 8), (8, 8))}  # fmt: skip
    assert 0 < waits[5, 8] - waits[5, 4] <= PER_TOKEN * 4 * 2  # both models write four tokens more
    assert waits[8, 8] == waits[5, 8]
