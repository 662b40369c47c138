"""Transitions against plain transformers with hooks, against the views themselves, and what must hold for every family."""

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from models.stream import watch
from plans.cut import cut
from plans.plan import parse
from probes.base import as_dict, from_dict, read_params
from probes.deviation.comparison import QUANTILES
from probes.deviation.lens import Lens
from probes.deviation.transitions import PROBE, TransitionsParams, TransitionsResult
from refusal import Refusal
from tests.models.tiny import LAYERS, TINY, tiny_model, tokens
from tests.plans.pruning import calibrated
from tests.probes.deviations import slow_hidden, slow_logits
from tests.probes.subjects import corpus_of, subject_of

PARTS = ("attention", "mlp")

# name -> blocks, what is added by attention and by MLP, final norm, head, and from the head's output to the logits
PLAIN = {
    "llama": ("model.layers", "self_attn", "mlp", "model.norm", "lm_head", lambda z, config: z),
    "gemma2": (
        *("model.layers", "post_attention_layernorm", "post_feedforward_layernorm", "model.norm", "lm_head"),
        lambda z, config: config.final_logit_softcapping * torch.tanh(z / config.final_logit_softcapping),
    ),
    "gpt_neox": ("gpt_neox.layers", "attention", "mlp", "gpt_neox.final_layer_norm", "lm_head", lambda z, config: z),
    "gpt2": ("transformer.h", "attn", "mlp", "transformer.ln_f", "lm_head", lambda z, config: z),
    "cohere": ("model.layers", "self_attn", "mlp", "model.norm", "lm_head", lambda z, config: z * config.logit_scale),
    "granite": ("model.layers", "self_attn", "mlp", "model.norm", "lm_head", lambda z, config: z / config.logits_scaling),
}
PARALLEL = ("gpt_neox", "cohere")


def run(subject, windows, plan="", progress=None, **params):
    plan = parse(plan) if isinstance(plan, str) else plan
    more = (progress,) if progress else ()
    return PROBE.run(subject, corpus_of(windows), plan, TransitionsParams(**params), *more)


def plain(name, model, windows):
    """For each layer the pairs (dense, modified) of attention and MLP, and a lens and the bare head, with hooks alone."""
    layers, attention, mlp, norm, head, finish = PLAIN[name]
    seen, hooks = {}, []

    def keep(key):
        def hook(module, args, output):
            seen[key] = output[0] if isinstance(output, tuple) else output

        return hook

    for i, block in enumerate(model.get_submodule(layers)):
        for part, path in (("attention", attention), ("mlp", mlp)):
            hooks.append(block.get_submodule(path).register_forward_hook(keep((i, part))))
        hooks.append(block.register_forward_hook(keep((i, "after"))))
    model(input_ids=windows, use_cache=False)
    for hook in hooks:
        hook.remove()
    pairs, factor = [], getattr(model.config, "residual_multiplier", 1.0)
    for i in range(LAYERS):
        after, a, m = seen[i, "after"], factor * seen[i, "attention"], factor * seen[i, "mlp"]
        before = after - a - m
        if name in PARALLEL:
            pairs.append({"attention": (after, before + m), "mlp": (after, before + a)})
        else:
            pairs.append({"attention": (before + a, before), "mlp": (after, before + a)})
    final, head = model.get_submodule(norm), model.get_submodule(head)
    return pairs, lambda x: finish(head(final(x)), model.config), head


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(("last", "temperature"), [(True, 1.0), (False, 0.5)])
@torch.inference_mode()
def test_each_sublayer_alone_is_what_plain_transformers_gives(name, last, temperature):
    model, windows = tiny_model(name), tokens(2, 7)
    found = run(subject_of(model), windows, last=last, temperature=temperature)
    pairs, lens, head = plain(name, model, windows)
    assert found.tokens == (2 if last else 14) and found.parallel == (name in PARALLEL) and found.mode == "dropped"
    for part in PARTS:
        for layer in range(LAYERS):
            streams = [(x[:, -1:] if last else x).flatten(0, 1) for x in pairs[layer][part]]
            for record, reader in ((part, lens), (f"raw_{part}", head)):
                sides = [[x.double().numpy(), reader(x).double().numpy()] for x in streams]
                rows = [
                    slow_hidden(h, h2) | slow_logits(z, z2, temperature)
                    for h, h2, z, z2 in zip(sides[0][0], sides[1][0], sides[0][1], sides[1][1], strict=True)
                ]
                deviation = getattr(found, record)
                for measure in rows[0]:
                    values = [row[measure] for row in rows]
                    told = f"{record} {layer} {measure}"
                    assert getattr(deviation, measure)[layer] == pytest.approx(np.mean(values), rel=2e-4, abs=2e-6), told
                    if measure in ("h_cosine", "z_cosine", "p_cosine", "kl"):
                        spread = getattr(deviation, f"{measure}_spread")[layer]
                        np.testing.assert_allclose(spread, np.quantile(values, QUANTILES), rtol=2e-4, atol=2e-6, err_msg=told)


