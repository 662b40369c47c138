"""A comparison as a value: columns as lines, kept once, found by its link, and a damaged row told."""

from dataclasses import replace

import pytest

from cache.codec import decode, encode
from cache.store import Store
from models.subject import ModelRef
from plans.plan import parse
from probes.generation.answers import AnswersParams
from probes.generation.comparison import Column, Comparison, columns_of, found, keep
from refusal import Refusal
from tests.cache.stores import paths, replaced
from texts.corpus import CorpusRef
from texts.prompts import prompts_of

HERE = ModelRef("some/model", "main", "float32", "cpu")


def made(text="a1\nm2", **given):
    return Comparison(columns_of(text, HERE), AnswersParams(), CorpusRef(), **given)


@pytest.mark.parametrize(
    ("line", "plan", "name"),
    [
        ("a3,m3", "b3", "some/model"),
        ("w:wanda@0.5", "w:wanda@0.5", "some/model"),
        ("w:wanda@0.5 @ an/other", "w:wanda@0.5", "an/other"),
        ("@ an/other", "", "an/other"),
        ("dense @ an/other", "", "an/other"),
        ("a1 @an/other", "a1", "an/other"),
    ],
)
def test_a_line_is_a_plan_and_a_model(line, plan, name):
    dense, column = columns_of(f"\n {line} \n", HERE)
    assert dense == Column(HERE)
    assert (column.plan, column.model.name) == (plan, name)
    assert (column.model.dtype, column.model.device) == ("float32", "cpu")
    assert column.model.revision == ("main" if name == "some/model" else None)


def test_names_say_the_model_only_where_there_are_several():
    assert made().names == ["dense", "a1", "m2"]
    assert made("a1 @ an/other").names == ["dense @ some/model", "a1 @ an/other"]


def test_its_link_is_its_content():
    one = made(title="one", by="ann")
    assert one.id == made(title="two", by="bob").id
    assert one.id != made("a1").id != replace(made("a1"), params=AnswersParams(length=3)).id


def test_it_is_kept_once_and_found_as_it_was(tmp_path):
    store, one = Store(tmp_path), made("a1\nw:wanda@0.5 @ an/other", title="one", by="ann")
    assert keep(store, one) == keep(store, replace(one, title="two")) == one.id
    back = found(store, one.id)
    assert replace(back, created=0.0) == one and back.created > 0
    assert len(store.entries()) == 1


@pytest.mark.parametrize("name", ["", "nothing", "../../etc/passwd", "\0", "x" * 10_000])
def test_a_link_to_nothing_is_told(tmp_path, name):
    with pytest.raises(Refusal, match="no comparison"):
        found(Store(tmp_path), name)


@pytest.mark.parametrize(
    "payload", [b"", b"PK", encode({}), encode({"comparison": 3}), encode({"comparison": {"columns": []}})]
)
def test_a_damaged_one_is_told(tmp_path, payload):
    store = Store(tmp_path)
    store.put("id", payload, {})
    with pytest.raises(Refusal, match="damaged"):
        found(store, "id")


def test_any_value_of_a_wrong_type_is_told_or_is_none(tmp_path):
    """What is found can be asked and drawn, whatever somebody planted."""
    store, whole = Store(tmp_path), made("a1\nm2")
    keep(store, whole)
    given = decode(store.read(whole.id).payload)
    told = 0
    for path in paths(given):
        for wrong in (None, 3, -1.5, "x9", [], {}, True, float("inf")):
            store.put("id", encode(replaced(given, path, wrong)), {})
            try:
                back = found(store, "id")
                assert parse(back.columns[1].plan) is not None and len(back.names) == len(back.questions)
                assert isinstance(back.title + back.by, str) and back.created + 1 and prompts_of(back.params.prompts)
            except Refusal as refusal:
                told += "damaged" in str(refusal)
    assert told > 100
