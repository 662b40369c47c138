"""Similarity against closed forms, a slow loop and a plain forward pass."""

import numpy as np
import pytest
import torch

from plans.operation import Shape
from plans.plan import Plan, parse
from probes.base import NoParams
from probes.redundancy.ranking import best_spans
from probes.redundancy.similarity import PROBE, _result
from probes.redundancy.stream_sums import StreamSums
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of
from tests.probes.toy import run


def toy_result(**how):
    states, a, m = run(**how)
    sums = StreamSums(4, torch.device("cpu"), parallel=False)
    sums.add(states, [sums.products(*layer) for layer in zip(states, a, m, strict=False)])
    return _result(sums, 4, 3)


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1.5e-6)


def test_the_toy_net_gives_the_known_cosines():
    found = toy_result()
    close(found.block, [0.555136, 0.758996, 0.844927, 0.869500])
    close(found.attention, [0.804517, 0.745760, 0.895044, 0.915642])
    close(found.mlp, [0.898893, 0.979590, 0.953995, 0.961725])
    for start, row in enumerate(
        [[0.555136, 0.431005, 0.298279, 0.397807], [0.758996, 0.628832, 0.688426], [0.844927, 0.804534], [0.869500]]
    ):
        close(found.cosine[start, start + 1 :], row)


def test_the_toy_net_gives_the_known_angles():
    found = toy_result()
    close(np.diagonal(found.angular_last, 1), [0.545674, 0.395401, 0.281681, 0.253718])
    close(np.diagonal(found.angular_last, 2)[1:], [0.522203, 0.353590])
    close(np.diagonal(found.angular, 1), [0.259624, 0.177149, 0.160515, 0.148361])


def test_the_toy_net_gives_the_known_contributions():
    found = toy_result()
    close(found.attention_norm, [0.590667, 0.860712, 0.451485, 0.456420])
    close(found.mlp_norm, [0.481844, 0.330436, 0.350859, 0.276582])
    close(found.block_norm, [0.830647, 0.850940, 0.495381, 0.538201])
    close(found.block_turn, [0.041214, -0.040699, -0.100772, -0.338205])
    close(found.attention_turn, [0.025362, -0.484671, -0.469911, -0.203725])
    close(found.mlp_turn, [0.084881, 0.629094, 0.273541, -0.171445])


def test_the_toy_net_gives_the_known_orders():
    found = toy_result()
    assert found.block_order == [3, 2, 1, 0]
    assert found.joint_order == ["m1", "m3", "m2", "a3", "m0", "a2", "a0", "a1"]
    # The reference reads the column of one block more and would start at 2 and 1.
    starts = [int(np.diagonal(found.cosine, length).argmax()) for length in (1, 2)]
    assert starts == [3, 2]


def test_scores_after_a_drop_come_from_the_model_that_is_left():
    found = toy_result(dropped_attention=(1,))
    close([found.attention[i] for i in (0, 2, 3)], [0.804517, 0.789654, 0.954562])


def test_spans_name_the_layers_they_remove():
    angles = np.ones((5, 5))
    angles[1, 3], angles[2, 3], angles[0, 3], angles[0, 4] = 0.1, 0.05, 0.2, 0.9
    spans = best_spans(1 - angles, angles)
    assert [(span["start"], span["stop"], span["plan"]) for span in spans] == [
        (2, 3, "b2"), (1, 3, "b1-2"), (0, 3, "b0-2"), (0, 4, "b0-3"),
    ]  # fmt: skip
    assert spans[1]["length"] == 2 and spans[1]["angular"] == pytest.approx(0.1)


def loop(model, family_parallel, windows):
    """Every score token by token in float64 numpy, with states from transformers' own hidden states."""
    states = []
    for ids in windows:
        out = model.model(input_ids=ids[None], output_hidden_states=True, use_cache=False).hidden_states
        last = {}
        handle = model.model.norm.register_forward_pre_hook(lambda _, args, last=last: last.update(h=args[0]))
        model.model(input_ids=ids[None], use_cache=False)
        handle.remove()
        states.append(torch.stack([*out[:-1], last["h"]])[:, 0].double().numpy())
    stacked = np.concatenate(states, 1)  # (layers+1, tokens, width)
    unit = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
    cosines = np.einsum("itw,jtw->tij", unit, unit).clip(-1, 1)
    return cosines, np.arccos(cosines) / np.pi


@torch.inference_mode()
def test_a_model_agrees_with_hidden_states_of_transformers():
    model, windows = tiny_model("llama"), tokens(3, 21)
    subject = subject_of(model)
    found = PROBE.run(subject, corpus_of(windows), Plan(), NoParams())
    cosines, angles = loop(model, False, windows)
    np.testing.assert_allclose(found.cosine, cosines.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.triu(found.angular, 1), np.triu(angles.mean(0), 1), atol=1e-6)
    np.testing.assert_allclose(np.diagonal(found.cosine, 1), found.block, atol=1e-6)
    last = angles.reshape(3, 21, 6, 6)[:, -1].mean(0)
    np.testing.assert_allclose(np.triu(found.angular_last, 1), np.triu(last, 1), atol=1e-6)
    rest = cosines.reshape(3, 21, 6, 6)[:, 1:].mean((0, 1))
    np.testing.assert_allclose(found.without_first.cosine, rest, atol=1e-6)
    for layer in range(5):
        exact = np.quantile(cosines[:, layer, layer + 1], [0.05, 0.25, 0.5, 0.75, 0.95], method="inverted_cdf")
        np.testing.assert_allclose(found.block_spread[layer], exact, atol=6e-4)
    assert found.tokens == 63 and found.layers == 5


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    subject = subject_of(tiny_model(name))
    found = PROBE.run(subject, corpus_of(tokens(2, 16)), Plan(), NoParams())
    np.testing.assert_allclose(np.diagonal(found.cosine, 1), found.block, atol=2e-6)
    assert len(found.attention) == len(found.mlp) == 5 and sorted(found.block_order) == list(range(5))
    assert (np.diff(found.attention_spread, axis=1) >= 0).all()
    assert [parse(span["plan"]).checked(Shape(5)) for span in found.spans][-1] == parse("b0-4")


def test_memory_does_not_grow_with_windows():
    subject, kept = subject_of(tiny_model("llama")), []
    PROBE.run(subject, corpus_of(tokens(12, 16)), Plan(), NoParams(), lambda *_: kept.append(_tensors()))
    assert max(kept[2:]) <= kept[2] * 1.05


def _tensors():
    import gc

    gc.collect()
    return sum(each.nbytes for each in gc.get_objects() if type(each) is torch.Tensor)


def test_states_that_are_not_numbers_are_refused():
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(Refusal, match=r"NaN"):
        PROBE.run(subject_of(model), corpus_of(tokens()), Plan(), NoParams())
