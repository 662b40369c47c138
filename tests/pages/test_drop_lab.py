"""The drop lab: toggles and plan are one thing, both models answer, and what a plan costs is kept."""

import html
import json
import re
import shlex
import threading
from dataclasses import replace

import pytest

from charts.deviation.tried import SAVED
from models.anatomy import anatomy
from models.generate import Writer
from pages.lab import beside
from plans.cost import cost
from plans.drops import dropped
from plans.exports import FORMATS, Given
from plans.learn import learn
from plans.operation import Shape
from plans.plan import parse
from probes import PROBES, question
from probes.__main__ import main
from probes.generation.comparison import found
from tests.pages.visitor import SECONDS
from texts.corpus import CorpusRef


@pytest.fixture
def lab(visit):
    """The drop lab with the tiny model and a plan."""
    return visit("drop_lab", plan="a1", answer_length=6)


@pytest.fixture
def held(monkeypatch):
    """Writers that stop before each token after the third until the gate is opened."""
    step, gate, reached = Writer.step, threading.Event(), threading.Event()

    def slowly(self, dice):
        if len(self.written) >= 3:
            reached.set()
            assert gate.wait(SECONDS)
        return step(self, dice)

    monkeypatch.setattr(Writer, "step", slowly)
    yield reached, gate
    gate.set()


@pytest.fixture
def learned(monkeypatch):
    """The operations that learned, each time they did."""
    seen = []

    def counted(subject, operation, *rest):
        seen.append(str(operation))
        return learn(subject, operation, *rest)

    monkeypatch.setattr("probes.answer.learn", counted)
    return seen


def answers(visitor):
    """The text of both answers as they stand on the page."""
    bodies = [each.proto.body for each in visitor.at.get("html") if 'class="answer"' in each.proto.body]
    return [re.sub(r"<style>.*?</style>|<[^>]+>", "", body, flags=re.S) for body in bodies]


def more(visitor):
    """Open the presets and the layers as buttons."""
    return visitor.open("lab_more", True)


def grid(visitor, kind):
    return next(each for each in visitor.at.button_group if each.key == f"grid_{kind}")


def strip(visitor):
    """What the strip is given to draw."""
    [proto] = [each.proto for each in visitor.at.get("bidi_component")]
    return json.loads(proto.json)


def field(visitor, name):
    """A field of an operation's form; the rest of its key is what the plan says of the operation."""
    return next(each for each in (*visitor.at.selectbox, *visitor.at.text_input) if each.key.startswith(f"{name} "))


def strip_says(visitor, **message):
    """The strip tells what it shows as dropped."""
    [proto] = [each.proto for each in visitor.at.get("bidi_component")]
    return visitor.told(proto.id, json_value=json.dumps({"dropped": message}))


def test_the_strip_shows_the_plan_and_makes_it(lab):
    lab.at.text_input(key="plan").set_value("a1,m0,b2-3,w:wanda@0.5").run()
    assert strip(lab)["layers"] == 4 and strip(lab)["dropped"] == {"attention": [1, 2, 3], "mlp": [0, 2, 3]}
    strip_says(lab, number=1, attention=[3, 1], mlp=[3])
    assert lab.plan == "a1,b3,w:wanda@0.5"
    assert strip(lab)["dropped"] == {"attention": [1, 3], "mlp": [3]} and strip(lab)["read"] == 1
    strip_says(lab, number=2, attention=[99, "x", None], mlp=[0])
    assert lab.plan == "m0,w:wanda@0.5", "what no layer is called was taken"


def test_the_strip_says_how_redundant_each_part_is_once_it_is_known(lab):
    assert strip(lab)["rows"]["mlp"]["shade"] == [None] * 4 and "Measure similarity or scan" in lab.texts()
    lab.go("similarity").click("ask_similarity").wait()
    assert strip(lab.go("drop_lab"))["rows"]["mlp"]["said"][2].startswith("1 − cosine ")
    assert "from similarity" in lab.texts()
    lab.go("scan").click("ask_drop_scan").wait()
    cells = strip(lab.go("drop_lab"))["rows"]["block"]
    assert re.fullmatch(r"KL [\d.]+ nats", cells["said"][0]) and "from the drop scan" in lab.texts()


