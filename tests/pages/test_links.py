"""The sidebar is the address: a link restores the view, a wrong one is told, and the plan can be undone."""

import json

import pytest

from tests.pages.visitor import Visitor


def test_a_link_restores_model_text_and_plan(tiny_folder):
    visitor = Visitor(
        "drop_lab", model=tiny_folder, dtype="bfloat16", device="cpu", corpus="python-docs", windows=3, length=64,
        bos="true", plan="a1,b2-3", revision="v1",
    )  # fmt: skip
    state = visitor.at.session_state
    assert [state[name] for name in ("model", "dtype", "device", "corpus", "revision")] == [
        str(tiny_folder), "bfloat16", "cpu", "python-docs", "v1",
    ]  # fmt: skip
    assert (state["windows"], state["length"], state["bos"], state["plan"]) == (3, 64, True, "a1,b2-3")
    visitor.click("load_here").wait()
    assert visitor.subject.ref.dtype == "bfloat16"
    [strip] = visitor.at.get("bidi_component")
    assert json.loads(strip.proto.json)["dropped"] == {"attention": [1, 2, 3], "mlp": [2, 3]}


def test_a_link_without_anything_has_the_defaults():
    state = Visitor(corpus=None).at.session_state
    assert (state["model"], state["corpus"], state["windows"], state["length"], state["plan"]) == (
        "bundled", "prose", 8, 512, "",
    )  # fmt: skip


@pytest.mark.parametrize("loaded", [False, True])
def test_prompt_and_settings_are_in_the_link_too(visit, loaded):
    if loaded:
        visit()
    visitor = visit("drop_lab", prompt="the capital", answer_length=5, temperature=0.5, seed=7, chat="false")
    state = visitor.at.session_state
    found = [state[name] for name in ("prompt", "answer_length", "temperature", "seed", "chat")]
    assert found == ["the capital", 5, 0.5, 7, False]


@pytest.mark.parametrize(
    "name, given, taken",
    [
        ("dtype", "int4", "auto"),
        ("device", "tpu", "auto"),
        ("windows", "0", 8),
        ("windows", "many", 8),
        ("length", "-5", 512),
        ("windows", "nan", 8),
        ("bos", "perhaps", False),
    ],
)
def test_a_value_of_a_link_that_is_not_possible_is_told(name, given, taken):
    visitor = Visitor(**{name: given})
    assert visitor.at.session_state[name] == taken
    assert any(f"{name}={given}" in each.value for each in visitor.at.warning)


@pytest.mark.parametrize(
    "page, name, given, taken",
    [
        ("drop_lab", "temperature", "99", 0.0),
        ("drop_lab", "answer_length", "many", 64),
        ("drop_lab", "speed_batch", "0", 1),
        ("compare", "compare_length", "0", 64),
        ("decide", "search_share", "99", 25.0),
    ],
)
def test_a_setting_of_a_page_that_is_not_possible_is_told(visit, page, name, given, taken):
    visit()
    visitor = visit(page, **{name: given})
    assert visitor.at.session_state[name] == taken
    assert any(f"{name}={given}, which is not valid" in each.value.replace("\\", "") for each in visitor.at.warning)


def test_a_number_may_be_written_otherwise_in_a_link(visit):
    visit()
    assert not visit("drop_lab", temperature="1").at.warning and not visit("decide", search_share="20").at.warning


@pytest.mark.parametrize(
    "name, says", [("/nowhere/a.txt", "cannot be read"), ("text:gone", "not kept"), ("pros", "no text 'pros'")]
)
def test_a_text_of_a_link_that_does_not_exist_is_told_on_every_page(visit, name, says):
    for page in ("model", "similarity", "drop_lab", "storage"):
        assert any(says in each for each in visit(page, corpus=name).errors()), page


@pytest.mark.parametrize("page", ["model", "similarity", "drop_lab", "storage"])
def test_a_plan_of_a_link_with_a_typo_is_told(visit, page):
    visitor = visit(page, plan="a1,x9") if page != "storage" else Visitor("storage", plan="a1,x9")
    assert any("'x9' is not part of a plan" in each for each in visitor.errors())


def test_undo_redo_and_clear(visit):
    visitor = visit("drop_lab")
    for plan in ("a1", "a1,m2", "a1,m2,b3"):
        visitor.at.text_input(key="plan").set_value(plan).run()
    assert visitor.click("undo").plan == "a1,m2"
    assert visitor.click("undo").plan == "a1"
    assert visitor.click("redo").plan == "a1,m2"
    assert visitor.click("clear").plan == ""
    assert visitor.click("undo").plan == "a1,m2"


def test_a_new_plan_after_an_undo_forgets_what_was_undone(visit):
    visitor = visit("drop_lab")
    for plan in ("a1", "a2"):
        visitor.at.text_input(key="plan").set_value(plan).run()
    visitor.click("undo")
    visitor.at.text_input(key="plan").set_value("m3").run()
    assert visitor.at.button(key="redo").disabled
    assert visitor.click("undo").plan == "a1"
    assert visitor.click("undo").plan == ""
    assert visitor.at.button(key="undo").disabled


def test_the_plan_goes_along_to_other_pages(visit):
    visitor = visit("drop_lab")
    visitor.at.text_input(key="plan").set_value("a1,m2").run()
    for page in ("similarity", "storage", "model", "drop_lab"):
        assert visitor.go(page).plan == "a1,m2"
    assert visitor.click("undo").plan == ""


def test_what_is_loaded_is_told_on_every_page(visit):
    visitor = visit()
    for page in ("similarity", "drop_lab", "storage", "model"):
        assert f"**{visitor.ref.name}** is in memory · 4 layers · float32 · cpu" in visitor.go(page).texts()


def test_the_app_may_be_started_from_any_folder(visit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for page in ("model", "similarity", "storage"):
        visit(page).whole()


@pytest.mark.parametrize(
    "name, given, told",
    [("windows", "1e309", "+1e308"), ("length", "-inf", "-1e308"), ("windows", "9" * 5000, "+1e308")],
    ids=range(3),
)
def test_a_number_of_a_link_that_no_computer_holds_is_told(name, given, told):
    visitor = Visitor(**{name: given})
    assert visitor.at.session_state[name] == {"windows": 8, "length": 512}[name]
    assert any(f"{name}={told}, which is not valid" in each.value for each in visitor.at.warning)


@pytest.mark.parametrize("plan", ["a" + "9" * 5000, "w:wanda@2:" + "9" * 5000], ids=range(2))
def test_a_plan_of_a_link_with_thousands_of_digits_is_told(plan):
    assert any("is not part of a plan" in each for each in Visitor(plan=plan).errors())


@pytest.mark.parametrize("model", ["x" * 3000, "nul\0", "/" + "x" * 900, ".."], ids=range(4))
def test_a_name_of_a_link_that_no_model_has_is_told(model):
    visitor = Visitor(model=model)
    visitor.click("load").wait()
    assert visitor.errors()
