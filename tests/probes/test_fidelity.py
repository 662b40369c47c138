"""Fidelity against numbers worked out by hand, a slow loop, and the loss of transformers itself."""

import math

import numpy as np
import pytest
import torch

from measures.divergence import kl
from plans.cut import cut
from plans.plan import Plan, parse
from probes.base import NoParams
from probes.deviation.fidelity import PROBE, compare
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of

P, Q = [0.7, 0.2, 0.08, 0.02], [0.6, 0.25, 0.1, 0.05]


def run(subject, windows, plan=""):
    return PROBE.run(subject, corpus_of(windows), parse(plan), NoParams())


def test_kl_of_two_known_distributions():
    log_p, log_q = (torch.tensor([each]).log() for each in (P, Q))
    assert kl(log_p, log_q).item() == pytest.approx(0.027099, abs=5e-7)
    assert kl(log_q, log_p).item() == pytest.approx(0.031424, abs=5e-7)
    assert kl(log_p, log_q).dtype == torch.float64


def test_kl_of_a_distribution_with_itself_is_exactly_zero():
    logits = torch.randn(50, 97, generator=torch.Generator().manual_seed(0)) * 8
    assert kl(logits.log_softmax(-1), logits.log_softmax(-1)).eq(0).all()


def slow(dense, pruned, targets):
    """Every measure, token by token, in float64 numpy."""
    rows = []
    for x, y, target in zip(dense, pruned, targets, strict=True):
        p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (x, y))
        top = [set(np.argsort(-z)[:5].tolist()) for z in (x, y)]
        rows.append(
            {
                "nll": -np.log(q[target]),
                "dense_nll": -np.log(p[target]),
                "kl": sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True)),
                "reverse_kl": sum(b * (np.log(b) - np.log(a)) for a, b in zip(p, q, strict=True)),
                "logit_cosine": x @ y / np.sqrt((x @ x) * (y @ y)),
                "prob_cosine": p @ q / np.sqrt((p @ p) * (q @ q)),
                "top1": float(x.argmax() == y.argmax()),
                "top5": len(top[0] & top[1]) / 5,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("noise", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compare_agrees_with_a_slow_loop(noise, dtype):
    dice = torch.Generator().manual_seed(3)
    dense = torch.randn(40, 97, generator=dice) * 4
    dense, pruned = dense.to(dtype), (dense + noise * torch.randn(40, 97, generator=dice)).to(dtype)
    targets = torch.randint(0, 97, (40,), generator=dice)
    found = compare(torch.stack([dense, pruned]), targets)
    expected = slow(dense.double().numpy(), pruned.double().numpy(), targets.numpy())
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.shape == (40,) and values.dtype == torch.float64, name
        if name == "top5" and dtype == torch.bfloat16:
            continue  # equal logits are common there, and which of them is the fifth is nobody's fault
        np.testing.assert_allclose(values.numpy(), expected[name], rtol=2e-5, atol=2e-6, err_msg=name)


def test_a_vocabulary_of_fewer_than_five():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    found = compare(torch.stack([logits, -logits]), torch.tensor([0]))
    assert found["top5"].item() == 1.0 and found["top1"].item() == 0.0
    assert found["logit_cosine"].item() == pytest.approx(-1.0)


def test_dense_against_dense_is_exactly_the_same():
    found = run(subject_of(tiny_model("llama")), tokens(3, 128))
    assert found.kl == found.reverse_kl == 0.0
    assert found.top1_agreement == found.top5_agreement == 1.0
    assert found.logit_cosine == pytest.approx(1.0, abs=1e-9)  # products are summed in pieces in float32
    assert found.prob_cosine == pytest.approx(1.0, abs=1e-9)
    assert found.perplexity == found.dense_perplexity
    assert (found.token_kl == 0).all() and (found.token_nll == found.dense_token_nll).all()


@torch.inference_mode()
def test_perplexity_is_exp_of_the_loss_of_transformers():
    """All windows have the same number of predicted tokens, so the mean of their losses is the mean over tokens."""
    model, windows = tiny_model("llama"), tokens(3, 90)
    subject = subject_of(model)
    found = run(subject, windows, "a1,m3")
    view = cut(subject, parse("a1,m3"))
    for each, value in ((model, found.dense_perplexity), (view.model, found.perplexity)):
        losses = [each(input_ids=row[None], labels=row[None], use_cache=False).loss.item() for row in windows]
        assert value == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    assert found.perplexity != found.dense_perplexity


@torch.inference_mode()
def test_means_are_those_of_the_slow_loop_over_all_predicted_tokens():
    """Windows longer than the part whose vocabulary is held at a time, and no multiple of it."""
    model, windows = tiny_model("qwen2"), tokens(2, 101)
    subject = subject_of(model)
    found = run(subject, windows, "b1-2")
    view = cut(subject, parse("b1-2"))
    dense, pruned = (each.logits(windows)[:, :-1].flatten(0, 1).double().numpy() for each in (cut(subject), view))
    expected = slow(dense, pruned, windows[:, 1:].flatten().numpy())
    mean = {name: values.mean() for name, values in expected.items()}
    assert found.tokens == 200
    for name in ("kl", "reverse_kl", "logit_cosine", "prob_cosine"):
        assert getattr(found, name) == pytest.approx(mean[name], rel=1e-5), name
    assert found.top1_agreement == pytest.approx(mean["top1"], abs=1e-12)
    assert found.top5_agreement == pytest.approx(mean["top5"], abs=1e-12)
    np.testing.assert_allclose(found.token_kl.ravel(), expected["kl"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.token_nll.ravel(), expected["nll"], rtol=1e-5)


@pytest.mark.parametrize("plan", ["a0", "m2", "b0-1"])
def test_values_per_token_add_up_to_the_means(plan):
    found = run(subject_of(tiny_model("llama")), tokens(4, 33), plan)
    assert found.token_kl.shape == found.token_nll.shape == found.dense_token_nll.shape == (4, 32)
    assert found.token_kl.dtype == np.float32
    assert found.token_kl.mean(dtype=np.float64) == pytest.approx(found.kl, rel=1e-6)
    assert math.exp(found.token_nll.mean(dtype=np.float64)) == pytest.approx(found.perplexity, rel=1e-6)
    assert math.exp(found.dense_token_nll.mean(dtype=np.float64)) == pytest.approx(found.dense_perplexity, rel=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    found = run(subject_of(tiny_model(name)), tokens(2, 16), "a1,m2")
    assert found.kl > 0 and found.reverse_kl > 0 and found.tokens == 30
    assert -1 <= found.logit_cosine < 1 and 0 <= found.prob_cosine < 1
    assert 0 <= found.top1_agreement <= 1 and 0 <= found.top5_agreement <= 1
    assert np.isfinite([found.perplexity, found.dense_perplexity]).all()


@pytest.mark.parametrize("plan", ["b0-4", "a0,a1,a2,a3,a4", "m0,m1,m2,m3,m4"])
def test_a_plan_that_drops_everything_is_answered(plan):
    found = run(subject_of(tiny_model("llama")), tokens(), plan)
    assert found.kl > 0 and math.isfinite(found.perplexity)


@pytest.mark.parametrize("plan", ["", "m2"])
def test_logits_that_are_not_numbers_are_refused(plan):
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(Refusal, match="dense model's logits contain NaN or infinite"):
        run(subject_of(model), tokens(), plan)


def test_a_plan_alone_may_make_logits_that_are_not_numbers():
    """Nothing is left but a stream of zeros, and a norm that divides by its length."""
    model = tiny_model("llama")
    model.model.embed_tokens.weight.zero_()
    model.model.norm.variance_epsilon = 0.0
    subject = subject_of(model)
    assert run(subject, tokens(), "b1-4").kl > 0
    with pytest.raises(Refusal, match="pruned model's logits contain NaN or infinite"):
        run(subject, tokens(), "b0-4")


def test_progress_is_told_before_each_window_and_may_stop_the_work():
    class Cancelled(Exception):
        pass

    said = []

    def progress(done, total, text):
        said.append((done, total))
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        PROBE.run(subject_of(tiny_model("llama")), corpus_of(tokens(4, 8)), Plan(), NoParams(), progress)
    assert said == [(0, 4), (1, 4), (2, 4)]


def test_the_model_is_left_as_it_was():
    model, windows = tiny_model("llama"), tokens()
    before = model(input_ids=windows, use_cache=False).logits
    run(subject_of(model), windows, "a0,b2")
    assert torch.equal(model(input_ids=windows, use_cache=False).logits, before)
    assert not any(module._forward_hooks for module in model.modules())
