"""Cheap scores against finite differences, autograd through the whole model, and the similarity probe."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models.prefix import Prefix
from models.stream import first
from plans.cut import cut
from plans.plan import Plan, parse
from probes.base import NoParams
from probes.redundancy import similarity
from probes.scan.scores import PARTS, SCORES, Loss, window_scores
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of

EPSILON = 1e-5


def scored(subject, window, plan=""):
    prefix = Prefix(cut(subject, parse(plan)))
    prefix.read(window)
    found = window_scores(prefix, Loss(subject), window[1:])
    assert found.shape == (len(SCORES), len(PARTS), len(prefix.view.layers))
    return dict(zip(SCORES, found, strict=True))


def loss_with(subject, window, plan, place, part, scale):
    """The mean loss where what a part adds is scaled, by hooks on a view and no code of the scores."""
    view, held = cut(subject, parse(plan)), {}
    block = view.layers[place]

    def scaled(module, args, output):
        out = first(output)
        start = held["before"] if part == "block" else args[1] if getattr(view.family, part).takes_residual else 0
        new = start + (out - start) * scale
        return (new, *output[1:]) if isinstance(output, tuple) else new

    def note(module, args, kwargs):
        held["before"] = args[0] if args else kwargs["hidden_states"]

    if part == "block":
        block.register_forward_pre_hook(note, with_kwargs=True)
        block.register_forward_hook(scaled)
    else:
        sublayer = getattr(view.family, part)
        block.get_submodule(sublayer.addend or sublayer.module).register_forward_hook(scaled)
    return cross_entropy(view.model(input_ids=window[None], use_cache=False).logits[0, :-1], window[1:])


@pytest.mark.parametrize("name", TINY)
def test_the_gradient_is_the_derivative_of_the_loss_as_a_part_fades(name):
    """In every family, by the graph of the whole model; the plan makes places and layers differ."""
    subject, window = subject_of(tiny_model(name)), tokens(1, 14)[0]
    found = scored(subject, window, "b1")["gradient"]
    for place in (0, 2, 3):
        for k, part in enumerate(PARTS):
            scale = torch.ones((), requires_grad=True)
            loss = loss_with(subject, window, "b1", place, part, scale)
            (rise,) = torch.autograd.grad(loss, scale)
            assert found[k, place] == pytest.approx(-rise.item(), rel=1e-3, abs=2e-6), (place, part)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "opt", "falcon-7b"])  # whose norms stay in float64
@torch.no_grad()
def test_the_gradient_is_the_finite_difference_too(name):
    subject, window = subject_of(tiny_model(name).double()), tokens(1, 14)[0]
    found = scored(subject, window)["gradient"]
    for place in (0, 3):
        for k, part in enumerate(PARTS):
            less, more = (loss_with(subject, window, "", place, part, 1 + step).item() for step in (-EPSILON, EPSILON))
            assert found[k, place] == pytest.approx((less - more) / (2 * EPSILON), rel=2e-4, abs=1e-7), (place, part)


@torch.no_grad()
def test_a_part_that_hardly_counts_costs_what_the_gradient_says():
    """The first order is all there is where a contribution is small: the last MLP at a ten-thousandth of its size."""
    subject, window = subject_of(tiny_model("gpt2").double()), tokens(1, 14)[0]
    large = scored(subject, window)["gradient"][1, 4]
    for weight in subject.model.transformer.h[4].mlp.c_proj.parameters():
        weight.mul_(1e-4)
    small = scored(subject, window)["gradient"][1, 4]
    without, dense = (loss_with(subject, window, "", 4, "mlp", scale).item() for scale in (0, 1))
    assert small == pytest.approx(without - dense, rel=1e-3) and abs(small) < abs(large)


def test_sizes_at_single_positions_add_up_and_signs_may_cancel():
    subject, window = subject_of(tiny_model("qwen2").double()), tokens(1, 14)[0]
    found = scored(subject, window)
    assert (found["gradient_size"] >= np.abs(found["gradient"]) - 1e-12).all()
    assert (found["gradient_size"] > np.abs(found["gradient"]) + 1e-6).any()


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma2", "granite", "bloom", "falcon-7b"])
def test_similarity_is_that_of_its_probe(name):
    subject, window = subject_of(tiny_model(name)), tokens(1, 14)
    expected = similarity.PROBE.run(subject, corpus_of(window), Plan(), NoParams())
    found = scored(subject, window[0])
    for k, part in enumerate(PARTS):
        np.testing.assert_allclose(1 - found["similarity"][k], getattr(expected, part), atol=1e-6)


def test_long_vocabularies_are_read_in_parts(monkeypatch):
    subject, window = subject_of(tiny_model("llama").double()), tokens(1, 14)[0]
    whole = scored(subject, window)
    monkeypatch.setattr("probes.scan.scores._PROJECTED", 5 * 97)
    for name, parts in scored(subject, window).items():
        np.testing.assert_allclose(parts, whole[name], rtol=1e-9, atol=1e-12)


def test_what_the_plan_drops_adds_nothing():
    found = scored(subject_of(tiny_model("opt")), tokens(1, 14)[0], "a1,m3")
    assert found["gradient"][0, 1] == found["gradient"][1, 3] == found["length"][0, 1] == 0
    assert (found["gradient"] != 0).sum() == 13


def test_blocks_that_do_not_add_up_are_refused():
    subject = subject_of(tiny_model("llama"))
    prefix = Prefix(view := cut(subject))
    view.layers[2].register_forward_hook(lambda block, args, out: out * 1.5)
    prefix.read(window := tokens(1, 14)[0])
    with pytest.raises(Refusal, match="do not add up"):
        window_scores(prefix, Loss(subject), window[1:])