def distances(dense, modified):
    """Mean KL(dense‖modified) over rows of logits."""
    return torch.nn.functional.kl_div(
        modified.double().log_softmax(-1), dense.double().log_softmax(-1), log_target=True, reduction="batchmean"
    ).item()


@pytest.mark.parametrize("name", TINY)
def test_every_family_ends_where_its_views_end(name):
    """The last sublayer is followed by the head alone, and so is the whole plan: both must be what the cut model says."""
    model, windows = tiny_model(name), tokens()
    subject = subject_of(model)
    found = run(subject, windows, "a1,m2")
    dense = cut(subject).logits(windows)[:, -1]

    def ends(plan):
        return distances(dense, cut(subject, parse(plan)).logits(windows)[:, -1])

    assert found.cumulative.kl[-1] == pytest.approx(ends("a1,m2"), rel=1e-4, abs=1e-5)
    assert found.mlp.kl[-1] == pytest.approx(ends("m4"), rel=1e-4, abs=1e-5)
    if found.parallel:
        assert found.attention.kl[-1] == pytest.approx(ends("a4"), rel=1e-4, abs=1e-5)
    assert found.cumulative.kl[:2] == [0, 0] and found.cumulative.h_cosine[:2] == [1, 1]  # before layer 1 nothing is gone
    for part in ("attention", "mlp", "raw_attention", "raw_mlp", "cumulative"):
        deviation, layers = getattr(found, part), LAYERS + (part == "cumulative")
        assert len(deviation.kl) == layers and min(deviation.kl) >= 0 and min(deviation.reverse_kl) >= 0
        assert deviation.kl_spread.shape == (layers, 3) and deviation.top_tokens.shape == (layers, 2, 5)
        if part != "cumulative":
            assert min(deviation.kl) > 0 and min(deviation.h_orthogonal) > 0
    assert found.cumulative.top_tokens[-1, 0].tolist() == dense[0].topk(5).indices.tolist()


def thinned(subject, text="w:magnitude@0.5", only=None, without=None):
    """A plan for which half of every weight of the sublayers is zero; ``only``: of one layer's attention or MLP."""
    model, family, weights = subject.model, subject.family, {}
    for i, block in enumerate(model.get_submodule(family.layers)):
        for part in PARTS:
            if only in (None, (part, i)) and (part, i) != without:
                sublayer = getattr(family, part)
                for name, weight in block.named_parameters():
                    if weight.dim() > 1 and any(name.startswith(f"{each}.") for each in (sublayer.module, *sublayer.dead)):
                        keep = torch.rand(weight.shape, generator=torch.Generator().manual_seed(i)) > 0.5
                        weights[f"{family.layers}.{i}.{name.removesuffix('.weight')}"] = weight * keep
    return calibrated(text, weights, family)


@pytest.mark.parametrize("name", TINY)
def test_every_pruned_sublayer_is_fed_with_the_dense_stream(name):
    """One sublayer pruned in a model of its own gives what the probe finds where all of them are pruned."""
    model, windows, layer = tiny_model(name), tokens(), 3
    subject = subject_of(model)
    everything = thinned(subject)
    found = run(subject, windows, everything)
    assert found.mode == "pruned"
    dense = cut(subject)
    whole = cut(subject, everything).logits(windows)[:, -1]
    assert found.cumulative.kl[-1] == pytest.approx(distances(dense.logits(windows)[:, -1], whole), rel=1e-4, abs=1e-5)
    streams = {}

    def note(key):
        return lambda place, *parts: streams.__setitem__(key, [part[:, -1] for part in parts]) if place == layer else None

    watch(dense, note("dense"))
    dense.logits(windows)
    before, attention, _, after = streams["dense"]
    for at, part in enumerate(PARTS, start=1):
        one = thinned(subject, only=(part, layer))
        view = cut(subject, one)
        watch(view, note(part))
        view.logits(windows)
        end = before + attention if part == "attention" and not found.parallel else after
        changed = end - streams["dense"][at] + streams[part][at]
        expected = np.mean(
            [slow_hidden(*pair)["h_cosine"] for pair in zip(end.double().numpy(), changed.double().numpy(), strict=True)]
        )
        assert getattr(found, part).h_cosine[layer] == pytest.approx(expected, abs=2e-6), part
        assert expected < 0.9999