def test_the_grid_shows_the_plan_and_makes_it(lab):
    more(lab)
    lab.at.text_input(key="plan").set_value("a1,m0,b2-3").run()
    shown = [lab.at.session_state[f"grid_{kind}"] for kind in ("attention", "mlp", "blocks")]
    assert shown == [[1, 2, 3], [0, 2, 3], [2, 3]], "the attention and MLP of a dropped block look kept"
    grid(lab, "attention").set_value([2, 3]).run()
    assert lab.whole().plan == "m0,b2-3"
    grid(lab, "blocks").set_value([3]).run()
    assert lab.whole().plan == "m0,b3"
    grid(lab, "mlp").set_value([0, 1, 3]).run()
    assert lab.whole().plan == "m0,m1,b3"


def test_what_a_dropped_block_takes_along_is_put_back_by_a_click(lab):
    more(lab)
    lab.at.text_input(key="plan").set_value("b2-3").run()
    grid(lab, "attention").set_value([3]).run()
    assert lab.whole().plan == "m2,b3"
    grid(lab, "blocks").set_value([2, 3]).run()
    assert lab.whole().plan == "b2-3"


def test_attention_and_mlp_of_a_layer_become_its_block(lab):
    more(lab)
    grid(lab, "mlp").set_value([1]).run()
    assert lab.whole().plan == "b1"
    assert [lab.at.session_state[f"grid_{kind}"] for kind in ("attention", "mlp", "blocks")] == [[1], [1], [1]]


def test_a_chip_opens_and_changes_and_takes_away_each_operation(lab):
    lab.at.text_input(key="plan").set_value("a1,m0,w:wanda@0.5").run()
    assert "Removes the attention of layer 1; the MLP of layer 0." in lab.texts() and "Sets" in lab.texts()
    assert lab.has("away_drops") and lab.has("away_weights") and not lab.has("away_keys")
    field(lab, "items_drops").set_value("b2-3").run()
    assert lab.whole().plan == "b2-3,w:wanda@0.5"
    field(lab, "items_drops").set_value("b3-2").run()
    assert lab.whole().plan == "b2-3,w:wanda@0.5" and any("counts backwards" in each for each in lab.errors())
    assert lab.click("away_drops").plan == "w:wanda@0.5"
    assert lab.click("away_weights").plan == "" and not any(lab.has(f"away_{name}") for name in ("drops", "weights", "keys"))


def test_a_plan_is_named_here_and_its_name_is_known_to_others(lab, visit):
    name = next(each for each in lab.at.text_input if each.label == "Plan name")
    name.set_value("candidate A").run()
    lab.whole()
    other = visit("drop_lab", plan="m2")
    assert "candidate A · a1" in other.at.selectbox(key="lab_other").options
    other.at.text_input(key="plan").set_value("a1").run()
    assert [each.value for each in other.at.text_input if each.label in ("Plan name", "Note")] == ["candidate A", ""]


def test_two_clicks_lead_to_the_difference_and_a_third_to_the_answers_of_both(lab):
    lab.at.text_input(key="plan").set_value("a1,m2").run()
    lab.at.selectbox(key="lab_other").select("a1").run()
    assert "The first is this plan, the second a1. Only the first: removes the MLP of layer 2." in lab.whole().texts()
    assert lab.go("compare").at.text_area(key="compare_plans").value == "a1,m2\na1"


def test_a_comparison_with_any_plan_and_with_what_is_none(lab):
    other = lab.at.selectbox(key="lab_other").id
    lab.told(other, string_value="x9")
    assert any("'x9' is not part of a plan" in each for each in lab.errors())
    lab.told(other, string_value="b3")
    assert lab.click("lab_switch").plan == "b3"


def test_presets_need_no_measurement_and_offer_the_ranking_when_there_is_one(lab):
    more(lab)
    rules = list(lab.at.selectbox(key="preset").options)
    for name in rules:
        lab.at.selectbox(key="preset").select(name)
        lab.at.number_input(key="preset_count").set_value(2).run()
        lab.click("preset_use")
        plan = dropped(parse(lab.plan).checked(Shape(4)))
        assert len(plan.no_attention | plan.no_mlp) == 2, name
    lab.go("similarity").click("ask_similarity").wait()
    offered = more(lab.go("drop_lab")).at.selectbox(key="preset").options
    assert set(rules) < set(offered) and "most redundant attention" in offered
    lab.at.selectbox(key="preset").select("most redundant span of blocks")
    lab.at.number_input(key="preset_count").set_value(4).run()
    assert lab.click("preset_use").plan == "b0-3"


