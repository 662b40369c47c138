"""Search under a budget: each choice against brute force, each number against a few plain lines."""

from itertools import combinations

import numpy as np
import pytest
import torch

from models.anatomy import anatomy
from plans.cost import cost
from plans.cut import cut
from plans.drops import dropped
from plans.plan import EMPTY, parse
from probes.scan.drop_scan import PROBE as DROP_SCAN
from probes.scan.drop_scan import DropScanParams
from probes.search import strategies
from probes.search.budget import Budget, budget
from probes.search.measured import Measured
from probes.search.params import STRATEGIES, SearchParams
from probes.search.search import PROBE
from probes.search.so_far import so_far
from refusal import Refusal
from tests.models.tiny import tiny_model
from tests.probes.subjects import corpus_of, subject_of

LAYERS = 4


@pytest.fixture(scope="module")
def subject():
    return subject_of(tiny_model("llama", num_hidden_layers=LAYERS))


@pytest.fixture(scope="module")
def corpus():
    ids = torch.randint(0, 97, (4, 16), generator=torch.Generator().manual_seed(1))
    return corpus_of(ids)


@pytest.fixture(scope="module")
def memory():
    """What all searches of this module remember of their text."""
    return {}


@pytest.fixture(scope="module")
def every_pair(subject, corpus):
    """KL on the choosing windows of each plan of two sublayers: the truth a search is to find."""
    items = [f"{letter}{layer}" for letter in "am" for layer in range(LAYERS)]
    plans = [parse(f"{one},{other}") for one, other in combinations(items, 2)]
    return {str(plan): kl_of(subject, corpus, plan, range(2)) for plan in plans}


def kl_of(subject, corpus, plan, windows):
    """Mean KL in nats, by torch in float64."""
    found = []
    for window in windows:
        tokens = torch.from_numpy(corpus.tokens[window : window + 1])
        p, q = (cut(subject, each).logits(tokens)[0, :-1].double().log_softmax(-1) for each in (EMPTY, plan))
        found.append((p.exp() * (p - q)).sum(-1).mean().item())
    return float(np.mean(found))


def search(subject, corpus, memory, plan=EMPTY, **given):
    settings = {"share": 0.25, "points": 1, "draws": 2, "generations": 6, "offspring": 8} | given
    return PROBE.run(subject, corpus, plan, SearchParams(**settings), memory=memory)


@pytest.fixture(scope="module")
def found(subject, corpus, memory):
    return search(subject, corpus, memory)


def by(result, name):
    return [i for i, strategy in enumerate(result.strategies) if strategy == name]


def test_the_best_of_all_plans_is_found(found, every_pair):
    best = min(every_pair, key=every_pair.get)
    (place,) = by(found, "swaps")
    assert found.plans[place] == best
    assert found.chosen_kl[place] == pytest.approx(every_pair[best], rel=1e-5)


def test_what_is_chosen_on_is_what_is_told(found, every_pair):
    assert {*found.strategies} == {*STRATEGIES}
    for plan, kl in zip(found.plans, found.chosen_kl, strict=True):
        if plan in every_pair:
            assert kl == pytest.approx(every_pair[plan], rel=1e-5)


def test_it_is_judged_on_windows_that_nothing_was_chosen_on(found, subject, corpus):
    for name in ("greedy", "span", "random"):
        place = by(found, name)[0]
        plan = parse(found.plans[place])
        assert found.kl[place] == pytest.approx(kl_of(subject, corpus, plan, (2, 3)), rel=1e-5)
        assert found.kl_low[place] <= found.kl[place] <= found.kl_high[place]
    assert (found.chosen_windows, found.judged_windows) == (2, 2)


def test_every_plan_saves_enough(found):
    assert (found.saved >= found.shares - 1e-9).all()
    assert found.total == 2 * LAYERS


def test_one_shot_takes_the_lowest_single_kl(found, subject, corpus):
    single = {item: kl_of(subject, corpus, parse(item), range(2)) for item in found.items}
    np.testing.assert_allclose(found.single_kl.mean(1), list(single.values()), rtol=1e-5)
    lowest = sorted(single, key=single.get)[:2]
    (place,) = by(found, "kl")
    assert found.plans[place] == str(parse(",".join(lowest)))


def test_a_span_is_the_best_of_its_length(found, subject, corpus):
    (place,) = by(found, "span")
    all_of_them = [parse(f"b{start}") for start in range(LAYERS)]
    best = min(all_of_them, key=lambda plan: kl_of(subject, corpus, plan, range(2)))
    assert found.plans[place] == str(best)


