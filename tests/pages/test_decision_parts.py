"""The other parts of Decide: the table of plans, notes, two plans compared, tasks, and exports."""

import json
import threading
from pathlib import Path

import pytest

from plans.export.files.place import RECORD
from plans.plan import parse


@pytest.fixture
def measured(visit):
    """The Decide page where two plans were measured in the drop lab."""
    visitor = visit("drop_lab", windows=6, length=16, plan="a1")
    visitor.click("ask_fidelity").wait()
    visitor.at.text_input(key="plan").set_value("b0-2").run()
    visitor.click("ask_fidelity").wait()
    return visitor.go("decide").open("decide", "Plans")


def field(visitor, name):
    """A field of the note on the plan; its key tells when the note was changed last."""
    fields = (*visitor.at.text_input, *visitor.at.checkbox)
    return next(each for each in fields if (each.key or "").startswith("note ") and each.key.endswith(f"_{name}"))


def test_every_measured_plan_is_in_the_table_and_a_row_becomes_the_plan(measured):
    rows = measured.table("same top token")
    assert [row["plan"] for row in rows] == ["a1", "b0-2"], "the least damage first"
    assert rows[0]["from"] <= rows[0]["KL"] <= rows[0]["to"] and 0 < rows[0]["saved"] < rows[1]["saved"] < 1
    measured.select("plans_table", rows=[0], columns=[], cells=[])
    assert measured.plan == "a1"


def test_a_redraw_decodes_no_answer_again(measured, monkeypatch):
    opened = []
    monkeypatch.setattr(measured.bench.known, "open", opened.append)
    measured.look()
    assert len(measured.table("same top token")) == 2 and measured.table("verdict") and not opened


def test_the_table_is_filtered_and_a_row_is_still_its_plan(measured):
    measured.at.text_input(key="plans_filter").set_value("saved>0.3").run()
    assert [row["plan"] for row in measured.table("same top token")] == ["b0-2"]
    measured.at.text_input(key="plans_filter").set_value("a1").run()
    measured.select("plans_table", rows=[0], columns=[], cells=[])
    assert measured.plan == "a1"
    measured.at.text_input(key="plans_filter").set_value("nothing-like-that").run()
    assert "No plan matches (of 2)" in measured.texts()
    measured.at.text_input(key="plans_filter").set_value("size>3").run()
    assert (
        any("Choose one of: saved, cache" in each for each in measured.errors()) and len(measured.table("same top token")) == 2
    )


def test_what_a_search_chose_is_in_the_table(visit):
    small = {"search_points": 1, "search_draws": 1, "search_generations": 0, "search_offspring": 1}
    visitor = visit("decide", windows=4, length=16, **small)
    visitor.click("ask_search").wait()
    rows = visitor.open("decide", "Plans").table("same top token")
    assert rows and {row["windows"] for row in rows} == {"2, held out"}
    assert [row["KL"] for row in rows] == sorted(row["KL"] for row in rows)
    visitor.at.selectbox(key="pair_second").set_value(rows[-1]["plan"]).run()
    assert [row["verdict"] for row in visitor.table("verdict")] == ["too few windows to tell"]


def test_speed_is_measured_where_one_decides_and_is_in_the_table(measured):
    measured.open("decide", "Speed")
    measured.at.number_input(key="speed_prompt").set_value(16).run()
    measured.at.number_input(key="speed_new").set_value(4).run()
    measured.click("ask_speed").wait()
    assert {"speed_rounds", "speed_memory"} <= set(measured.figures())
    rows = {row["plan"]: row for row in measured.open("decide", "Plans").table("same top token")}
    assert rows["b0-2"]["decode"] > 0 and not rows["a1"]["decode"] > 0, "measured of one plan alone"


def test_a_plan_is_named_pinned_and_forgotten(measured):
    field(measured, "name").set_value("too much").run()
    field(measured, "pinned").check().run()
    measured.whole()
    first, _ = measured.table("same top token")
    assert (first["plan"], first["name"], first["pinned"], first["made from"]) == ("b0-2", "too much", "📌", "a1")
    field(measured, "pinned").uncheck().run()
    measured.click("note_forget")
    assert "Forgot b0-2 and" in measured.texts()
    assert [row["plan"] for row in measured.table("same top token")] == ["a1"]


def test_a_name_that_is_too_long_is_told(measured):
    field(measured, "name").set_value("x" * 100).run()
    assert any("Write at most 80" in each for each in measured.errors())


def test_two_plans_are_compared_in_words_and_numbers(measured):
    text = measured.texts()
    assert "Only the second: removes" in text and "Only the first" not in text
    assert "Both: removes the attention of layer 1." in text
    rows = measured.table("verdict")
    assert [row["measure"] for row in rows] == ["KL to the dense model", "Negative log-likelihood"]
    assert rows[0]["verdict"] == "the first is better" and rows[0]["from"] <= rows[0]["difference"] <= rows[0]["to"]
    measured.at.selectbox(key="pair_second").set_value("a1").run()
    assert "Both plans are the same" in measured.texts() and "There is no measurement of both" in measured.texts()


