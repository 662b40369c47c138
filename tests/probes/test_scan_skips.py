"""Skip effects against a slow loop over whole forward passes, and the depth score against closed forms."""

import math

import numpy as np
import pytest
import torch

from models.prefix import Prefix
from models.stream import first
from plans.cut import cut
from plans.plan import parse
from probes.scan.skips import depth_score, skip_effects, split_points
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of


def effects(subject, window, splits, plan=""):
    prefix = Prefix(cut(subject, parse(plan)))
    prefix.read(window)
    return skip_effects(prefix, splits, 1)


@torch.inference_mode()
def contributions(subject, window, plan, skipped=None, positions=()):
    """What each block adds, (blocks, tokens, width) in float64, from a whole pass in which one block is skipped somewhere."""
    view, added = cut(subject, parse(plan)), []
    for place, block in enumerate(view.layers):
        held = {}

        def note(block, args, kwargs, held=held):
            held["before"] = args[0] if args else kwargs["hidden_states"]

        def end(block, args, output, place=place, held=held):
            before, after = held["before"], first(output).clone()
            if place == skipped:
                after[:, positions] = before[:, positions]
            added.append((after - before)[0].double())
            return (after, *output[1:]) if isinstance(output, tuple) else after

        block.register_forward_pre_hook(note, with_kwargs=True)
        block.register_forward_hook(end)
    view.logits(window[None])
    return torch.stack(added)


def slow(subject, window, splits, plan=""):
    """Every effect from its definition, one pass for each."""
    usual = contributions(subject, window, plan)
    found = np.zeros((2, len(usual), len(usual)))
    modes = [(0, range(1, len(window)), 0)] + [(1, range(1, t), t) for t in splits]
    for mode, skipped, begin in modes:
        for s in range(len(usual)):
            changed = contributions(subject, window, plan, s, list(skipped))
            for later in range(s, len(usual)):
                for position in range(begin, len(window)):
                    apart = (usual[later, position] - changed[later, position]).norm()
                    ratio = float(apart / max(usual[later, position].norm(), 1e-6))
                    found[mode, s, later] = max(found[mode, s, later], ratio)
    return found


@pytest.mark.parametrize("name", TINY)
def test_effects_are_those_of_the_slow_loop(name):
    subject, window = subject_of(tiny_model(name)), tokens(1, 12)[0]
    np.testing.assert_allclose(effects(subject, window, [4, 8]), slow(subject, window, [4, 8]), rtol=2e-4, atol=2e-5)


def test_on_top_of_a_plan_the_places_are_those_of_the_blocks_left():
    subject, window = subject_of(tiny_model("llama")), tokens(1, 12)[0]
    found = effects(subject, window, [6], "b1,a3")
    assert found.shape == (2, 4, 4)
    np.testing.assert_allclose(found, slow(subject, window, [6], "b1,a3"), rtol=2e-4, atol=2e-5)


def test_passes_side_by_side_give_the_same(monkeypatch):
    subject, window = subject_of(tiny_model("bloom")), tokens(1, 12)[0]
    alone = effects(subject, window, [4, 8])
    monkeypatch.setattr("probes.scan.skips.batches", lambda states, device, size: [(0, states[:2]), (2, states[2:])])
    np.testing.assert_allclose(effects(subject, window, [4, 8]), alone, rtol=1e-4, atol=1e-5)


def test_what_holds_by_definition():
    """A block that is skipped loses all it adds where it is skipped, and nothing where it is not; the past is never changed."""
    current, future = effects(subject_of(tiny_model("qwen2")), tokens(1, 12)[0], [5])
    np.testing.assert_allclose(np.diagonal(current), 1)
    np.testing.assert_array_equal(np.diagonal(future), 0)
    assert (np.triu(future, 1)[np.triu_indices(5, 1)] > 0).all()
    assert (current[np.tril_indices(5, -1)] == 0).all() and (future[np.tril_indices(5, -1)] == 0).all()


def test_without_later_tokens_there_is_no_future():
    current, future = effects(subject_of(tiny_model("llama")), tokens(1, 3)[0], split_points(3, 2, 0))
    assert np.isnan(future).all() and np.isfinite(current).all()


def test_split_points_leave_tokens_on_both_sides_and_follow_the_seed():
    assert split_points(256, 3, 1) == split_points(256, 3, 1) != split_points(256, 3, 2)
    for seed in range(20):
        points = split_points(40, 3, seed)
        assert len(points) == 3 == len(set(points)) and all(t % 8 == 0 and 8 <= t < 36 for t in points)
    assert split_points(12, 4, 0) == [6] and split_points(13, 4, 0) == [8] and split_points(3, 1, 0) == []
    assert split_points(256, 0, 0) == []


def test_depth_scores_of_closed_forms():
    only = np.zeros((5, 5))
    only[3, 4] = 0.5
    assert depth_score(only) == 3
    alike = np.triu(np.ones((4, 4)), 1)  # every skip changes every later layer as much
    assert depth_score(alike) == pytest.approx((0 * 1 + 1 * 1 + 2 * 1 + 3 * 0) / 3)
    assert depth_score(np.eye(4)) == pytest.approx((1 / 2 + 2 + 3) / (1 / 3 + 1 / 2 + 1 + 1))
    assert math.isnan(depth_score(np.zeros((3, 3))))
