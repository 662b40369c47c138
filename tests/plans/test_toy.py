"""A new operation is one file and one row: `tests.plans.toy` is put into the registry, and nothing else is changed.

The row comes after everything was imported, so whoever copied the registry at import would not know of it.
"""

import json
import shlex

import pytest
import torch

from charts.deviation.tried import tried
from models.subject import ModelRef
from plans import registry
from plans.cut import Calibrated, cut
from plans.exports import FORMATS, Given
from plans.learn import calibrate, learn
from plans.operation import Shape
from plans.plan import EMPTY, Plan, parse
from probes.__main__ import _parser
from refusal import Refusal
from tests.models.tiny import TINY, tokens
from tests.plans.contract import LEARNED, TEXTS, Bench, combines, keeps
from tests.plans.toy import KIND, Scale
from texts.corpus import CorpusRef

HALF, ATTENTION = "s:0.5/mlp", "s:0.25/attention"


@pytest.fixture(scope="module")
def bench():
    return Bench()


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """The row, for the time of a test; texts that were read with it are forgotten."""
    monkeypatch.setitem(registry.OPERATIONS, KIND.name, KIND)
    yield
    parse.cache_clear()


def test_it_is_part_of_plan_texts():
    toy = Scale(0.5, "mlp")
    plan = parse(" S:0.50/mlp k:0.5/0.5; a1,w:wanda@0.5")
    assert str(plan) == "a1,w:wanda@0.5,k:0.5/0.5,s:0.5/mlp" and parse(str(plan)) == plan
    assert plan.of(Scale) == toy and plan.operations[-1] is plan.of(Scale)
    assert plan - parse(HALF) == parse("a1,w:wanda@0.5,k:0.5/0.5") and plan - EMPTY == plan
    assert parse("a1") | Plan((toy,)) == Plan((toy,)) | parse("a1") == parse("a1,s:0.5/mlp")
    assert str(parse(HALF) | parse(ATTENTION)) == ATTENTION and parse(HALF) - parse(ATTENTION) == parse(HALF)
    assert not parse("s:1/mlp") and not parse(HALF) - parse(HALF)
    assert [str(op) for op in plan.learning] == ["w:wanda@0.5", "k:0.5/0.5", HALF] and plan.at_once == parse("a1")
    assert plan.before(toy) == parse("a1,w:wanda@0.5,k:0.5/0.5") and plan.touches(0, "mlp")
    assert parse(HALF).sentence() == "scales what mlp adds by 0.5"
    assert parse(f"b0,{HALF}").sentence(Shape(5)) == "removes layer 0; scales what mlp adds by 0.5"


def test_without_its_row_nobody_knows_it(monkeypatch):
    monkeypatch.delitem(registry.OPERATIONS, KIND.name)
    with pytest.raises(Refusal, match=r"'s:0\.5/mlp' is not part of a plan") as refused:
        parse(HALF)
    assert "addends" not in str(refused.value) and "s:0.5" not in registry.help_text() + registry.placeholder()


@pytest.mark.parametrize(
    ("typo", "says"),
    [
        ("x3", "s:0.5/mlp for what MLPs add, halved"),
        ("s:0.5", "'s:0.5' is not part of a plan"),
        ("s:2/mlp", "A scale of 2 is none"),
        (f"{HALF},{ATTENTION}", "at most one item 's:': 's:0.5/mlp' or 's:0.25/attention'"),
    ],
)
def test_refusals_speak_of_it(typo, says):
    with pytest.raises(Refusal, match=says):
        parse(typo)


def test_help_and_placeholder_speak_of_it():
    assert registry.help_text().endswith(" · s:0.5/mlp: what MLPs add, halved")
    assert registry.placeholder() == "a25,w:wanda@0.5,k:0.25/0.5,s:0.5/mlp"
    assert "s:0.5/mlp" in _parser().format_help()
    assert parse(registry.placeholder()), "the placeholder is a plan"


