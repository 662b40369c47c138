"""The scan against plans that are cut and compared one by one, and what it says of cheap scores."""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from cache.codec import decode, encode
from measures.significance.intervals import bootstrap
from models.subject import ModelRef
from plans.cut import cut
from plans.learn import calibrate
from plans.plan import Plan, parse
from probes import PROBES
from probes.base import NoParams, as_dict, from_dict
from probes.deviation import fidelity
from probes.deviation.dense import DenseSide
from probes.scan import damage
from probes.scan.agreement import rank_agreement
from probes.scan.drop_scan import PROBE, DropScanParams, DropScanResult
from probes.scan.scores import PARTS
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of

NONE = DropScanParams(splits=0)


def run(subject, windows, plan="", params=NONE, **more):
    plan = parse(plan) if isinstance(plan, str) else plan
    return PROBE.run(subject, corpus_of(windows), plan, params, **more)


def naive(subject, windows, plan, dense=None):
    """One plan cut and compared as the fidelity probe does it."""
    return fidelity.PROBE.run(subject, corpus_of(windows), parse(plan), NoParams(), dense=dense)


@pytest.mark.parametrize("name", TINY)
def test_the_scan_is_cutting_and_comparing_each_drop(name):
    subject, windows = subject_of(tiny_model(name)), tokens(2, 16)
    found, dense, kept = run(subject, windows), naive(subject, windows, ""), DenseSide(subject, windows)
    assert found.base_kl == 0 and found.base_agreement == 1 and found.tokens == 30
    assert found.base_loss == pytest.approx(math.log(dense.perplexity), abs=1e-5)
    for part in PARTS:
        for layer in (0, 2, 4):  # first, last, and one between: kinds of layers alternate, or change at the first
            one, alone = getattr(found, part), naive(subject, windows, f"{part[0]}{layer}", kept)
            assert one.kl[layer] == pytest.approx(alone.kl, abs=1e-5)
            assert one.loss[layer] == pytest.approx(math.log(alone.perplexity / dense.perplexity), abs=1e-5)
            assert one.agreement[layer] == pytest.approx(alone.top1_agreement, abs=1e-9)


def test_on_top_of_a_plan_every_drop_is_the_plan_with_it():
    subject, windows = subject_of(tiny_model("gemma2")), tokens(2, 16)
    found = run(subject, windows, "a0,m1,b3")
    assert found.base_kl == pytest.approx(naive(subject, windows, "a0,m1,b3").kl, abs=1e-6)
    there = {f"{part[0]}{i}" for part in PARTS for i, kl in enumerate(getattr(found, part).kl) if not math.isnan(kl)}
    assert there == {"m0", "a1", "a2", "m2", "b2", "a4", "m4", "b4"}
    for item in there:
        part = next(each for each in PARTS if each[0] == item[0])
        alone = naive(subject, windows, f"a0,m1,b3,{item}")
        assert getattr(found, part).kl[int(item[1:])] == pytest.approx(alone.kl, abs=1e-5), item
        assert not math.isnan(getattr(found, part).gradient[int(item[1:])])


@pytest.mark.parametrize("text", ["w:wanda@0.5", "k:0.5/0.5", "b1,w:magnitude@0.3"])
def test_a_plan_that_learned_is_not_calibrated_again(text):
    """Its weights and keys stay what they are while something is dropped; so the oracle stubs the same view by hand."""
    subject, windows = subject_of(tiny_model("llama")), tokens(1, 16)
    plan = calibrate(subject, parse(text), tokens(2, 24))
    found = damage.damage(subject, plan, ["b2"], windows)
    whole = fidelity.PROBE.run(subject, corpus_of(windows), plan, NoParams())
    assert found[0, 0, 0] == pytest.approx(whole.kl, abs=1e-6)
    view = cut(subject, plan)
    block = view.layers[view.blocks.index(2)]
    block.register_forward_hook(lambda block, args, out: args[0])
    with torch.inference_mode():
        p, q = (each.logits(windows)[0, :-1].double().log_softmax(-1) for each in (cut(subject), view))
    assert found[0, 1, 0] == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), abs=1e-5)