def test_a_preset_says_that_it_replaces_and_when_there_is_no_more_of_it(lab):
    def label():
        return next(button.label for button in lab.whole().at.button if button.key == "preset_use")

    more(lab)
    assert label() == "Replace drops"
    lab.at.text_input(key="plan").set_value("w:wanda@0.5").run()
    assert label() == "Drop these"
    lab.at.selectbox(key="preset").select("every other attention")
    lab.at.number_input(key="preset_count").set_value(3).run()
    assert "At most 2 can be dropped this way, not the 3 asked for." in lab.whole().texts()
    lab.at.number_input(key="preset_count").set_value(2).run()
    assert "can be dropped this way" not in lab.whole().texts()


@pytest.mark.parametrize("plan", ["", "a1", "b0-1,m3", "b0-3"])
def test_savings_are_those_of_the_anatomy(lab, plan):
    lab.at.text_input(key="plan").set_value(plan).run()
    dense = anatomy(lab.subject)
    left = cost(lab.subject, parse(plan), dense)
    shown = {each.label: (each.value, each.delta) for each in lab.whole().at.metric}
    assert shown["KV cache per token"][0] == f"{left.cache_bytes / 1024:.1f} KiB"
    change = f"{left.parameters / dense.parameters - 1:+.1%}" if plan else ""
    assert shown["Parameters"][1] == change


def test_both_models_answer_side_by_side(lab):
    lab.click("answer").wait()
    [live] = lab.bench.lives()
    assert live.error is None and [len(each) for each in live.tokens] == [6, 6]
    assert answers(lab) == [html.escape("".join(token.piece for token in each)) for each in live.tokens]
    assert "**Dense**" in lab.texts() and "**Pruned · a1**" in lab.texts()
    assert lab.texts().count("6 tokens · ") == 2 and lab.texts().count("tokens/s") == 2
    assert "First difference at token" in lab.texts() or "Identical, token for token" in lab.texts()
    assert len(lab.table("step")) == 6


def test_without_a_plan_both_are_the_same(lab):
    lab.click("clear").click("answer").wait()
    assert len(set(answers(lab))) == 1 and "Identical, token for token." in lab.texts()


def test_an_answer_is_shown_while_it_grows_and_stops_at_once(lab, held):
    reached, gate = held
    lab.at.number_input(key="answer_length").set_value(64).run()
    lab.click("answer")
    assert reached.wait(SECONDS)
    assert "3 tokens" in lab.look().texts() and "Every step as a table" not in str(lab.at.expander)
    lab.click("stop")
    gate.set()
    [live] = lab.bench.lives()
    assert live.over.wait(SECONDS)
    assert sum(map(len, live.tokens)) <= 7, "it went on after the token that was being computed"
    assert len(answers(lab.look())) == 2


def test_an_answer_that_ends_while_it_is_drawn_is_not_shown_as_finished(lab, held, monkeypatch):
    reached, gate = held
    lab.click("answer")
    assert reached.wait(SECONDS)
    [live], drawn = lab.bench.lives(), beside.answers.answer

    def late(*tokens):
        gate.set()
        assert live.over.wait(SECONDS)
        return drawn(*tokens)

    monkeypatch.setattr(beside.answers, "answer", late)
    assert "6 tokens" not in lab.look().texts() and "Every step as a table" not in str(lab.at.expander)
    assert lab.look().texts().count("6 tokens · ") == 2 and len(lab.table("step")) == 6


def test_a_new_answer_ends_the_one_that_is_being_written(lab, held):
    reached, gate = held
    lab.at.number_input(key="answer_length").set_value(64).run()
    lab.click("answer")
    assert reached.wait(SECONDS)
    lab.click("answer")
    gate.set()
    first, second = lab.wait().bench.lives()
    assert sum(map(len, first.tokens)) <= 7 and max(map(len, second.tokens)) > 7


def test_sampling_with_a_seed_gives_the_same_answer_again(lab):
    lab.at.number_input(key="temperature").set_value(1.5).run()
    first = answers(lab.click("answer").wait())
    assert answers(lab.click("answer").wait()) == first
    lab.at.number_input(key="seed").set_value(99).run()
    assert answers(lab.click("answer").wait()) != first


def test_the_chat_template_may_be_left_out(lab):
    lab.click("answer").wait()
    lab.at.toggle(key="chat").set_value(False).run()
    lab.click("answer").wait()
    turn, plain = (live.prompt_tokens for live in lab.bench.lives())
    assert turn > plain