@pytest.mark.parametrize("kind", [*registry.OPERATIONS.values(), KIND], ids=lambda kind: kind.name)
def test_forms_are_data_that_make_the_plan_they_are_read_from(kind):
    """Of every operation that has a form: what is chosen is written, and what is written is read."""
    assert bool(kind.fields) == (kind.written is not None) == (kind.read is not None)
    for item, _ in kind.examples:
        (operation,) = parse(item).operations
        assert operation.name == kind.name
        if kind.fields:
            values = kind.read(operation)
            assert values.keys() == {field.name for field in kind.fields}
            assert parse(kind.written(values)) == Plan((operation,))
    if kind.fields:
        defaults = {field.name: field.default for field in kind.fields}
        first = kind.fields[0]
        assert defaults[first.name] == first.options[0] and parse(kind.written(defaults)) == EMPTY
        for field in kind.fields:
            assert field.default in field.options and set(field.labels) <= {*field.options, "1"} and field.label and field.help
            for option in field.options:
                chosen = defaults | {first.name: first.options[1], field.name: option}
                plan = parse(kind.written(chosen))
                assert not plan or parse(kind.written(kind.read(plan.operations[0]))) == plan


@pytest.mark.parametrize("text", [HALF, ATTENTION])
@pytest.mark.parametrize("name", TINY)
def test_it_keeps_the_contract(bench, name, text):
    keeps(bench, name, text)


@pytest.mark.parametrize("other", TEXTS)
@pytest.mark.parametrize("name", ["llama", "opt", "mixtral", "bloom"])
def test_it_combines(bench, name, other):
    combines(bench, name, HALF, TEXTS[other][0])


def test_it_learns_from_the_text_on_what_is_before_it(bench):
    subject = bench.subject("llama")
    alone, after = (calibrate(subject, parse(text), LEARNED).learned["toy"] for text in (HALF, f"b1,w:wanda@0.5,{HALF}"))
    assert list(alone) == ["0", "1", "2", "3", "4"] and list(after) == ["0", "2", "3", "4"]
    view, held = cut(subject), []
    view.layers[3].mlp.register_forward_hook(lambda module, args, output: held.append(output.double().mean().item()))
    view.logits(LEARNED)
    assert alone["3"]["mean"] == pytest.approx(held[0], abs=1e-7)
    assert after["3"]["mean"] != pytest.approx(alone["3"]["mean"], abs=1e-4)
    told = []
    for known in (alone, {"0": alone["0"]}):
        again = {}
        learn(
            subject,
            parse(ATTENTION).operations[0],
            Calibrated(EMPTY),
            tokens(),
            known,
            again.__setitem__,
            lambda *_: told.append(1),
        )
    assert len(again) == 5 and len(told) == 2, "what is known in full is not learned again"


def test_cutting_scales_what_it_says(bench):
    """Half of the last matrix: what MLPs add is halved but for its bias."""
    subject, plan = bench.subject("llama"), parse(f"m1,{HALF}")
    with pytest.raises(Refusal, match="calibrate it first"):
        cut(subject, plan)
    view = cut(subject, calibrate(subject, plan, LEARNED))
    for layer in (0, 2, 3, 4):
        dense, scaled = subject.model.model.layers[layer].mlp.down_proj, view.layers[layer].mlp.down_proj
        assert torch.equal(scaled.weight, dense.weight / 2) and scaled.bias is dense.bias
    assert bench.made["llama"][1]["model.layers.0.mlp.down_proj.weight"].equal(
        subject.model.model.layers[0].mlp.down_proj.weight
    )


def test_a_refusal_of_its_own_is_everybodys():
    with pytest.raises(Refusal, match="A toy is not for 30 layers"):
        parse(f"a1,{HALF}").checked(Shape(30))


def test_exports_spell_it_out_or_say_that_they_cannot():
    def written(name):
        return FORMATS[name].write(Given(ModelRef("owner/model"), 5, parse(f"b3,{HALF}"), CorpusRef()))

    own = json.loads(written("PruneScope"))
    assert own["operations"] == {"toy": {"text": HALF, "share": 0.5, "part": "mlp"}}
    assert own["plan"] == f"b3,{HALF}" and own["says"].endswith("scales what mlp adds by 0.5")
    assert f"b3,{HALF}" in shlex.split(written("Shell"))
    for name in ("mergekit", "LLM-Drop", "llama.cpp"):
        assert written(name) is None and FORMATS[name].cannot.endswith(".")


def test_charts_have_a_colour_for_it():
    row = {"plan": HALF, "parameters": 1.0, "kl": 0.1, "perplexity": 20.0, "dense_perplexity": 10.0}
    names = {trace.name for trace in tried([row, row | {"plan": "b1"}]).data}
    assert "Scale addends only" in names
