"""Key rank: measure, choose a level and a head, compare texts, choose shares, measure the grid, on to the drop lab."""

import shutil

import pytest

from tests.models.tiny import tiny_model
from tests.pages.visitor import Visitor
from texts.corpus import keep_text, label


@pytest.fixture
def measured(visit):
    """The key rank page with its answer there."""
    return visit("key_rank").click("ask_key_rank").wait()


def numbers(visitor: Visitor) -> dict[str, str]:
    return {each.label: each.value for each in visitor.at.metric}


def pick(visitor: Visitor, chart: str, *values) -> Visitor:
    """Click a point of a chart that carries such values."""
    return visitor.select(chart, points=[{"customdata": [*values, "…"]}], point_indices=[0], box=[], lasso=[])


def value(visitor: Visitor, name: str):
    return visitor.at.session_state[name]


def cells(visitor: Visitor) -> int:
    """Cells of the grid."""
    return next(len(trace["x"]) for trace in visitor.figures()["grid"]["data"] if "customdata" in trace)


def test_the_chosen_layer_leads_to_its_drops(measured):
    pick(measured, "heads", 2, 1)
    assert "About layer 2:" in measured.texts() and "Its heads" not in measured.links()
    assert "What dropping it costs" in measured.links()
    assert measured.links()["The answer without its attention"] == "drop_lab?take_plan=a2"
    measured.at.number_input(key="layer").set_value(3).run()
    assert measured.links()["The answer without its block"] == "drop_lab?take_plan=b3"


def test_run_choose_a_level_click_a_head(visit):
    visitor = visit("key_rank")
    assert not visitor.figures() and visitor.has("ask_key_rank") and not visitor.has("ask_low_rank_attention")
    visitor.click("ask_key_rank").wait()
    assert set(visitor.figures()) == {"heads", "spectrum", "layers", "overlap"}
    assert "64 tokens in 2 windows" in visitor.texts() and "of 8." in visitor.texts()
    assert "the key directions that explain 90 % of the variance" in visitor.texts()

    rows = {(row["layer"], row["head"]): row["rank"] for row in visitor.table("participation ratio")}
    assert len(rows) == 8
    visitor.at.segmented_control(key="level").set_value("99").run()
    higher = {(row["layer"], row["head"]): row["rank"] for row in visitor.table("participation ratio")}
    assert all(higher[place] >= rank for place, rank in rows.items()) and sum(higher.values()) > sum(rows.values())
    assert float(numbers(visitor)["Rank of the keys"].split(" ")[0]) == pytest.approx(sum(higher.values()) / 8, abs=0.051)
    assert "Queries are counted at 90 % only" in visitor.texts()
    assert len(visitor.answers) == 1  # another level is another look, not another question

    before = visitor.figures()["spectrum"]
    assert (value(visitor, "layer"), value(visitor, "head")) == (0, 0)
    pick(visitor, "heads", 2, 1)
    assert (value(visitor, "layer"), value(visitor, "head")) == (2, 1)
    assert visitor.figures()["spectrum"]["data"] != before["data"]
    frames = visitor.figures()["heads"]["layout"]["shapes"]
    assert {(each["x0"], each["y0"]) for each in frames} == {(0.5, 1.5)}
    visitor.select("heads", points=[], point_indices=[], box=[], lasso=[])
    assert (value(visitor, "layer"), value(visitor, "head")) == (2, 1)


def test_a_link_restores_the_view(visit):
    visit("key_rank").click("ask_key_rank").wait()
    visitor = visit(
        "key_rank", level="95", layer=3, head=1, dims="0.5", top="0.125", context=32768, grid_dims="0.5", grid_top="0.9"
    )
    names = ("level", "layer", "head", "dims", "top", "context", "grid_dims", "grid_top")
    assert [value(visitor, name) for name in names] == ["95", 3, 1, "0.5", "0.125", 32768, "0.5", "0.9"]
    assert "explain 95 %" in visitor.texts() and not visitor.at.warning


def test_a_link_still_counts_after_loading_and_measuring(link):
    visitor = Visitor("key_rank", **link, layer=3, head=1, top="0.5")
    visitor.click("load_here").wait().click("ask_key_rank").wait()
    assert [value(visitor, name) for name in ("layer", "head", "top")] == [3, 1, "0.5"]


@pytest.mark.parametrize(
    "name, given, taken", [("layer", 99, 0), ("head", "x", 0), ("level", "42", "90"), ("context", 0, 4096)]
)
def test_a_value_of_a_link_that_is_not_possible_is_told(visit, name, given, taken):
    visit("key_rank").click("ask_key_rank").wait()
    visitor = visit("key_rank", **{name: given})
    assert value(visitor, name) == taken
    assert any(f"{name}={given}" in each.value for each in visitor.at.warning)


def against(visit, text: str) -> Visitor:
    """The page with its answer there and a second text chosen, which is put into the session before its field is drawn."""
    visitor = visit("similarity")
    visitor.at.session_state["against"] = text
    return visitor.go("key_rank").click("ask_key_rank").wait()


