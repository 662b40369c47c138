"""Windows that go through the model together give the numbers that they give one by one."""

import numpy as np
import pytest
import torch

from models import batching
from plans.learn import calibrate
from plans.plan import EMPTY, parse
from probes import PROBES
from probes.base import read_params
from probes.deviation.dense import DenseSide
from tests.gpu.bounds import apart, leaves
from tests.models.tiny import tiny_model, tokens
from tests.probes.characters import character_tokenizer
from tests.probes.subjects import corpus_of, subject_of
from texts.corpus import CorpusRef, read_corpus

FAMILIES = ("llama", "gemma2", "gpt2", "bloom", "mpt", "falcon-7b", "mixtral")
ROUNDING = 1e-6  # over the largest value of a field; a batch adds in another order
WINDOWS, LENGTH = 5, 20
CASES = [
    ("similarity", {}), ("fidelity", {}), ("transitions", {"last": True}), ("transitions", {"last": False}), ("key_rank", {}),
    ("low_rank_attention", {"dims": "0.5", "top": "0.5"}),
]  # fmt: skip
LEARNING = ("w:wanda@0.5", "w:sparsegpt@0.5", "k:0.5/0.5")


@pytest.fixture
def forced(monkeypatch):
    """A function that makes batches of so many windows from now on, and a list of the sizes that were asked for."""
    asked = []

    def force(size):
        monkeypatch.setattr(batching, "batch_size", lambda device, window_bytes: asked.append(window_bytes) or size)

    force.asked = asked
    return force


def wide(family):
    """In float64, where the model's own rounding is far below the bound."""
    model = tiny_model(family).double()
    if family == "mixtral":
        model.set_experts_implementation("eager")  # the fused one knows no float64
    return subject_of(model, character_tokenizer())


@pytest.mark.parametrize("name, params", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_probe(family, name, params, forced, tmp_path):
    subject, probe, corpus = wide(family), PROBES[name], corpus_of(tokens(WINDOWS, LENGTH))
    if name == "low_rank_attention":
        if family in ("bloom", "mpt", "falcon-7b"):
            pytest.skip("Its attention cannot be replaced.")
        path = tmp_path / "text.txt"
        path.write_text(character_tokenizer().decode(tokens(2 * WINDOWS + 1, LENGTH).flatten()))
        corpus = read_corpus(CorpusRef(str(path), windows=WINDOWS, length=LENGTH), character_tokenizer())
    plan, found = parse("a1,m3") if probe.takes_plan else EMPTY, {}
    for size in (1, 2):
        forced(size)
        found[size] = leaves(probe.run(subject, corpus, plan, read_params(probe, params)))
        assert forced.asked and min(forced.asked) > 0
    expected, ours = found.values()
    assert ours.keys() == expected.keys() and len(expected) > 5
    wrong = {field: distance for field in expected if (distance := apart(ours[field], expected[field])) > ROUNDING}
    assert wrong == {}


@pytest.mark.parametrize("name", ["similarity", "fidelity", "transitions", "key_rank"])
def test_a_batch_is_one_pass(name, forced):
    """Of the dense model; five windows in batches of two at most are three passes."""
    subject, probe = wide("llama"), PROBES[name]
    passes = []
    forced(2)
    handle = subject.model.model.embed_tokens.register_forward_hook(lambda module, args, out: passes.append(args[0].shape))
    probe.run(subject, corpus_of(tokens(WINDOWS, LENGTH)), EMPTY, read_params(probe, {}))
    handle.remove()
    batches = [shape for shape in passes if shape[1] == LENGTH]
    count = 2 if name == "fidelity" else 1  # the second side is a view of its own
    assert sorted(shape[0] for shape in batches) == [1] * count + [2] * 2 * count


@pytest.mark.parametrize("plan", LEARNING)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_plan_learns(family, plan, forced):
    if plan.startswith("k:") and family in ("bloom", "mpt", "falcon-7b"):
        pytest.skip("Its attention cannot be replaced.")
    subject, found = wide(family), {}
    for size in (1, 4):  # of ten windows batches of two, for all are called as the first one was
        forced(size)
        (found[size],) = calibrate(subject, parse(plan), tokens(10, LENGTH)).learned.values()
    assert found[1].keys() == found[4].keys()
    for layer, pieces in found[1].items():
        for name, piece in leaves_of(pieces).items():
            assert apart(leaves_of(found[4][layer])[name], piece) <= ROUNDING, (layer, name)


def leaves_of(piece, prefix=""):
    """Nested pieces by dotted name."""
    if not isinstance(piece, dict):
        return {prefix: piece}
    return {key: value for name, inner in piece.items() for key, value in leaves_of(inner, f"{prefix}.{name}").items()}


def test_batches_are_alike_in_size_and_equal_where_they_have_to_be(forced):
    windows = tokens(7, 4)
    for size, equal, expected in ((3, False, [3, 2, 2]), (3, True, [1] * 7), (9, True, [7]), (9, False, [7])):
        forced(size)
        found = list(batching.batches(windows, torch.device("cpu"), 1, equal))
        assert [len(batch) for _, batch in found] == expected
        assert [begin for begin, _ in found] == np.cumsum([0, *expected[:-1]]).tolist()
        assert torch.equal(torch.cat([batch for _, batch in found]), windows)
    forced(4)
    assert [len(batch) for _, batch in batching.batches(tokens(8, 4), torch.device("cpu"), 1, equal=True)] == [4, 4]


def test_a_cpu_takes_one_window_at_a_time():
    assert batching.batch_size(torch.device("cpu"), 1) == 1


def test_the_dense_side_computes_what_is_missing_and_keeps_each_window(forced):
    subject, windows = wide("llama"), tokens(4, 9)
    whole = DenseSide(subject, windows)
    states = whole.batch(0, 4)
    kept = {"1": {"states": states[1].numpy() + 1}}  # so that it is seen which one was taken
    side = DenseSide(subject, windows, kept)
    found = side.batch(0, 3)
    assert torch.equal(found[1], states[1] + 1) and sorted(kept) == ["0", "1", "2"]
    torch.testing.assert_close(found[[0, 2]], states[[0, 2]])
    assert torch.equal(side.states(2), found[2])