def test_tasks_are_run_and_their_score_is_in_the_table(measured):
    measured.open("decide", "Tasks").at.number_input(key="task_limit").set_value(4).run()
    measured.click("ask_evaluate").wait()
    assert "task_differences" in measured.figures()
    assert {row["metric"] for row in measured.table("won")} == {"acc", "acc_bytes"}
    measured.open("decide", "Plans")
    score = {row["plan"]: row["tasks"] for row in measured.table("same top token")}
    assert score["b0-2"] == score["b0-2"] and score["a1"] != score["a1"], "measured of one plan alone"


def test_without_a_task_there_is_no_question(measured):
    measured.open("decide", "Tasks").at.text_input(key="task_tasks").set_value("").run()
    assert any("Name a task" in each for each in measured.errors()) and not measured.has("ask_evaluate")


def test_a_plan_is_exported_and_listed(measured):
    assert "removed" in measured.open("decide", "Export").at.selectbox(key="export_format").value
    measured.at.text_input(key="export_folder").set_value("small").run()
    measured.click("export").wait()
    assert any("small holds" in each.value for each in measured.at.success)
    [row] = measured.table("difference (nats)")
    record = json.loads((Path(row["folder"]) / RECORD).read_text())
    assert parse(record["plan"]) == parse("b0-2") == parse(row["plan"]) and "transformers" in row["runs in"]
    measured.click("export")
    assert any("exists" in each for each in measured.errors()), "nothing is replaced unasked"
    measured.at.checkbox(key="export_replace").check().run()
    measured.click("export").wait()
    assert any("small holds" in each.value for each in measured.at.success)


@pytest.mark.parametrize("folder", ["../outside", "/etc"])
def test_an_export_outside_its_folder_is_refused(measured, folder):
    measured.open("decide", "Export").at.text_input(key="export_folder").set_value(folder).run()
    measured.click("export")
    assert any("is not a folder inside" in each for each in measured.errors())


def test_a_format_that_cannot_say_the_plan_names_those_that_can(measured):
    measured.open("decide", "Export").at.text_input(key="plan").set_value("a1,k:0.5/0.5").run()
    assert any("no checkpoint can express that" in each.value for each in measured.at.warning) and not measured.has("export")
    measured.at.text_input(key="plan").set_value("a1").run()
    measured.at.selectbox(key="export_format").set_value("removed").run()
    assert any("noop" in each.value for each in measured.at.warning)


def test_two_people_who_write_on_one_plan_keep_each_others_words(measured, visit):
    other = visit("decide", windows=6, length=16, plan="b0-2", decide="Plans")
    field(measured, "name").set_value("too much").run()
    field(other, "pinned").check().run()  # drawn before the name was there
    row = other.whole().look().table("same top token")[0]
    assert (row["plan"], row["name"], row["pinned"]) == ("b0-2", "too much", "📌")


def test_another_export_to_the_same_folder_waits(measured):
    """However the name is written; and nobody is told how somebody else's export ended."""
    busy, through = threading.Event(), threading.Event()

    def work(progress):
        busy.set()
        assert through.wait(60)

    measured.bench.jobs.submit("busy", "busy", work)
    assert busy.wait(60)
    measured.open("decide", "Export").at.text_input(key="export_folder").set_value("small").run()
    measured.click("export")
    measured.at.text_input(key="plan").set_value("b1").run()
    measured.at.text_input(key="export_folder").set_value("./small").run()
    measured.click("export")
    assert any("Another export to ./small is running" in each for each in measured.errors())
    through.set()
    measured.wait()
    assert not measured.at.success


def test_a_point_of_a_running_search_becomes_the_plan(visit):
    """The search was stopped; what it had measured is there."""
    small = {
        "search_points": 1,
        "search_share": 25.0,
        "search_draws": 1,
        "search_generations": 0,
        "search_offspring": 1,
    }
    visitor = visit("decide", windows=4, length=16, **small)
    visitor.click("ask_search").wait()
    visitor.bench.store.delete(next(e.key for e in visitor.answers if e.about["question"]["probe"] == "search"))
    visitor.look()
    assert "partial" in visitor.figures() and "optimistic" in visitor.texts()
    plan = visitor.figures()["partial"]["data"][1]["customdata"][0][0]
    visitor.point("partial", plan).look()
    assert visitor.plan == plan
    visitor.at.selectbox(key="search_unit").set_value("milliseconds").run()
    assert "attention and MLP sublayers" in str(visitor.figures()["partial"]["layout"]["xaxis"]), "times are not known yet"