def test_a_search_may_ask_for_a_few_drops_in_any_order():
    subject, windows = subject_of(tiny_model("llama")), tokens(2, 16)
    dense = DenseSide(subject, windows)
    every = damage.damage(subject, parse("b1"), items := damage.candidates(parse("b1"), 5), windows, dense)
    some = damage.damage(subject, parse("b1"), ["m4", "a0", "b2"], windows, dense)
    np.testing.assert_array_equal(some[:, 1:], every[:, [1 + items.index(each) for each in ("m4", "a0", "b2")]])
    assert damage.damage(subject, Plan(), [], windows).shape == (2, 1, 3)


def test_passes_side_by_side_give_the_same(monkeypatch):
    """As on a GPU: the three variants of a layer in one batch."""
    for name in ("llama", "bloom", "mixtral"):
        subject, windows = subject_of(tiny_model(name)), tokens(2, 16)
        with monkeypatch.context() as patch:
            alone = run(subject, windows, "m1", DropScanParams(splits=2))
            for module in ("damage", "skips"):
                patch.setattr(f"probes.scan.{module}.batches", lambda states, device, size: [(0, states)])
            together = run(subject, windows, "m1", DropScanParams(splits=2))
        for part in PARTS:
            np.testing.assert_allclose(getattr(together, part).kl, getattr(alone, part).kl, atol=1e-6)
        np.testing.assert_allclose(together.skip_future, alone.skip_future, rtol=1e-4, atol=1e-5)