@pytest.mark.parametrize("prompt, says", [("  ", "prompt is empty"), ("Paris " * 300, "reads at most 128")])
def test_a_prompt_that_cannot_be_answered_is_told(lab, prompt, says):
    lab.at.text_area(key="prompt").set_value(prompt).run()
    lab.click("answer")
    assert any(says in each for each in lab.wait().errors())
    assert not any(map(len, lab.bench.lives()[0].tokens)) and answers(lab) == ["", ""]
    lab.at.text_area(key="prompt").set_value("Paris").run()
    assert len(answers(lab.click("answer").wait())) == 2 and not lab.errors()


def test_measure_and_the_table_of_plans_tried(lab):
    assert "tried" not in lab.figures()
    lab.click("ask_fidelity").wait()
    labels = [each.label for each in lab.at.metric]
    assert {"Perplexity", "Same top token"} <= set(labels) and any("KL" in label for label in labels)
    lab.at.text_input(key="plan").set_value("b0-3").run()
    lab.click("ask_fidelity").wait()
    rows = lab.table("top1")
    assert {row["plan"] for row in rows} == {"a1", "b0-3"}
    assert [row["kl"] for row in rows] == sorted(row["kl"] for row in rows)
    assert {"tried", "damage"} <= set(lab.figures())
    other = next(i for i, row in enumerate(rows) if row["plan"] == "a1")
    assert lab.select("tried_table", rows=[other], columns=[], cells=[]).plan == "a1"


def test_what_plans_save_is_told_by_kind_and_the_axis_is_chosen(lab):
    for plan in ("w:magnitude@0.5", "a1,k:0.25/0.5"):
        lab.at.text_input(key="plan").set_value(plan).run()
        lab.click("ask_fidelity").wait()
    rows = {row["plan"]: row for row in lab.table("top1")}
    assert rows["w:magnitude@0.5"]["parameters"] == 1 > rows["w:magnitude@0.5"]["nonzero"]
    assert (rows["a1,k:0.25/0.5"]["cache"], rows["a1,k:0.25/0.5"]["keys"]) == (0.75, 0.375)
    for by in ("nonzero", "keys"):
        lab.at.session_state["tried_by"] = SAVED[by]
        figure = lab.look().figures()["tried"]
        places = {point[0]: x for trace in figure["data"] if "customdata" in trace
                  for point, x in zip(trace["customdata"], trace["x"], strict=True)}  # fmt: skip
        assert places == {plan: 100 * row[by] for plan, row in rows.items()}


def test_where_it_hurts_can_be_seen_for_each_window(lab):
    lab.click("ask_fidelity").wait()
    for window in (0, 1):
        lab.at.slider(key="window").set_value(window).run()
        assert len(lab.whole().figures()["damage"]["data"][0]["x"]) == 31


def test_every_export_is_offered(lab):
    shown = [each.value for each in lab.at.code]
    given = Given(lab.ref, 4, parse("a1"), CorpusRef("python-docs", 2, 32), "float32")
    wanted = [form.write(given) for form in FORMATS.values()]
    assert shown == [text.strip() for text in wanted if text is not None]
    assert len(lab.at.get("download_button")) == len(shown)
    assert sum(form.cannot in lab.texts() for form in FORMATS.values() if form.cannot) >= 1


@pytest.mark.parametrize("plan", ["a1", "w:magnitude@0.5", "a0,w:wanda@2:4/mlp,k:0.5/0.5"])
def test_the_exported_command_finds_what_the_page_measured(lab, capsys, monkeypatch, tmp_path, plan):
    """The same key: the same windows, dtype and device, and what the plan learned from them."""
    lab.at.text_input(key="plan").set_value(plan).run()
    lab.click("ask_fidelity").wait()
    [command] = [each.value for each in lab.at.code if "-m probes" in each.value]
    words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    assert words[:3] == ["python", "-m", "probes"] and main(words[3:]) == 0
    assert "from cache in" in capsys.readouterr().out
    document = json.loads((tmp_path / "plan.json").read_text())
    [entry] = lab.answers
    assert document["question"] == entry.about["question"] | {"model": document["question"]["model"]}
    assert document["question"]["model"]["fingerprint"] == lab.subject.fingerprint and len(lab.answers) == 1