def test_what_was_measured_is_not_measured_again(found, subject, corpus, memory):
    known = len(memory)
    again = search(subject, corpus, memory)
    assert len(memory) == known
    assert again.plans == found.plans
    assert again.spent == found.spent
    np.testing.assert_array_equal(again.window_kl, found.window_kl)


class Stop(Exception):
    """Somebody cancels."""


def test_an_interrupted_search_is_taken_up_again(subject, corpus, found):
    memory, steps = {}, []

    def cancel(done, total, text=""):
        steps.append(text)
        if text.startswith("swaps"):
            raise Stop

    given = SearchParams(share=0.25, points=1, draws=2, generations=6, offspring=8)
    with pytest.raises(Stop):
        PROBE.run(subject, corpus, EMPTY, given, cancel, memory=memory)
    kept = dict(memory)
    result = search(subject, corpus, memory)
    assert kept.items() <= memory.items()
    assert len(kept) > 0
    assert result.plans == found.plans
    assert "single drops" in steps


def test_another_seed_draws_others(found, subject, corpus, memory):
    other = search(subject, corpus, memory, seed=1, strategies="random")
    assert [found.plans[i] for i in by(found, "random")] != other.plans


def test_it_begins_with_a_plan(subject, corpus, memory):
    result = search(subject, corpus, memory, parse("m2"), strategies="kl,greedy,swaps,balanced,knapsack,random", share=0.375)
    assert result.base == "m2"
    for plan in map(parse, result.plans):
        assert plan | parse("m2") == plan
    np.testing.assert_allclose(result.saved, 0.375)


def test_it_is_judged_on_what_the_dense_model_writes(subject, corpus, memory):
    result = search(subject, corpus, memory, strategies="kl", continuation=3)
    (plan,) = map(parse, result.plans)
    for column, window in enumerate(corpus.tokens[2:]):
        ids = torch.from_numpy(window)[None]
        for _ in range(3):
            ids = torch.cat([ids, cut(subject).logits(ids)[:, -1:].argmax(-1)], 1)
        p, q = (cut(subject, each).logits(ids)[0, 15:-1].double().log_softmax(-1) for each in (EMPTY, plan))
        assert result.continued_kl[0, column] == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), rel=1e-4)


@pytest.mark.parametrize("parts", [("attention", "mlp"), ("attention", "mlp", "block")])
@pytest.mark.parametrize("unit", ["sublayers", "parameters", "cache"])
def test_the_knapsack_is_exact(subject, unit, parts):
    limits = budget(unit, anatomy(subject), EMPTY, parts)
    scores = dict(zip(limits.items, np.random.default_rng(3).random(len(limits.items)), strict=True))
    share = 0.4 if unit != "parameters" else 0.3
    best = np.inf
    for count in range(len(limits.items) + 1):
        for chosen in combinations(limits.items, count):
            layers = [item[1:] for item in chosen]
            if "block" in parts and len({*layers}) < len(layers):
                continue
            plan = parse(",".join(chosen))
            if limits.met(plan, share):
                best = min(best, sum(scores[item] for item in chosen))
    plan = strategies._knapsack(limits, scores, share)
    worth = sum(scores[item] for item in strategies._items(plan, parts))
    assert limits.met(plan, share)
    assert worth == pytest.approx(best)


@pytest.mark.parametrize("unit", ["parameters", "bytes", "cache", "work"])
def test_savings_are_what_the_view_has_less(subject, unit):
    known = anatomy(subject)
    limits = budget(unit, known, EMPTY, ("attention", "mlp"))
    name = {"cache": "cache_bytes", "work": "multiply_adds"}.get(unit, unit)
    for text in ("a0", "m1", "a2,m3", "b1-2", "a0,m1,b3"):
        plan = parse(text)
        assert limits.saved(plan) == getattr(known, name) - getattr(cost(subject, plan, known), name)


def test_milliseconds_are_measured(subject, corpus, memory):
    result = search(subject, corpus, memory, unit="milliseconds", share=0.02, strategies="greedy")
    assert result.total > 0
    assert result.saved[0] >= 0.02
    assert "machine" in result.timed and search(subject, corpus, memory, strategies="kl").timed == ""
    assert PROBE.by_machine(SearchParams(unit="milliseconds"))
    assert not PROBE.by_machine(SearchParams())