def test_of_a_plan_with_both_what_is_dropped_is_left_out_and_the_rest_is_pruned():
    model, windows = tiny_model("llama"), tokens()
    subject = subject_of(model)
    both = run(subject, windows, thinned(subject, "m2,w:magnitude@0.5", without=("mlp", 2)))
    dropped, pruned = run(subject, windows), run(subject, windows, thinned(subject, without=("mlp", 2)))
    assert both.mlp.kl[2] == pytest.approx(dropped.mlp.kl[2], rel=1e-9)
    for layer in (0, 1, 3, 4):
        assert both.mlp.kl[layer] == pytest.approx(pruned.mlp.kl[layer], rel=1e-9) != dropped.mlp.kl[layer]
    assert both.attention.kl == pytest.approx(pruned.attention.kl, rel=1e-9)
    assert pruned.mlp.kl[2] == 0  # nothing was pruned there


def test_an_empty_plan_deviates_nowhere_as_a_whole():
    found = run(subject_of(tiny_model("llama")), tokens(), last=False).cumulative
    for name, values in as_dict(found).items():
        if name.endswith("_spread"):
            assert np.ptp(values) == 0
        elif not name.startswith("top_"):
            assert values == [1.0 if name.endswith("cosine") else 0.0] * (LAYERS + 1), name
    assert (found.top_tokens[:, 0] == found.top_tokens[:, 1]).all()


@pytest.mark.parametrize("last", [True, False])
@torch.inference_mode()
def test_each_window_has_its_turn_at_the_output(last):
    subject, windows = subject_of(tiny_model("llama")), tokens(3, 8)
    found = run(subject, windows, "a1,m3", last=last)
    streams = []
    for plan in ("", "a1,m3"):
        view, seen = cut(subject, parse(plan)), []
        watch(view, lambda place, before, attention, mlp, after, seen=seen: seen.append(after))
        view.logits(windows)
        streams.append(seen[-1].reshape(3, 8, -1)[:, -1:] if last else seen[-1].reshape(3, 8, -1))
    turned = 1 - torch.cosine_similarity(*(each.double() for each in streams), dim=-1).mean(1)
    np.testing.assert_allclose(found.output_turn, turned.numpy(), atol=1e-6)
    assert found.output_turn.mean() == pytest.approx(1 - found.cumulative.h_cosine[-1], abs=1e-6)


def test_a_dropped_block_hands_its_stream_on():
    """The depth axis stays the dense one: the pruned stream after blocks 1 and 2 is the one before them."""
    model, windows = tiny_model("llama"), tokens()
    subject = subject_of(model)
    seen = []
    dense = cut(subject)
    watch(dense, lambda place, *parts: seen.append(parts[3][:, -1].double().numpy()))
    dense.logits(windows)
    found = run(subject, windows, "b1-2").cumulative
    for depth in (2, 3):  # after blocks 1 and 2 the pruned stream is still what came out of block 0
        pairs = zip(seen[depth - 1], seen[0], strict=True)
        assert found.h_cosine[depth] == pytest.approx(np.mean([slow_hidden(*pair)["h_cosine"] for pair in pairs]), abs=1e-6)
    everything = run(subject, windows, "b0-4").cumulative
    assert everything.h_cosine[0] == 1 and everything.kl[-1] > 0


