"""What every operation promises, as functions that take a subject and the text of a plan."""

from contextlib import contextmanager

import pytest
import torch

from models.anatomy import anatomy
from plans.cost import cost, shape_of
from plans.cut import Calibrated, cut
from plans.drops import Drops
from plans.learn import calibrate
from plans.plan import EMPTY, Plan, parse
from plans.registry import OPERATIONS
from refusal import Refusal
from tests.models.tiny import tiny_model, tokens
from tests.probes.subjects import subject_of

ALL_ATTENTION = "a0,a1,a2,a3,a4"
# By name of the operation; the first one stands for it where operations are combined.
TEXTS = {
    "drops": ("a0,m2,b3", "a0", "b0", ALL_ATTENTION, "b0-4"),
    "weights": ("w:wanda@0.5", "w:sparsegpt@0.5", "w:magnitude@0.3/attention", "w:wanda@2:4/mlp"),
    "keys": ("k:0.25/0.5", "k:1/0.125"),
}
WHOLE = ("k:0.25/0.5/loki", "k:1/0.125/loki")  # keep all of it but that decoding equals the full forward
LEARNED = tokens(2, 9)
IDS = tokens(1, 8)  # longer than the sliding windows of the tiny models


class Bench:
    """Tiny subjects, each made once, with what their weights were."""

    def __init__(self):
        self.made, self.seen = {}, {}

    def subject(self, name):
        """The subject of a family."""
        if name not in self.made:
            subject = subject_of(tiny_model(name))
            self.made[name] = subject, state(subject.model), anatomy(subject)
        return self.made[name][0]

    def anatomy(self, name):
        """Its anatomy."""
        self.subject(name)
        return self.made[name][2]

    def logits(self, name, text):
        """What a family says with a plan, computed once."""
        if (name, text) not in self.seen:
            subject = self.subject(name)
            self.seen[name, text] = cut(subject, calibrate(subject, parse(text), LEARNED)).logits(IDS)
        return self.seen[name, text]

    @contextmanager
    def untouched(self, name):
        """Check that what happens here leaves the dense model as it was, bit for bit."""
        self.subject(name)
        subject, before, _ = self.made[name]
        objects = {key: id(weight) for key, weight in subject.model.named_parameters()}
        yield
        assert {key: id(weight) for key, weight in subject.model.named_parameters()} == objects
        after = state(subject.model)
        assert after.keys() == before.keys() and all(torch.equal(weight, before[key]) for key, weight in after.items())
        hooks = ("_forward_hooks", "_forward_pre_hooks", "attention_rule")
        assert not any(getattr(module, hook, None) for module in subject.model.modules() for hook in hooks)


