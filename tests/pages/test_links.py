"""The sidebar is the address: a link restores the view, a wrong one is told, and the plan can be undone."""

import ast
import json

import pytest

from pages.levels.plans import MORE
from pages.shell.link import SETTINGS
from pages.shell.state import KEPT
from tests.pages.visitor import APP, Visitor, unmarked

BOUND = {"bind='query-params'", "**KEPT", "**shell.KEPT"}
# Functions that make the name of a bound field out of what they are given: its place among the arguments, and what follows it.
NAMED_BY = {"_choice": (3, ""), "base_plan": (0, "_base"), "shell.tabs": (0, "")}
# Modules whose fields' names are in a table.
TABLED = {"pages/levels/plans.py": {*MORE}, "pages/keys/low_rank.py": {"dims", "top"}}


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
    assert any(f"{name}={given}, which is not possible here" in each.value.replace("\\", "") for each in visitor.at.warning)


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
    assert any(f"{name}={told}, which is not possible here" in each.value for each in visitor.at.warning)


@pytest.mark.parametrize("plan", ["a" + "9" * 5000, "w:wanda@2:" + "9" * 5000], ids=range(2))
def test_a_plan_of_a_link_with_thousands_of_digits_is_told(plan):
    assert any("is not part of a plan" in each for each in Visitor(plan=plan).errors())


@pytest.mark.parametrize("model", ["x" * 3000, "nul\0", "/" + "x" * 900, ".."], ids=range(4))
def test_a_name_of_a_link_that_no_model_has_is_told(model):
    visitor = Visitor(model=model)
    visitor.click("load").wait()
    assert visitor.errors()


def bound(call):
    """The name of a field that a link can set, as an expression; None: the call draws no such field."""
    keywords = {each.arg: each.value for each in call.keywords if each.arg}
    written = {(f"{each.arg}=" if each.arg else "**") + ast.unparse(each.value) for each in call.keywords}
    return keywords.get("key") if written & BOUND else None


def names_in(path, module):
    """Names that a link can set, in a module of the pages; those that are no text in it are left out, and counted."""
    found, unread = set(), 0
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            key, called = bound(node), ast.unparse(node.func)
            if isinstance(key, ast.Constant):
                found.add(key.value)
            elif key is not None:
                unread += 1
            if called in NAMED_BY and len(node.args) > NAMED_BY[called][0]:
                place, ending = NAMED_BY[called]
                found.add(node.args[place].value + ending)
            if called == "st.query_params.get" and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "st.query_params":
            found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
    return found | TABLED.get(path, set()), unread


def test_every_name_that_a_link_can_set_is_known():
    root, found, unread = APP.parent, set(), {}
    assert KEPT["bind"] == "query-params"
    for path in [root / "app.py", *root.glob("pages/**/*.py")]:
        name = path.relative_to(root).as_posix()
        names, unread[name] = names_in(name, ast.parse(path.read_text(encoding="utf-8")))
        found |= names
    assert found == SETTINGS
    # One field each whose name is no text: a new one needs its line above, or what a link says of it would be called unknown.
    assert {name for name, count in unread.items() if count} == {
        *TABLED, "pages/levels/steps.py", "pages/shell/begin.py", "pages/shell/skeleton.py",
    }  # fmt: skip
    assert max(unread.values()) == 1


@pytest.mark.parametrize(
    "given, says",
    [
        ({"windws": 2}, "a setting that PruneScope does not know: windws. It is ignored."),
        ({"b<b>": 1, "a": 1}, "settings that PruneScope does not know: a, b<b>. They are ignored."),
        ({"x" * 900: 1}, f"does not know: {'x' * 40}…. It is ignored."),
    ],
    ids=range(3),
)
@pytest.mark.parametrize("page", ["model", "similarity", "drop_lab"])
def test_a_setting_of_a_link_that_no_page_knows_is_told_once(page, given, says):
    visitor = Visitor(page, **given)
    assert [says in unmarked(each.value) for each in visitor.at.warning] == [True]
    assert not set(given) & set(visitor.at.query_params)
    assert not visitor.look().at.warning


def test_settings_of_other_pages_are_not_told(visit):
    visit()
    assert not visit("drop_lab", step=3, search_share=20, comparison="x", tour_step="2", take_plan="a1").at.warning


@pytest.mark.parametrize(
    "name, given, taken", [("drift_steps", "5000", 32), ("drift_steps", "many", 32), ("chat_turn", "x", True)]
)
def test_what_a_link_inside_the_app_brings_and_a_field_does_not_take_is_told(visit, name, given, taken):
    visit()
    visitor = visit("deviation", plan="a1", **{f"take_{name}": given})
    assert f"take_{name}" not in visitor.at.query_params and visitor.at.session_state[name] == taken
    assert [f"{name}={given}, which is not possible here" in unmarked(each.value) for each in visitor.at.warning] == [True]