def test_parts_of_the_vocabulary_and_of_the_positions_change_nothing(monkeypatch):
    subject, windows = subject_of(tiny_model("qwen2")), tokens(3, 11)
    whole = run(subject, windows, "a2", last=False, top=3)
    monkeypatch.setattr("probes.deviation.comparison._HELD", {"cpu": 97 * 4})
    monkeypatch.setattr("probes.deviation.comparison._COMPARED", {"cpu": 97 * 3})
    parts = run(subject, windows, "a2", last=False, top=3)
    assert whole.tokens == parts.tokens == 33
    for one, other in (
        (whole.mlp, parts.mlp),
        (whole.cumulative, parts.cumulative),
        (whole.raw_attention, parts.raw_attention),
    ):
        assert one.top_pieces == other.top_pieces
        for name, values in as_dict(one).items():
            if name == "top_pieces":
                continue
            np.testing.assert_allclose(getattr(other, name), values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_no_more_logits_are_held_than_promised(monkeypatch):
    """Whatever the vocabulary, the lens is asked for a bounded number of logits at a time, and once for each stream."""
    monkeypatch.setattr("probes.deviation.comparison._HELD", {"cpu": 97 * 8})
    asked = []
    plain_call = Lens.__call__

    def counted(self, states, norm=True):
        asked.append((len(states), norm))
        return plain_call(self, states, norm)

    monkeypatch.setattr(Lens, "__call__", counted)
    run(subject_of(tiny_model("llama")), tokens(1, 20), last=False)
    asked.remove((1, True))  # the self-check
    assert {rows for rows, _ in asked} == {7, 6}  # 20 rows in equal parts of at most 8
    assert sum(rows for rows, norm in asked if norm) == sum(rows for rows, norm in asked if not norm) == 20 * (2 * LAYERS + 1)


@pytest.mark.parametrize("name", TINY)
@torch.inference_mode()
def test_half_precision_is_measured_in_float32(name):
    """What a sublayer adds must not drown in the rounding of the stream, nor a small difference in that of the logits."""
    windows, parts = tokens(1, 6), {}
    wide = subject_of(tiny_model(name).to(torch.bfloat16).float())  # the same weights
    model = tiny_model(name).to(torch.bfloat16)
    found = run(subject_of(model), windows)
    view = cut(subject_of(model))
    watch(view, lambda place, *each: parts.__setitem__(place, [part[0, -1:].float() for part in each]))
    view.logits(windows)
    lens = Lens(wide)
    for layer, (before, attention, mlp, _) in parts.items():
        end = before + attention + mlp
        starts = (before + mlp, before + attention) if found.parallel else (before, before + attention)
        ends = (end, end) if found.parallel else (before + attention, end)
        for part, *streams in zip(PARTS, ends, starts, strict=True):
            hidden = slow_hidden(*(x[0].double().numpy() for x in streams))
            logits = slow_logits(*(lens(x)[0].double().numpy() for x in streams))
            for measure, value in (hidden | logits).items():
                given = getattr(getattr(found, part), measure)[layer]
                assert given == pytest.approx(value, rel=1e-3, abs=1e-5), (part, layer, measure)


def test_the_result_survives_being_stored():
    found = run(subject_of(tiny_model("gpt2")), tokens(), "m1")
    back = from_dict(TransitionsResult, decode(encode(as_dict(found))))
    assert back.cumulative.kl == found.cumulative.kl and back.mode == "dropped"
    np.testing.assert_array_equal(back.raw_mlp.top_tokens, found.raw_mlp.top_tokens)


def test_the_likeliest_tokens_are_those_of_the_first_window():
    model, windows = tiny_model("llama"), tokens(3, 9)
    subject = subject_of(model)
    logits = cut(subject).logits(windows[:1])[0, -1].double()
    for last in (True, False):
        found = run(subject, windows, last=last, top=4, temperature=2.0).mlp
        best = (logits / 2).softmax(-1).topk(4)
        assert found.top_tokens[-1, 0].tolist() == best.indices.tolist()
        np.testing.assert_allclose(found.top_probabilities[-1, 0], best.values, rtol=1e-5)
    assert run(subject, windows, top=1000).mlp.top_tokens.shape == (LAYERS, 2, 97)


@pytest.mark.parametrize(("name", "value"), [("temperature", 0), ("temperature", -1), ("temperature", "nan"), ("top", 0)])
def test_parameters_that_are_not_possible_are_refused(name, value):
    with pytest.raises(Refusal, match="Write a number"):
        read_params(PROBE, {name: value})


def test_a_dense_model_that_is_broken_is_refused():
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(Refusal, match="hidden states contain NaN or infinite"):
        run(subject_of(model), tokens())


def test_a_plan_that_breaks_the_model_is_refused():
    """Nothing is left but a stream of zeros, and a norm that divides by its length."""
    model = tiny_model("llama")
    model.model.embed_tokens.weight.zero_()
    model.model.norm.variance_epsilon = 0.0
    model.model.layers[0].self_attn.o_proj.bias.fill_(1.0)
    with pytest.raises(Refusal, match=r"logits of layer .* contain NaN or infinite"):
        run(subject_of(model), tokens(), "b0-4")


def test_a_head_that_is_not_understood_is_refused():
    """Something between the norm and the logits that the view without blocks does not do."""
    model = tiny_model("llama")

    def scale(module, args, output):
        output.logits.mul_(1.0 + len(module.model.layers))

    model.register_forward_hook(scale)
    with pytest.raises(Refusal, match="does not give its logits"):
        run(subject_of(model), tokens())


def test_progress_is_told_and_may_stop_the_work():
    class Cancelled(Exception):
        pass

    said = []

    def progress(done, total, text):
        said.append((done, total))
        if done > 2.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(subject_of(tiny_model("llama")), tokens(2, 8), progress=progress)
    assert said[:2] == [(0, 3), (1, 3)] and said == sorted(said) and said[-1][0] < 3


def test_the_model_is_left_as_it_was():
    model, windows = tiny_model("llama"), tokens()
    before = model(input_ids=windows, use_cache=False).logits
    subject = subject_of(model)
    run(subject, windows, thinned(subject, "b1,w:magnitude@0.5", only=("mlp", 2)))
    assert torch.equal(model(input_ids=windows, use_cache=False).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
