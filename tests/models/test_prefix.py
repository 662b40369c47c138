"""Passes that begin late end where whole passes of a pruned view end, in every family."""

import pytest
import torch

from models.head import last_states
from models.prefix import Prefix
from models.removal import stubbed
from plans.cut import cut
from plans.plan import parse
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

PARTS = ("attention", "mlp", "block")


def prefix_of(subject, plan="", window=None):
    prefix = Prefix(cut(subject, parse(plan)))
    prefix.read(tokens(1, 16)[0] if window is None else window)
    return prefix


@pytest.mark.parametrize("name", TINY)
def test_a_continued_pass_is_that_of_the_pruned_view(name):
    """Alone and three at a time; on top of a plan, so that places and layers differ."""
    subject, window = subject_of(tiny_model(name)), tokens(1, 16)[0]
    prefix = prefix_of(subject, "m1,b2", window)
    for place, layer in ((0, 0), (1, 1), (2, 3), (3, 4)):
        changed = torch.cat([prefix.without(place, part) for part in PARTS])
        together = prefix.finished(prefix.continued(place + 1, changed))
        for part, state, end in zip(PARTS, changed, together, strict=True):
            whole = last_states(cut(subject, parse(f"m1,b2,{part[0]}{layer}")), window[None])[0]
            alone = prefix.finished(prefix.continued(place + 1, state[None]))[0]
            torch.testing.assert_close(alone, whole, atol=1e-5, rtol=0)
            torch.testing.assert_close(end, whole, atol=1e-5, rtol=0)


def test_the_states_are_those_between_the_blocks():
    model, window = tiny_model("llama"), tokens(1, 16)[0]
    prefix = prefix_of(subject_of(model), window=window)
    expected = model(input_ids=window[None], output_hidden_states=True, use_cache=False).hidden_states
    assert len(prefix.states) == len(expected) == 6
    for found, state in zip(prefix.states[:-1], expected[:-1], strict=True):
        assert torch.equal(found, state)
    assert torch.equal(prefix.finished(prefix.states[-1]), expected[-1])  # the last one is after the final norm


def test_each_block_that_is_passed_is_visited():
    prefix, seen = prefix_of(subject_of(tiny_model("qwen2"))), []
    end = prefix.continued(2, prefix.states[2], lambda place, before, after: seen.append((place, before, after)))
    assert [place for place, *_ in seen] == [2, 3, 4]
    assert all(torch.equal(seen[i][2], seen[i + 1][1]) for i in (0, 1)) and torch.equal(end, seen[-1][2])


def test_windows_of_another_length_can_follow():
    subject = subject_of(tiny_model("bloom"))
    prefix = prefix_of(subject)
    for window in (tokens(1, 9)[0], tokens(1, 20, seed=2)[0]):
        prefix.read(window)
        found = prefix.finished(prefix.continued(1, prefix.states[0].expand(2, -1, -1)))
        whole = last_states(cut(subject, parse("b0")), window[None])
        torch.testing.assert_close(found, whole.expand(2, -1, -1), atol=1e-5, rtol=0)


def test_nothing_is_left_changed():
    """Neither the states, though variants went on from them, nor the blocks, though they were called without a part."""
    subject, window = subject_of(tiny_model("falcon-7b")), tokens(1, 16)[0]
    prefix = prefix_of(subject, window=window)
    kept, read = [state.clone() for state in prefix.states], prefix.read(window)
    for place in range(5):
        for part in PARTS:
            prefix.continued(place + 1, prefix.without(place, part))
    assert all(map(torch.equal, kept, prefix.states))
    assert torch.equal(prefix.read(window), read)
    assert not any(module._forward_pre_hooks for module in subject.model.modules())


def test_a_block_is_whole_again_after_an_error():
    view = cut(subject_of(tiny_model("llama")))
    block = view.layers[1]
    attention, norm = block.self_attn, block.input_layernorm
    with pytest.raises(ValueError), stubbed(block, view.family.attention):
        assert block.self_attn is not attention and block.input_layernorm is not norm
        raise ValueError
    assert block.self_attn is attention and block.input_layernorm is norm


def test_a_way_to_the_head_that_is_not_understood_is_refused():
    prefix = Prefix(view := cut(subject_of(tiny_model("llama"))))
    view.head.register_forward_pre_hook(lambda head, args: (args[0] * 2,))
    with pytest.raises(Refusal, match="does not give what its head reads"):
        prefix.read(tokens(1, 8)[0])