def test_the_vocabulary_may_come_in_parts(monkeypatch):
    subject, windows = subject_of(tiny_model("llama")), tokens(1, 30)
    whole = damage.damage(subject, Plan(), ["a0", "b4"], windows)
    for name, size in (("_PROJECTED", 7 * 97), ("_COMPARED", 2 * 97), ("_HELD", 1)):
        monkeypatch.setattr(damage, name, size)
    np.testing.assert_allclose(damage.damage(subject, Plan(), ["a0", "b4"], windows), whole, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("item", ["b1", "a1", "m7", "x3", "a", "a0,a1", "w:wanda@0.5"])
def test_what_is_no_single_drop_or_gone_is_refused(item):
    with pytest.raises(Refusal, match=r"does not name one|cannot be dropped"):
        damage.damage(subject_of(tiny_model("llama")), parse("b1"), [item], tokens())


def test_intervals_are_over_windows_and_need_two():
    subject, windows = subject_of(tiny_model("llama")), tokens(4, 16)
    found = run(subject, windows)
    single = [run(subject, window[None]) for window in windows]
    kls = np.array([each.mlp.kl for each in single])
    np.testing.assert_allclose(found.mlp.kl, kls.mean(0), rtol=1e-9)
    low, high = bootstrap(kls)
    np.testing.assert_allclose([found.mlp.kl_low, found.mlp.kl_high], [low, high], rtol=1e-6)
    losses = np.array([each.mlp.loss for each in single])
    np.testing.assert_allclose([found.mlp.loss_low, found.mlp.loss_high], bootstrap(losses), rtol=1e-6, atol=1e-9)
    assert all(math.isnan(each) for each in single[0].mlp.kl_low) and not math.isnan(single[0].mlp.kl[0])


def test_an_interruption_goes_on_from_the_last_finished_window():
    class Cancelled(Exception):
        pass

    def progress(done, total, text):
        said.append(done)
        if done > 1.4 and stop:
            raise Cancelled

    subject, windows, memory = subject_of(tiny_model("llama")), tokens(3, 16), {}
    said, stop = [], True
    with pytest.raises(Cancelled):
        run(subject, windows, "m1", DropScanParams(), progress=progress, memory=memory)
    assert len(memory) == 1 and said[0] == 0 and said == sorted(said) and len(set(said)) > 6
    said, stop = [], False
    found = run(subject, windows, "m1", DropScanParams(), progress=progress, memory=memory)
    assert said[0] == 1 and len(memory) == 3
    fresh = run(subject, windows, "m1", DropScanParams())
    np.testing.assert_equal(as_dict(found), as_dict(fresh))
    run(subject, windows, "m1", DropScanParams(splits=0), memory=memory)
    assert len(memory) == 6, "other parameters are other windows"


def test_what_was_learned_is_not_taken_for_what_was_measured():
    subject, memory = subject_of(tiny_model("llama")), {}
    run(subject, tokens(1, 16), calibrate(subject, parse("w:wanda@0.5"), tokens(2, 24)), memory=memory)
    assert memory == {}


def test_a_result_survives_its_bytes():
    found = run(subject_of(tiny_model("llama")), tokens(2, 16), "b1,m3", DropScanParams())
    back = from_dict(DropScanResult, decode(encode(as_dict(found))))
    np.testing.assert_equal(as_dict(back), as_dict(found))
    assert not any(isinstance(each, ModelRef) for each in vars(found).values())


def test_skip_effects_stand_at_their_layers():
    found = run(subject_of(tiny_model("llama")), tokens(2, 16), "b1", DropScanParams(splits=2))
    for effects, diagonal in ((found.skip_current, 1.0), (found.skip_future, 0.0)):
        assert np.isnan(effects[1]).all() and np.isnan(effects[:, 1]).all() and np.isnan(effects[np.tril_indices(5, -1)]).all()
        np.testing.assert_allclose(effects[[0, 2, 3, 4], [0, 2, 3, 4]], diagonal)
        assert (effects[0, 2:] > 0).all()
    low, high = found.depth["future"][1:]
    assert 0 <= low <= found.depth["future"][0] <= high <= 3
    assert math.isnan(run(subject_of(tiny_model("llama")), tokens(2, 16)).depth["current"][0])


def test_agreement_is_scipys_and_names_what_is_apart():
    generator = np.random.default_rng(0)
    measured, noisy = generator.random((3, 8)), generator.random((3, 8))
    measured[1, 2] = np.nan
    rows = rank_agreement({"same": measured * 2, "reverse": -measured, "noisy": noisy}, measured)
    found = {(row["score"], row["part"]): row for row in rows}
    assert len(found) == 12
    for part in (*PARTS, "joint"):
        assert found["same", part]["spearman"] == pytest.approx(1) and found["same", part]["kendall"] == pytest.approx(1)
    assert found["same", "joint"]["apart"] == [] and found["same", "joint"]["count"] == 15
    assert found["reverse", "block"]["spearman"] == pytest.approx(-1) and len(found["reverse", "block"]["apart"]) == 3
    assert found["noisy", "attention"]["spearman"] == pytest.approx(spearmanr(noisy[0], measured[0]).statistic)
    worst = found["reverse", "attention"]["apart"][0]
    assert {worst["score_rank"], worst["measured_rank"]} == {1, 8}
    assert worst["item"] in {f"a{np.nanargmin(measured[0])}", f"a{np.nanargmax(measured[0])}"}


def test_agreement_of_too_few_or_equal_values_is_unknown():
    rows = rank_agreement({"score": np.ones((3, 5))}, np.arange(15.0).reshape(3, 5))
    assert all(math.isnan(row["spearman"]) and row["apart"] == [] for row in rows)
    assert math.isnan(rank_agreement({"score": np.array([[1.0, 2]] * 3)}, np.array([[1.0, 2]] * 3))[0]["spearman"])


@pytest.mark.parametrize("values", [{"splits": -1}, {"splits": 17}, {"seed": -1}])
def test_impossible_parameters_are_refused(values):
    with pytest.raises(Refusal, match="Write"):
        DropScanParams(**values)


def test_a_plan_that_leaves_nothing_is_refused():
    with pytest.raises(Refusal, match="nothing is left to drop"):
        run(subject_of(tiny_model("llama")), tokens(), "b0-4")


def test_logits_that_are_not_numbers_are_refused_with_the_drop_that_makes_them():
    model = tiny_model("llama")
    model.model.embed_tokens.weight.zero_()
    model.model.norm.variance_epsilon = 0.0
    for i in range(1, 5):  # only the first block writes, so without it the final norm divides by zero
        for linear in (model.model.layers[i].mlp.down_proj, model.model.layers[i].self_attn.o_proj):
            linear.weight.zero_()
            linear.bias.zero_()
    with pytest.raises(Refusal, match="Without b0, the model's logits contain NaN"):
        run(subject_of(model), tokens())


def test_the_model_is_left_as_it_was():
    model, windows = tiny_model("llama"), tokens()
    before = model(input_ids=windows, use_cache=False).logits
    run(subject_of(model), windows, "", DropScanParams())
    assert torch.equal(model(input_ids=windows, use_cache=False).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.parameters())


def test_it_is_registered_with_what_it_takes():
    assert PROBES["drop_scan"] is PROBE and {"dense", "memory"} <= set(inspect.signature(PROBE.run).parameters)
