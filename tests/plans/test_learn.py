"""What plans learn from a text: in which order, in pieces, and taken up again where it was interrupted."""

import gc

import numpy as np
import pytest
import torch

from models.linears import linears
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import Calibrated, cut
from plans.learn import calibrate, learn
from plans.plan import EMPTY, parse
from plans.weights import prune as pruning
from plans.weights.prune import prune
from plans.weights.sparsity import Sparsity
from refusal import Refusal
from tests.models.tiny import LAYERS, tiny_model, tokens
from tests.plans.contract import state
from tests.probes.subjects import subject_of

METHODS = ("w:wanda@0.5", "w:sparsegpt@0.5", "w:magnitude@0.5", "w:wanda@2:4/mlp")
FAMILIES = ("llama", "gpt2", "mixtral", "gemma2")
IDS = tokens(3, 10)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder)))


@pytest.fixture(scope="module")
def subjects():
    """A subject of each family, made once."""
    return {name: subject_of(tiny_model(name)) for name in FAMILIES}


def same(one, other):
    """Whether two pieces are the same to the last bit, with the same types."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


def pieces_of(subject, text, known=None, progress=lambda *_: None):
    """What the last operation of a plan learns, on those before it; ``known`` is not learned again."""
    plan, kept = parse(text), {}
    operation = plan.operations[-1]
    before = calibrate(subject, plan.before(operation), IDS)
    learn(subject, operation, before, IDS, known or {}, kept.__setitem__, progress)
    return kept


# In which order


@pytest.mark.parametrize(
    "plan", ["w:wanda@0.5", "w:magnitude@2:4/mlp", "a1,w:sparsegpt@0.5", "b2,k:0.25/0.5", "w:wanda@0.5,k:0.5/0.5"]
)
def test_a_plan_is_applied_as_if_each_operation_had_learned_by_hand(subject, plan):
    plan, learned, before = parse(plan), {}, EMPTY
    for operation in plan.operations:
        if operation.basis() is not None:
            operation.basis().learn(
                cut(subject, Calibrated(before, dict(learned))), IDS, {}, learned.setdefault(operation.name, {}).__setitem__,
                lambda *_: None,
            )  # fmt: skip
        before = before.put(operation)
    expected = cut(subject, Calibrated(plan, learned)).logits(IDS)
    assert torch.equal(cut(subject, calibrate(subject, plan, IDS)).logits(IDS), expected)
    assert not torch.equal(expected, cut(subject, plan.at_once).logits(IDS))


def test_weights_are_pruned_on_the_model_with_the_drops(subject):
    """Layer 3 is given something else without the attention of layer 0, so other weights of it go."""
    whole, dropped = (calibrate(subject, parse(plan), IDS).learned["weights"] for plan in ("w:wanda@0.5", "a0,w:wanda@0.5"))
    assert (whole["3"]["mlp.gate_proj"]["kept"] != dropped["3"]["mlp.gate_proj"]["kept"]).any()
    assert any(name.startswith("self_attn") for name in whole["0"])
    assert not any(name.startswith("self_attn") for name in dropped["0"]) and dropped.keys() == whole.keys()


def test_the_basis_is_that_of_the_pruned_model(subject):
    one, other = (calibrate(subject, parse(plan), IDS).learned for plan in ("k:0.5/0.5", "w:magnitude@0.7,k:0.5/0.5"))
    assert set(one["keys"]) == {"0", "1", "2", "3"} and "weights" not in one and other["weights"]
    assert not np.allclose(np.abs(one["keys"]["3"]["basis"]), np.abs(other["keys"]["3"]["basis"]), atol=1e-3)


def test_what_is_learned_serves_every_amount_of_it(subject):
    """How many directions and keys are used changes nothing of what is learned."""
    one, other = (calibrate(subject, parse(plan), IDS).learned["keys"] for plan in ("k:0.25/0.5", "k:1/0.125"))
    assert same(one, other)


def test_a_plan_of_drops_learns_nothing(subject):
    assert calibrate(subject, parse("a1,b2"), IDS, lambda *_: pytest.fail("it looked at the text")).learned == {}


# What is refused


@pytest.mark.parametrize("plan", ["w:wanda@0.5", "a1,k:0.5/0.5"])
def test_a_plan_that_was_not_calibrated_cannot_be_applied(subject, plan):
    for given in (parse(plan), Calibrated(parse(plan))):
        with pytest.raises(Refusal, match=f"The plan {plan} learns from a text before .* calibrate it first"):
            cut(subject, given)


def test_a_plan_for_which_nothing_was_learned_is_not_the_dense_model(subject):
    for plan, name, says in (
        ("w:wanda@0.5", "weights", "prunes weights, but nothing was learned"),
        ("k:0.5/0.5", "keys", "directions of the keys"),
    ):
        with pytest.raises(Refusal, match=says):
            cut(subject, Calibrated(parse(plan), {name: {}}))


def test_one_operation_alone_keeps_what_it_learned(subject):
    learned = calibrate(subject, parse("a1,w:wanda@0.5,k:0.5/0.5"), IDS)
    alone = learned.alone("weights")
    assert alone.plan == parse("w:wanda@0.5")
    assert same(dict(alone.learned["weights"]), dict(learned.learned["weights"]))
    assert cut(subject, alone).attentions == (0, 1, 2, 3)


# Interrupted, and taken up again


@pytest.mark.parametrize("text", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_interrupted_after_any_block_it_is_taken_up_there(subjects, monkeypatch, name, text):
    subject, chosen = subjects[name], []
    plain = pruning._pruned

    def noted(linear, full, *more):
        chosen.append(full)
        return plain(linear, full, *more)

    monkeypatch.setattr(pruning, "_pruned", noted)
    whole = pieces_of(subject, text)
    every = list(chosen)
    for done in range(LAYERS):
        known = {}

        def stop(*told, known=known, done=done):
            if len(known) == done:
                raise Interrupted

        with pytest.raises(Interrupted):
            learn(subject, parse(text).operations[0], Calibrated(EMPTY), IDS, {}, known.__setitem__, stop)
        assert list(known) == [str(layer) for layer in range(done)]
        chosen.clear()
        rest = pieces_of(subject, text, known)
        assert list(rest) == [str(layer) for layer in range(done, LAYERS)]
        assert same(known | rest, whole), f"{name} {text}, {done} blocks known"
        assert chosen == every[-len(chosen) :] and len(chosen) == len(every) * (LAYERS - done) // LAYERS


@pytest.mark.parametrize("text", METHODS)
def test_blocks_in_between_are_learned_alone(subjects, text):
    """The store may forget any piece."""
    whole = pieces_of(subjects["llama"], text)
    for lost in ({"0"}, {"4"}, {"1", "3"}):
        rest = pieces_of(subjects["llama"], text, {layer: piece for layer, piece in whole.items() if layer not in lost})
        assert set(rest) == lost and all(same(piece, whole[layer]) for layer, piece in rest.items())


def test_with_drops_the_pieces_are_those_of_the_dense_layers(subjects):
    whole = pieces_of(subjects["llama"], "b1,a3,m4,w:wanda@0.5")
    assert list(whole) == ["0", "2", "3", "4"]
    rest = pieces_of(subjects["llama"], "b1,a3,m4,w:wanda@0.5", {layer: whole[layer] for layer in ("0", "3")})
    assert list(rest) == ["2", "4"] and all(same(piece, whole[layer]) for layer, piece in rest.items())


@pytest.mark.parametrize("text", [*METHODS, "k:0.5/0.5"])
def test_what_is_known_in_full_is_not_looked_at_again(subjects, text):
    subject, told = subjects["llama"], []
    whole = pieces_of(subject, text)
    runs = subject.model.model.embed_tokens.register_forward_hook(lambda *_: told.append("the model ran"))
    assert pieces_of(subject, text, whole, lambda *step: told.append(step)) == {}
    runs.remove()
    assert not told


# What it leaves


@pytest.mark.parametrize("text", ["w:sparsegpt@0.5,k:0.5/0.5", "w:wanda@2:4", "a0,w:magnitude@0.5"])
def test_the_dense_model_is_not_written_to(subject, text):
    before = state(subject.model)
    cut(subject, calibrate(subject, parse(text), IDS)).logits(IDS)
    assert all(torch.equal(weight, before[name]) for name, weight in state(subject.model).items())


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "magnitude"])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_block_at_most_is_pruned_beside_the_dense_ones(request, subjects, name, method, interrupt):
    """Whenever something is told, every block but the one that is worked on holds the dense weights themselves."""
    subject, sparsity = subjects[name], Sparsity(method, 0.5)
    view, pieces, sizes, most = cut(subject), {}, [], 0
    maps = [linears(block, view.family) for block in view.layers]
    dense = [[linear.weight for linear in inside] for inside in maps]
    theirs = {weight.untyped_storage().data_ptr() for weight in subject.model.parameters()}
    shapes = {tuple(weight.shape) for inside in dense for weight in inside}
    block = max(sum(weight.nbytes for weight in inside) for inside in dense)
    if interrupt:  # half of it is known, so it is put on and taken off again
        prune(cut(subject), IDS, sparsity, {}, pieces.__setitem__)
        pieces = {layer: pieces[layer] for layer in ("0", "2")}

    def alive():
        """Bytes of all pruned weights there are in the process, however they are held."""
        tensors = (each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter))
        found = (each for each in tensors if tuple(each.shape) in shapes and each.dtype == torch.float32)
        return sum(
            {at: s.nbytes() for s in (each.untyped_storage() for each in found) if (at := s.data_ptr()) not in theirs}.values()
        )

    def look(*told):
        nonlocal most
        pruned = [any(a.weight is not b for a, b in zip(*pair, strict=True)) for pair in zip(maps, dense, strict=True)]
        sizes.append(sum(pruned))
        most = max(most, alive())
        assert sum(pruned) <= 1, f"blocks {[i for i, each in enumerate(pruned) if each]} are pruned together"

    gc.collect()
    gc.freeze()  # what is there already is not looked through again
    request.addfinalizer(gc.unfreeze)
    before = alive()
    prune(view, IDS, sparsity, pieces, look, look)
    look()
    assert sizes[-1] == 0, "the view is not dense again"
    assert max(sizes) == 1 and 0 < most - before <= block
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in view.model.modules())
    with torch.inference_mode():
        assert torch.equal(view.logits(IDS), cut(subject).logits(IDS))