def state(model):
    """Every parameter and buffer, copied."""
    return {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def stays(dense, plan):
    """Why a family refuses a plan; empty: it does not."""
    try:
        plan.checked(shape_of(dense))
    except Refusal as refused:
        return str(refused)
    return ""


def refuses(subject, dense, plan):
    """Whether a family refuses a plan; then whoever is asked says the same, before anything is learned."""
    why = stays(dense, plan)
    if not why:
        return False

    def never(*told):
        raise AssertionError("it began to learn")

    for ask in (
        lambda: cut(subject, plan),
        lambda: calibrate(subject, plan, LEARNED, never),
        lambda: cost(subject, plan, dense),
    ):
        with pytest.raises(Refusal) as refused:
            ask()
        assert str(refused.value) == why
    return True


def parses_back(text):
    """One plan, one text."""
    plan = parse(text)
    assert str(plan) == text and parse(str(plan)) == plan and plan
    assert plan.sentence() and not (plan - plan) and plan | plan == plan
    assert EMPTY | plan == plan | EMPTY == plan - EMPTY == plan
    return plan


@torch.inference_mode()
def decodes(view, text, full=True):
    """Cached decoding, the prompt in parts and then token by token, gives what the full forward gives, if it has to.

    Returns
    -------
    tensor, int
        The logits, and the bytes that the cache held after one token.
    """
    whole, cache = view.logits(IDS), view.cache()
    assert whole.shape == (1, 8, 97) and whole.isfinite().all()
    if cache is None:
        assert not view.attentions
        return whole, 0
    steps = [view.logits(IDS[:, :1], cache)]
    size = sum(each.nbytes for layer in cache.layers for each in (layer.keys, layer.values))
    for begin, end in ((1, 5), (5, 6), (6, 7), (7, 8)):
        steps.append(view.logits(IDS[:, begin:end], cache))
    assert len(cache.layers) == len(view.attentions) and cache.get_seq_length() == 8
    if full:
        torch.testing.assert_close(torch.cat(steps, 1), whole, atol=5e-5, rtol=1e-5, msg=text)
    return whole, size


def held(subject, view):
    """Parameters, zeros that are none in the dense model, and bytes of a view, counted on what is there."""
    weights = {id(weight): weight for weight in view.model.parameters()}.values()
    return {
        "parameters": sum(weight.numel() for weight in weights),
        "zeros": sum(int(((new == 0) & (dense != 0)).sum()) for new, dense in replaced(subject, view)),
        "bytes": sum(weight.nbytes for weight in weights),
    }


def replaced(subject, view):
    """Pairs of a view's weight and the dense one, of those in the blocks that are not the same object."""
    blocks = subject.model.get_submodule(subject.family.layers)
    for place, layer in enumerate(view.blocks):
        dense = dict(blocks[layer].named_parameters())
        for name, weight in view.layers[place].named_parameters():
            if weight is not dense[name]:
                yield weight, dense[name]


def costs(subject, dense, plan, view, cache_bytes):
    """The cost of a plan, told before it has learned anything, is what its view holds."""
    told = cost(subject, plan, dense)
    expected = held(subject, view) | {"cache_bytes": cache_bytes}
    assert {name: getattr(told, name) for name in expected} == expected, plan
    assert 0 < told.multiply_adds <= dense.multiply_adds
    if not plan.of(Drops):
        assert (told.parameters, told.multiply_adds) == (dense.parameters, dense.multiply_adds)


def keeps(bench, name, text):
    """All of it, of one plan and one family; a plan that is refused must be refused well."""
    subject, dense, plan = bench.subject(name), bench.anatomy(name), parses_back(text)
    with bench.untouched(name):
        if refuses(subject, dense, plan):
            return
        learned = calibrate(subject, plan, LEARNED)
        assert set(learned.learned) == {op.name for op in plan.learning}
        view = cut(subject, learned)
        logits, cache_bytes = decodes(view, f"{name} {text}", full=text not in WHOLE)
        costs(subject, dense, plan, view, cache_bytes)
        bench.seen[name, text] = logits
        assert not torch.equal(bench.logits(name, ""), logits), f"{name} {text} changed nothing"
        assert any(plan.touches(layer, part) for layer in range(5) for part in ("attention", "mlp"))


def combines(bench, name, one, other):
    """Two operations make one plan, whatever is written first; putting one back leaves the view of the other."""
    subject, dense = bench.subject(name), bench.anatomy(name)
    first, second = parse(one), parse(other)
    both = first | second
    assert both == second | first == parse(f"{other},{one}") == parse(str(both))
    assert [op.name for op in both.operations] == [kind for kind in OPERATIONS if kind in (operation(one), operation(other))]
    assert both - second == first and both - first == second and (both - second) | second == both
    with bench.untouched(name):
        if refuses(subject, dense, both):
            assert stays(dense, first) or stays(dense, second)
            return
        learned = calibrate(subject, both, LEARNED)
        view = cut(subject, learned)
        logits, cache_bytes = decodes(view, f"{name} {both}")
        costs(subject, dense, both, view, cache_bytes)
        assert not any(torch.equal(logits, bench.logits(name, text)) for text in ("", one, other))
        early = both.operations[0]  # what it learns does not depend on the other one
        undone = cut(subject, Calibrated(both - Plan(both.operations[1:]), learned.learned))
        assert torch.equal(undone.logits(IDS), bench.logits(name, str(early)))


def operation(text):
    """The name of the only operation of a plan."""
    (only,) = parse(text).operations
    return only.name
