"""Drift against slow loops in plain transformers: cached and step by step, where the probe reads once without a cache."""

import copy

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import Plan, parse
from probes.base import as_dict, from_dict, read_params
from probes.deviation.continuations import LEVELS, MEASURES, spread
from probes.deviation.generation_drift import PROBE, DriftParams
from probes.deviation.readout import Readout
from refusal import Refusal
from tests.models.tiny import TINY
from tests.probes.characters import learned, reader
from texts.prompts import PROMPTS

TEXT = "Why is the sky blue?\nOne two\n\n  A list:  \n"
NO_ATTENTION = "a0,a1,a2,a3,a4"
CASES = [
    ("llama", "a1,m3", 1.0),
    ("llama", NO_ATTENTION, 0.5),
    ("gpt2", "m2", 1.0),
    ("gpt2", NO_ATTENTION, 1.0),
    ("gemma2", "b1-2", 2.0),
    ("gpt_neox", "a0", 1.0),
    ("bloom", "a0,m4", 1.0),
    ("llama", "b0-4", 1.0),
    ("llama", "a1,w:sparsegpt@2:4", 1.0),
    ("gemma2", "m2,k:0.5/0.5", 1.0),
]


def run(subject, plan="", text=TEXT, length=9, **params):
    return PROBE.run(subject, None, learned(subject, plan), DriftParams(text, length=length, **params))


@torch.inference_mode()
def stepwise(view, prompt, ids):
    """Last hidden state and logits before each token of ``ids``, one token at a time, with a cache where there is one."""
    cache, unread, states, logits = view.cache(), prompt, [], []
    hook = view.final_norm.register_forward_hook(lambda _, args, out: states.append(out[0, -1].double().numpy()))
    for token in ids:
        out = view.model(input_ids=unread, past_key_values=cache, use_cache=cache is not None)
        logits.append(out.logits[0, -1].double().numpy())
        follows = torch.tensor([[token]])
        unread = follows if cache is not None else torch.cat([unread, follows], 1)
    hook.remove()
    return np.array(states), np.array(logits)


def slow(h, z, changed_h, changed_z, temperature):
    """The measures of one step, in float64 numpy."""

    def cos(x, y):
        return x @ y / np.sqrt((x @ x) * (y @ y))

    def off(x, y):
        across = (y - x) - (y - x) @ x / (x @ x) * x
        return across @ across / (2 * x @ x)

    p, q = (np.exp(each / temperature) / np.exp(each / temperature).sum() for each in (z, changed_z))
    r, delta = p**2 / (p**2).sum(), changed_z - z
    half = 2 * temperature**2
    return {
        "h_cosine": cos(h, changed_h),
        "h_estimate": off(h, changed_h),
        "z_cosine": cos(z, changed_z),
        "z_estimate": off(z, changed_z),
        "p_cosine": cos(p, q),
        "p_estimate": (r @ delta**2 - (r @ delta) ** 2) / half,
        "kl": p @ np.log(p / q),
        "reverse_kl": q @ np.log(q / p),
        "kl_estimate": (p @ delta**2 - (p @ delta) ** 2) / half,
    }


def agrees(found, place, expected):
    for name in MEASURES:
        values = [step[name] for step in expected]
        np.testing.assert_allclose(found[name][place, : len(values)], values, rtol=2e-3, atol=2e-5, err_msg=name)
        assert np.isnan(found[name][place, len(values) :]).all()


