"""The contract: every operation and every two of them, with every family; see `tests.plans.contract`."""

from itertools import combinations

import pytest
import torch

from models.attention import why_it_stays
from models.view import shared
from plans.cut import cut
from plans.learn import calibrate
from plans.operation import Shape
from plans.plan import parse
from plans.registry import OPERATIONS
from refusal import Refusal
from tests.models.tiny import TINY
from tests.plans.contract import IDS, LEARNED, TEXTS, WHOLE, Bench, combines, keeps, operation, stays

LATENT = {"deepseek_v2", "deepseek_v3"}
OUTSIDE = {name for name in TINY if name.startswith("falcon")} | {"bloom", "mpt"}


@pytest.fixture(scope="module")
def bench():
    """All tiny models, on one thread: more cost them more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench()
    torch.set_num_threads(before)


def test_every_operation_is_in_the_table():
    assert list(TEXTS) == list(OPERATIONS)
    for name, texts in TEXTS.items():
        assert {operation(text) for text in texts} == {name}


@pytest.mark.parametrize("text", [text for texts in TEXTS.values() for text in texts] + [*WHOLE])
@pytest.mark.parametrize("name", TINY)
def test_an_operation_keeps_the_contract(bench, name, text):
    keeps(bench, name, text)


@pytest.mark.parametrize("pair", list(combinations(TEXTS, 2)), ids="-".join)
@pytest.mark.parametrize("name", TINY)
def test_two_operations_combine(bench, name, pair):
    combines(bench, name, *(TEXTS[each][0] for each in pair))


@pytest.mark.parametrize("name", TINY)
def test_a_family_refuses_what_it_cannot_do_and_nothing_else(bench, name):
    """Written from the modelling files, so that a family cannot begin to refuse without anybody noticing."""
    dense, subject = bench.anatomy(name), bench.subject(name)
    says = "is latent" if name in LATENT else "does not go through" if name in OUTSIDE else ""
    for kind, texts in TEXTS.items():
        why = stays(dense, parse(texts[0]))
        assert why == (dense.attention_stays if kind == "keys" else "")
    assert says in dense.attention_stays and bool(says) == bool(dense.attention_stays)
    assert dense.attention_stays == why_it_stays(shared(subject.model, subject.family))
    assert not says or f"of {subject.model.config.model_type} " in dense.attention_stays


@pytest.mark.parametrize("text, says", [("a9", "names layer 9, but this model has layers 0 to 4"), ("a1,b5", "names layer 5")])
def test_a_layer_that_is_not_there_is_refused_by_all_in_the_same_words(bench, text, says):
    plan, subject = parse(text), bench.subject("llama")
    for ask in (lambda: plan.checked(Shape(5)), lambda: cut(subject, plan), lambda: calibrate(subject, plan, LEARNED)):
        with pytest.raises(Refusal, match=says):
            ask()


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mixtral"])
def test_all_operations_at_once(bench, name):
    keeps(bench, name, ",".join(texts[0] for texts in TEXTS.values()))


@pytest.mark.parametrize("text", ["a0,b3", "w:sparsegpt@0.5", "w:magnitude@0.5", "k:0.5/0.5"])
def test_two_views_of_a_plan_are_the_same_model_and_share_nothing_but_weights(bench, text):
    subject = bench.subject("llama")
    learned = calibrate(subject, parse(text), LEARNED)
    one, other = cut(subject, learned), cut(subject, learned)
    expected = other.logits(IDS)
    assert not {id(each) for each in one.model.modules()} & {id(each) for each in other.model.modules()}
    for layer in one.layers:
        layer.register_forward_hook(lambda module, args, output: None if output is None else torch.zeros_like(args[0]))
    assert not torch.equal(one.logits(IDS), expected) and torch.equal(other.logits(IDS), expected)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mistral"])
@torch.inference_mode()
def test_keys_counted_as_loki_s_code_does_are_those_of_each_row_token_by_token(bench, name):
    """There every step has one row that sees all keys there are; in a full pass early rows attend to all they see instead."""
    subject = bench.subject(name)

    def steps(text):
        view = cut(subject, calibrate(subject, parse(text), LEARNED))
        cache = view.cache()
        full = view.logits(IDS)
        return torch.cat([view.logits(IDS[:, i : i + 1], cache) for i in range(IDS.shape[1])], 1), full

    (rows, full), (whole, whole_full) = steps("k:0.25/0.25"), steps("k:0.25/0.25/loki")
    torch.testing.assert_close(whole, rows)
    assert not torch.allclose(whole_full, full)
    dense = bench.logits(name, "")
    torch.testing.assert_close(whole_full[:, :2], dense[:, :2])  # 2 of 8 keys: the first two tokens see no more than that
    assert not torch.allclose(full[:, 1], dense[:, 1])