def test_plans_tried_are_those_of_this_model_text_and_version(lab, monkeypatch):
    for plan in ("a1", "w:magnitude@0.5"):
        lab.at.text_input(key="plan").set_value(plan).run()
        lab.click("ask_fidelity").wait()
    assert {row["plan"] for row in lab.table("top1")} == {"a1", "w:magnitude@0.5"}
    with monkeypatch.context() as patch:  # as if what operations learn had changed
        patch.setattr(question, "LEARNING", question.LEARNING + 1)
        assert [row["plan"] for row in lab.look().table("top1")] == ["a1"]
    newer = replace(PROBES["fidelity"], version=PROBES["fidelity"].version + 1)
    with monkeypatch.context() as patch:
        patch.setitem(PROBES, "fidelity", newer)
        assert "tried" not in lab.look().figures()
    lab.at.number_input(key="windows").set_value(1).run()
    assert "tried" not in lab.whole().figures()
    lab.click("ask_fidelity").wait()
    assert [row["plan"] for row in lab.table("top1")] == ["w:magnitude@0.5"]
    lab.at.number_input(key="windows").set_value(2).run()
    assert sorted(row["plan"] for row in lab.whole().table("top1")) == ["a1", "w:magnitude@0.5"]


def test_several_people_with_several_plans_use_one_model(visit):
    people = [visit("drop_lab", plan=plan, answer_length=8) for plan in ("a0", "b1-2", "m3")]
    alone = []
    for person in people:
        alone.append(answers(person.click("answer").wait()))
    for person in people:
        person.click("answer")
    assert [answers(person.wait()) for person in people] == alone
    assert len({dense for dense, _ in alone}) == 1


def test_the_fields_for_weights_and_keys_show_the_plan_and_make_it(lab):
    field(lab, "weights_method").select("wanda").run()
    assert lab.whole().plan == "a1,w:wanda@0.5"
    field(lab, "weights_amount").select("2:4").run()
    field(lab, "weights_modules").select("mlp").run()
    assert lab.whole().plan == "a1,w:wanda@2:4/mlp"
    field(lab, "keys_top").select("0.5").run()
    assert lab.whole().plan == "a1,w:wanda@2:4/mlp,k:0.25/0.5"
    lab.at.text_input(key="plan").set_value("w:magnitude@0.33,k:0.7/0.1").run()
    fields = ("weights_method", "weights_amount", "keys_top", "keys_dims")
    assert [field(lab, name).value for name in fields] == ["magnitude", "0.33", "0.1", "0.7"]
    field(lab, "weights_method").select("none").run()
    field(lab, "keys_top").select("all").run()
    assert lab.whole().plan == ""


def test_toggles_and_presets_keep_what_is_thinned_out(lab):
    more(lab)
    lab.at.text_input(key="plan").set_value("a1,w:wanda@0.5").run()
    grid(lab, "mlp").set_value([0]).run()
    assert lab.whole().plan == "a1,m0,w:wanda@0.5"
    lab.at.number_input(key="preset_count").set_value(1).run()
    assert lab.click("preset_use").plan.endswith(",w:wanda@0.5")


def test_dense_dropped_and_thinned_out_answer_side_by_side(lab, learned):
    """The plan learns from the text on the way; the second time it is found."""
    lab.at.text_input(key="plan").set_value("a1,w:wanda@0.5,k:0.5/0.5").run()
    for _ in range(2):
        lab.click("answer").wait()
    whole = [entry.about for entry in lab.bench.store.entries() if "learned" in entry.about and "piece" not in entry.about]
    assert {(about["learned"], about["before"]) for about in whole} == {("w:wanda@0.5", "a1"), ("k:1/0.5", "a1,w:wanda@0.5")}
    assert learned == ["w:wanda@0.5", "k:0.5/0.5"] and not lab.answers
    assert [len(each) for each in list(lab.bench.lives())[-1].tokens] == [6, 6, 6]
    for name in ("**Dense**", "**Pruned · a1**", "**Pruned · a1,w:wanda@0.5,k:0.5/0.5**"):
        assert name in lab.texts()
    assert len(answers(lab)) == 3 and len(lab.table("step")) == 6


def test_each_pair_of_three_answers_has_its_own_first_difference_and_one_is_marked(lab):
    lab.at.text_input(key="plan").set_value("a1,w:wanda@0.5").run()
    lab.click("answer").wait()
    [live] = lab.bench.lives()
    ids = [[token.id for token in each] for each in live.tokens]
    names = ["dense", "a1", "a1,w:wanda@0.5"]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = next((i for i, (a, b) in enumerate(zip(ids[one], ids[other], strict=True)) if a != b), None)
        says = "identical, token for token." if apart is None else f"first difference at token {apart + 1}."
        assert f"**{names[one]} and {names[other]}**: {says}" in lab.texts()

    def marked():
        bodies = [each.proto.body for each in lab.at.get("html") if 'class="answer"' in each.proto.body]
        return [re.search(r'class="(parts|differs)', body) is not None for body in bodies]

    assert marked() == [True, False, True]
    lab.at.session_state["marked_pair"] = "dense and a1"
    assert ids[0] != ids[1] and lab.look() and marked() == [True, True, False]