def greedily(view, prompt, length):
    """Greedy tokens, the whole text read again at each step."""
    text = prompt
    for _ in range(length):
        text = torch.cat([text, view.logits(text)[:, -1:].argmax(-1)], 1)
    return text[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize("name, plan, temperature", CASES)
def test_each_step_is_what_cached_decoding_gives(name, plan, temperature):
    subject = reader(name)
    found = run(subject, plan, temperature=temperature)
    assert found.prompts == ["Why is the sky blue?", "One two", "A list:"] and found.chat is False
    dense, pruned = (cut(subject, each) for each in (Plan(), learned(subject, plan)))
    for place, prompt in enumerate(found.prompts):
        read = torch.tensor([subject.tokenizer(prompt).input_ids])
        ids, theirs = found.dense_ids[place].tolist(), found.ids[place].tolist()
        assert ids == greedily(dense, read, 9) and theirs == greedily(pruned, read, 9)
        one, other, free = stepwise(dense, read, ids), stepwise(pruned, read, ids), stepwise(pruned, read, theirs)
        agrees(found.forced, place, [slow(*step, temperature) for step in zip(*one, *other, strict=True)])
        agrees(found.free, place, [slow(*step, temperature) for step in zip(*one, *free, strict=True)])
        for prefix, logits in (("dense_", one[1]), ("", other[1])):
            chances = np.exp(logits / temperature) / np.exp(logits / temperature).sum(-1, keepdims=True)
            own, top = chances[range(9), ids], np.argsort(-logits, -1)[:, :5]
            np.testing.assert_allclose(getattr(found, f"{prefix}probability")[place], own, rtol=1e-3)
            np.testing.assert_array_equal(getattr(found, f"{prefix}top_ids")[place], top)
            expected = np.take_along_axis(chances, top, -1)
            np.testing.assert_allclose(getattr(found, f"{prefix}top_probability")[place], expected, rtol=1e-3)
        np.testing.assert_array_equal(found.rank[place], [(row > row[i]).sum() for row, i in zip(other[1], ids, strict=True)])


def test_free_running_is_teacher_forced_up_to_the_first_token_that_differs():
    found = run(reader(seed=3), "a1", length=16)
    assert any(divergence not in (None, 0, 15) for divergence in found.divergence)
    for place, divergence in enumerate(found.divergence):
        same = 16 if divergence is None else divergence + 1
        assert found.mixed[place].tolist() == [False] * same + [True] * (16 - same)
        assert (found.ids[place, : same - 1] == found.dense_ids[place, : same - 1]).all()
        assert divergence is None or found.ids[place, divergence] != found.dense_ids[place, divergence]
        for name in MEASURES:
            forced, free = found.forced[name][place], found.free[name][place]
            np.testing.assert_allclose(free[:same], forced[:same], rtol=1e-3, atol=1e-6, err_msg=name)
            assert same == 16 or not np.allclose(free[same:], forced[same:])
        assert (found.rank[place, : same - 1] == 0).all() and (divergence is None or found.rank[place, divergence] > 0)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_empty_plan_changes_nothing(name):
    found = run(reader(name))
    for each in (found.forced, found.free):
        assert all((each[measure] == 0).all() for measure in ("kl", "reverse_kl", "kl_estimate", "p_estimate"))
        for measure in ("h_cosine", "z_cosine", "p_cosine"):
            np.testing.assert_allclose(each[measure], 1, atol=1e-12)
    assert (found.rank == 0).all() and not found.mixed.any()
    assert found.divergence == [None] * 3 and (found.rouge_l == 1).all()
    assert found.texts == found.dense_texts and found.pieces == found.dense_pieces
    np.testing.assert_array_equal(found.repetition, found.dense_repetition)


def test_texts_and_their_pieces():
    subject = reader()
    found = run(subject, "m1", length=12)
    for ids, pieces, text in zip(found.ids, found.pieces, found.texts, strict=True):
        assert subject.tokenizer.decode(ids.tolist()) == text == "".join(pieces) and len(pieces) == 12
    assert found.length == [12] * 3 and found.ended == [False] * 3
    assert found.distinct[0, 0] == pytest.approx(len(set(found.ids[0])) / 12)
    assert found.prompt_tokens == [20, 7, 7]
    for ids, pieces in zip(found.top_ids[1], found.top_pieces[1], strict=True):
        assert pieces == [subject.tokenizer.decode([i]) for i in ids]
    assert found.top_ids.shape == found.dense_top_probability.shape == (3, 12, 5)


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    found = run(reader(name), "a1,m2", "Hello", 4)
    assert (found.forced["kl"] > 0).all() and np.isfinite(list(found.free.values())).all()


def test_end_of_text_stops_a_prompt_and_the_others_go_on():
    subject = reader(seed=3)
    whole = run(subject, "m3", length=10)
    end = int(whole.dense_ids[0, 3])
    stops = [(row.tolist().index(end) if end in row else None) for row in whole.dense_ids]
    subject.model.generation_config.eos_token_id = end
    found = run(subject, "m3", length=10)
    lengths = [10 if stop is None else stop + 1 for stop in stops]
    assert len(set(lengths)) > 1 and stops[0] <= 3
    for place, (stop, length) in enumerate(zip(stops, lengths, strict=True)):
        assert found.dense_ids[place].tolist() == [*whole.dense_ids[place, :length], *[-1] * (10 - length)]
        assert found.dense_length[place] == (10 if stop is None else stop) and found.dense_ended[place] == (stop is not None)
        np.testing.assert_allclose(found.forced["kl"][place, :length], whole.forced["kl"][place, :length], rtol=1e-3)
        assert np.isnan(found.forced["kl"][place, length:]).all() and np.isnan(found.probability[place, length:]).all()
        assert (found.rank[place, length:] == -1).all() and (found.top_ids[place, length:] == -1).all()
        both = min(length, (found.ids[place] >= 0).sum())
        assert (~np.isnan(found.free["kl"][place])).sum() == both
    assert found.running == [sum(length > step for length in lengths) for step in range(10)]
    kl = found.forced["kl"][:, : max(lengths)]
    np.testing.assert_allclose(found.forced_spread["kl"][: max(lengths), 0], np.nanmean(kl, 0))
    np.testing.assert_allclose(found.forced_spread["kl"][: max(lengths), 1:].T, np.nanquantile(kl, LEVELS, 0))


def test_a_step_that_nobody_reaches_has_no_spread():
    found = spread(np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]]))
    assert found[0].tolist() == pytest.approx([2, 1.2, 1.5, 2, 2.5, 2.8])
    assert found[1].tolist() == [2] * 6 and np.isnan(found[2]).all()