def test_swaps_trade_attention_for_mlp(subject, corpus):
    limits = budget("sublayers", anatomy(subject), EMPTY, ("attention", "mlp"))
    field = strategies.Field(
        limits, Measured(subject, torch.from_numpy(corpus.tokens)), (0,), (0.25,), np.random.default_rng(0), lambda text: None
    )
    children = [strategies._swapped(field, parse("a0,a1"), 0.25) for _ in range(40)]
    assert any(child.touches(layer, "mlp") for child in children for layer in range(LAYERS))
    assert all(limits.saved(child) == 2 for child in children)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"unit": "grams"}, "no budget unit 'grams'"),
        ({"share": 1.5}, "between 0 and 1"),
        ({"parts": "attention,heads"}, "no part 'heads'"),
        ({"strategies": "magic"}, "no strategy 'magic'"),
        ({"points": 0}, "'points' is 0"),
        ({"unit": "cache", "parts": "mlp"}, "Nothing that may be dropped saves"),
        ({"share": 0.9, "parts": "attention"}, "The budget cannot be met"),
    ],
)
def test_what_cannot_be_searched(subject, corpus, given, sentence):
    with pytest.raises(Refusal, match=sentence):
        search(subject, corpus, {}, **given)


def test_too_few_windows(subject):
    with pytest.raises(Refusal, match="3 windows, too few"):
        search(subject, corpus_of(torch.zeros(3, 8, dtype=torch.int64)), {})


def test_a_plan_that_learns(subject, corpus):
    with pytest.raises(Refusal, match="have to learn from a text"):
        search(subject, corpus, {}, parse("w:wanda@0.5"))


# What is known before the end


def test_what_was_measured_so_far_is_what_a_stopped_search_kept(subject, corpus, found):
    kept = {}

    class Stopped(Exception):
        pass

    def progress(done, total, text):
        if done >= 5:  # some strategies are through
            raise Stopped

    with pytest.raises(Stopped):
        PROBE.run(subject, corpus, EMPTY, SearchParams(share=0.25, points=1, draws=2), progress, memory=kept)
    limits = budget("sublayers", anatomy(subject), EMPTY, ("attention", "mlp"))
    shown = so_far(kept.values(), limits, 2)
    assert 2 * LAYERS <= len(shown.plans) <= shown.tried and shown.front.any()
    for plan, kl, saved in zip(shown.plans, shown.kl, shown.saved, strict=True):
        assert kl == pytest.approx(kl_of(subject, corpus, parse(plan), range(2)), rel=1e-5)
        drops = dropped(parse(plan))
        assert saved == pytest.approx((len(drops.no_attention) + len(drops.no_mlp)) / (2 * LAYERS))
    on = [(kl, saved) for kl, saved, best in zip(shown.kl, shown.saved, shown.front, strict=True) if best]
    for kl, saved in zip(shown.kl, shown.saved, strict=True):
        assert any(k <= kl and s >= saved for k, s in on), "the front beats or equals every plan"


def test_plans_that_begin_otherwise_or_are_half_measured_are_left_out():
    pieces = [
        {"window": 0, "plans": ["", "a1", "a1,m2", "m3"], "rows": np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0.3, 0, 0]])},
        {"window": 1, "plans": ["a1", "a1,m2"], "rows": np.array([[0.3, 0, 0], [0.4, 0, 0]])},
    ]
    ones, none = np.ones(4), np.zeros(4)
    limits = Budget("sublayers", ones, ones, none, 8.0)
    assert so_far(pieces, limits, 2).plans == ["a1", "a1,m2"] and so_far(pieces, limits, 2).kl == pytest.approx([0.2, 0.3])
    assert so_far(pieces, Budget("sublayers", ones, ones, none, 8.0, base=parse("m2")), 2).plans == ["a1,m2"]
    assert so_far(pieces, limits, 3).plans == ["a1", "a1,m2"], "a text may have fewer windows than were asked for"
    assert so_far([], limits, 1) is None


@pytest.mark.parametrize("name", ["length", "gradient", "gradient_size"])
def test_one_shot_takes_the_lowest_cheap_score(found, subject, corpus, name):
    """The scores as the drop scan tells them of the choosing windows."""
    scan = DROP_SCAN.run(subject, corpus_of(torch.from_numpy(corpus.tokens[:2])), EMPTY, DropScanParams(splits=0))
    scores = {f"{part[0]}{i}": getattr(getattr(scan, part), name)[i] for part in ("attention", "mlp") for i in range(LAYERS)}
    (place,) = by(found, name)
    assert found.plans[place] == str(parse(",".join(sorted(scores, key=scores.get)[:2])))
    assert found.spent[name] == {"length": 2, "gradient": 8, "gradient_size": 8}[name]