def test_an_answer_of_an_older_plan_or_setting_says_so(lab):
    lab.click("answer").wait()
    assert "out of date" not in lab.texts()
    lab.at.number_input(key="windows").set_value(1).run()
    assert "out of date" not in lab.texts()  # this plan learns nothing from the text
    lab.at.text_input(key="plan").set_value("a0").run()
    assert "out of date because of changes to the plan." in lab.texts()
    lab.at.number_input(key="answer_length").set_value(5).run()
    assert "out of date because of changes to the plan and the settings." in lab.texts()
    assert "out of date" not in lab.click("answer").wait().texts()


def test_a_speed_measured_beside_other_work_is_marked(lab):
    begun, gate = threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert gate.wait(SECONDS)

    assert "while other work ran" not in lab.click("answer").wait().texts()
    job = lab.bench.jobs.submit("other", "other work", work)
    assert begun.wait(SECONDS)
    lab.click("answer")
    assert lab.bench.lives()[-1].over.wait(SECONDS)
    gate.set()
    assert job.wait(SECONDS) and lab.look().texts().count("tokens/s while other work ran") == 2


def test_only_an_answer_that_learns_says_what_is_learned(lab, monkeypatch):
    gate, reached = threading.Event(), threading.Event()

    def slowly(subject, operation, before, tokens, known, keep, progress):
        progress(0, 1, "pruning layer 7")
        reached.set()
        assert gate.wait(SECONDS)
        return learn(subject, operation, before, tokens, known, keep, progress)

    monkeypatch.setattr("probes.answer.learn", slowly)
    lab.at.text_input(key="plan").set_value("a1,w:wanda@0.5").run()
    lab.click("answer")
    assert reached.wait(SECONDS)
    texts = lab.look().texts()
    gate.set()
    assert texts.count("pruning layer 7") == 1 and texts.count("Waiting for the other answers") == 2
    lab.wait()


def test_a_plan_that_learns_is_measured(lab):
    lab.at.text_input(key="plan").set_value("w:magnitude@0.5").run()
    lab.click("ask_fidelity").wait()
    assert any(each.label == "Perplexity" for each in lab.at.metric)
    assert lab.table("kl")[0]["plan"] == "w:magnitude@0.5"


def test_a_text_without_windows_to_learn_from_is_told(visit, tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("é" * 40)  # 80 tokens, two windows of 32
    lab = visit("drop_lab", plan="w:wanda@0.5", answer_length=6, corpus=text)
    lab.click("ask_fidelity").wait()
    assert any("calibration needs windows after the 2 that are measured" in each for each in lab.errors())
    lab.click("answer").wait()
    assert any("calibration needs windows after the 2 that are measured" in each for each in lab.errors())


def test_answers_are_kept_by_one_click_as_they_were(lab):
    lab.click("answer").wait()
    [live] = lab.bench.lives()
    lab.click("keep_answers").wait()
    made = found(lab.bench.comparisons, lab.at.session_state["kept_answers"]["id"])
    assert made.names == ["dense", "a1"]
    for each, tokens in zip(made.questions, live.tokens, strict=True):
        assert lab.bench.known.find(each).result.pieces == [[token.piece for token in tokens]]


def test_without_a_plan_there_is_nothing_to_keep(lab):
    assert not lab.click("clear").click("answer").wait().has("keep_answers")


@pytest.mark.parametrize("plan, calibrates", [("w:magnitude@0.5", False), ("w:wanda@0.5", True), ("a1", False)])
def test_only_what_learns_from_a_text_is_said_to_be_calibrated(lab, plan, calibrates):
    lab.at.text_input(key="plan").set_value(plan).run()
    assert ("calibrated on the 64 tokens" in lab.click("ask_fidelity").wait().texts()) == calibrates


def test_a_calibration_on_fewer_windows_than_asked_says_so(visit, tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("é" * 56)  # 112 tokens, three windows of 32 and a half
    lab = visit("drop_lab", plan="w:wanda@0.5", corpus=text)
    assert "calibrated on the 32 tokens that follow, in 1 window of the 2 asked for" in lab.click("ask_fidelity").wait().texts()