def test_steps_end_with_the_context():
    subject = reader("gpt2")
    found = run(subject, "a1", "x" * 120, 32)
    assert found.dense_ids.shape == found.ids.shape == (1, 9)  # the last one is written, and not read
    assert np.isfinite(found.forced["kl"]).all()


def test_the_built_in_prompts():
    assert len(PROMPTS) == len(set(PROMPTS)) == 8
    found = PROBE.run(reader(), None, Plan(), DriftParams(length=1))
    assert found.prompts == list(PROMPTS) and found.running == [8]
    assert np.isnan(found.repetition).all() and np.isnan(found.distinct[:, 1:]).all()


def test_the_chat_template_is_used_where_there_is_one(tiny_folder):
    subject = load(ModelRef(str(tiny_folder)))
    counts = {chat: run(subject, "m1", "France", 3, chat=chat).prompt_tokens for chat in ("auto", "on", "off")}
    turn = subject.tokenizer.apply_chat_template([{"role": "user", "content": "France"}], add_generation_prompt=True)
    assert counts["auto"] == counts["on"] == [len(turn.input_ids)] and counts["off"] == [
        len(subject.tokenizer("France").input_ids)
    ]
    assert counts["on"] > counts["off"]


def test_half_precision_is_read_in_single():
    """At a small change the difference of bfloat16 logits would be mostly rounding."""
    subject = reader()
    subject.model.to(torch.bfloat16)
    view, states = cut(subject), []
    view.layers[-1].register_forward_hook(lambda _, args, out: states.append(out))
    text = subject.tokenizer("Why is the sky blue?", return_tensors="pt").input_ids
    hidden, logits = Readout(view, "dense")(text, range(text.numel()))
    wide = copy.deepcopy(subject.model).float()
    with torch.inference_mode():
        expected = wide.model.norm(states[0][0].float())
        assert torch.equal(hidden, expected) and logits.dtype == torch.float32
        torch.testing.assert_close(logits, wide.lm_head(expected))


def test_an_answer_survives_the_store():
    found = run(reader(), "a0", length=3)
    again = from_dict(PROBE.result, decode(encode(as_dict(found))))
    np.testing.assert_array_equal(again.forced["kl"], found.forced["kl"])
    assert again.divergence == found.divergence and again.top_pieces == found.top_pieces


@pytest.mark.parametrize(
    "given, says",
    [
        ({"temperature": 0}, "temperature of 0 there are no probabilities"),
        ({"temperature": -1.0}, "number above 0"),
        ({"temperature": "nan"}, "number above 0"),
        ({"prompts": " \n\t\n"}, "all lines are blank"),
        ({"prompts": "a\n" * 257}, "257 prompts are too many"),
        ({"chat": "yes"}, "auto, on, off, not 'yes'"),
        ({"length": 0}, "0 steps cannot be measured"),
        ({"length": 5000}, "length from 1 to 1024"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_loaded(given, says):
    with pytest.raises(Refusal, match=says):
        read_params(PROBE, given)


def test_a_chat_template_that_is_not_there_is_refused():
    with pytest.raises(Refusal, match=r"no chat template\. Write chat=off"):
        run(reader(), chat="on")


def test_a_prompt_longer_than_the_context_is_refused_by_its_number():
    with pytest.raises(Refusal, match=r"Prompt 1 \('y{40}…'\): The prompt has 128 tokens, but this model reads at most 128"):
        run(reader(), "", "x\n" + "y" * 128)


@pytest.mark.parametrize("plan, name", [("", "dense"), ("b0-4", "pruned")])
def test_a_model_that_gives_no_numbers_is_refused(plan, name):
    subject = reader()
    model = subject.model.model
    if name == "dense":
        model.layers[2].mlp.down_proj.weight[0, 0] = float("nan")
    else:  # nothing is left but a stream of zeros, and a norm that divides by its length
        model.embed_tokens.weight.zero_()
        model.norm.variance_epsilon = 0.0
        assert (run(subject, "b1-4").forced["kl"] > 0).any()
    with pytest.raises(Refusal, match="NaN or infinite" if name == "dense" else "pruned model's logits .*NaN or infinite"):
        run(subject, plan)


def test_progress_is_told_at_each_token_and_may_stop_the_work():
    told = []

    def progress(done, total, text):
        told.append((done, total, text))
        if done == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        PROBE.run(reader(), None, parse("a1"), DriftParams("ab\ncd", length=5), progress)
    assert [done for done, *_ in told] == [0, 1, 2, 3, 4, 5, 5, 6, 7] and {total for _, total, _ in told} == {20}
    assert told[0][2] == "prompt 1 of 2, dense model, token 0 of 5" and "pruned model, token 2" in told[-1][2]


def test_the_model_is_left_as_it_was():
    subject = reader()
    tokens = torch.tensor([subject.tokenizer("abc").input_ids])
    before = subject.model(input_ids=tokens).logits
    run(subject, "a0,m1", length=2)
    assert torch.equal(subject.model(input_ids=tokens).logits, before)
    assert not any(module._forward_pre_hooks for module in subject.model.modules())