def test_a_second_text_is_a_second_question(visit):
    text = keep_text("In the capital of France there are the arts, and the rain. " * 40)
    visitor = against(visit, text)
    assert visitor.has("ask_key_rank") and "overlap" not in visitor.figures() and "heads" in visitor.figures()
    visitor.click("ask_key_rank").wait()
    assert "overlap" in visitor.figures() and label(text) in visitor.texts()
    assert len(visitor.answers) == 2


@pytest.mark.parametrize("name, says", [("nowhere.txt", "nowhere.txt cannot be read"), ("novel", "no text 'novel'")])
def test_a_second_text_that_is_not_there_is_told(visit, name, says):
    visitor = against(visit, name)
    assert any(says in each for each in visitor.errors()) and "heads" in visitor.figures()


def test_few_tokens_are_told(visit):
    visitor = visit("key_rank", windows=1, length=6).click("ask_key_rank").wait()
    assert any("6 keys per head and 8 dimensions" in each.value for each in visitor.at.warning)


def test_choose_measure_and_try(measured):
    assert "Perplexity, measured" not in numbers(measured)
    # Two query heads share a key head and may choose different keys; the paper's formula does not know that.
    assert any("= 0.625" in each.value for each in measured.at.latex) and "d_f/2 + k_f = 0.375" in measured.texts()
    assert "g = 2 query heads share a key head" in measured.texts()
    measured.at.selectbox(key="top").set_value("0.5").run()
    assert any("= 1.125" in each.value for each in measured.at.latex) and "d_f/2 + k_f = 0.625" in measured.texts()
    before = numbers(measured)["Read from the cache"]
    measured.at.number_input(key="context").set_value(8192).run()
    assert numbers(measured)["Read from the cache"] != before

    measured.at.text_input(key="grid_dims").set_value("0.5,0.25").run()
    measured.at.text_input(key="grid_top").set_value("0.5, 0.9").run()
    measured.click("ask_low_rank_attention").wait()
    assert {"grid", "baselines", "by_layer"} <= set(measured.figures()) and cells(measured) == 4
    assert "Perplexity, measured" in numbers(measured)
    pick(measured, "grid", 0.5, 0.9)
    assert (value(measured, "dims"), value(measured, "top")) == ("0.5", "0.9")
    assert any("= 1.25" in each.value for each in measured.at.latex) and "d_f/2 + k_f = 1.15" in measured.texts()
    measured.at.selectbox(key="dims").set_value("0.0625").run()
    assert "not on the measured grid" in measured.texts() and "by_layer" not in measured.figures()

    pick(measured, "grid", 0.25, 0.5)
    measured.at.text_input(key="plan").set_value("a1").run()
    links = [each.proto.label for each in measured.at.get("page_link")]
    measured.click("take_keys")
    assert measured.plan == "a1,k:0.25/0.5"
    assert [label for label in (each.proto.label for each in measured.at.get("page_link")) if label not in links] == [
        "Try it in the Drop lab"
    ]
    assert measured.go("drop_lab").plan == "a1,k:0.25/0.5" and measured.has("answer")


def test_the_paper_s_count_is_measured_and_taken_to_the_plan(measured):
    measured.at.toggle(key="whole").set_value(True).run()
    measured.click("ask_low_rank_attention").wait()
    assert measured.answers[0].about["question"]["params"]["whole"] is True and "grid" in measured.figures()
    measured.at.selectbox(key="top").set_value("0.5").run()
    assert measured.click("take_keys").plan == "k:0.25/0.5/loki"


def test_all_keys_are_no_plan(measured):
    measured.at.selectbox(key="top").set_value("1").run()
    assert measured.at.button(key="take_keys").disabled


@pytest.mark.parametrize(
    "name, given, says",
    [("grid_dims", "half", "'half' is not a number"), ("grid_top", "0.5,2", "2 of the keys is not valid"),
     ("grid_top", "", "0 shares of the keys")],
)  # fmt: skip
def test_a_grid_that_is_none_is_told_before_anybody_asks(measured, name, given, says):
    measured.at.text_input(key=name).set_value(given).run()
    assert any(says in each for each in measured.errors()) and not measured.has("ask_low_rank_attention")
    measured.at.text_input(key=name).set_value("0.5").run()
    assert not measured.errors() and measured.has("ask_low_rank_attention")


def test_an_attention_that_cannot_be_replaced_is_told_before_anybody_chooses(visit, tmp_path, tiny_folder):
    """DeepSeek's latent attention has ranks to look at, and nothing to choose below them."""
    folder = shutil.copytree(tiny_folder, tmp_path / "latent")
    (folder / "model.safetensors").unlink()
    tiny_model("deepseek_v2", vocab_size=512).save_pretrained(folder)
    visitor = visit("key_rank", model=folder)
    visitor.click("ask_key_rank").wait()
    assert "is latent (MLA)" in visitor.texts() and "heads" in visitor.figures()
    assert not visitor.has("take_keys") and not visitor.has("ask_low_rank_attention")
