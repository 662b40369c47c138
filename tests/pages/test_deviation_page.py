"""The deviation page: ask, read the verdict, look at a step, compare plans, restore all that by a link."""

import re

import pytest

from pages.shell.words import plain
from tests.pages.visitor import SECONDS, Visitor

ITEMS = [
    '{"question": "The capital of France is", "options": ["Paris", "Rome", "Berlin"], "answer": 0}',
    '{"question": "Two and two is", "options": ["five", "four"], "answer": "B", "category": "arithmetic"}',
    '{"question": "Which of these flies?", "options": ["a stone", "a bird"], "answer": "a bird"}',
]
SHORT = {"drift_prompts": "the capital of France", "drift_steps": 4, "chat_turn": "false"}
ASKS = ("ask_transitions", "ask_generation_drift", "ask_choice_subspace")


@pytest.fixture
def deviation(visit):
    """The page with two plans, short prompts and three items; nothing asked yet."""

    def opened(**more):
        visitor = visit("deviation", **({"plan": "a1", "plan2": "b2-3"} | SHORT | more))
        return fill(visitor)

    return opened


def fill(visitor, items=ITEMS):
    """Paste items, which are no part of a link."""
    visitor.at.text_area(key="own_items").set_value("\n".join(items)).run()
    return visitor.whole()


def measure(visitor):
    for button in ASKS:
        visitor.click(button)
    return visitor.wait()


def names(figure):
    """Names in the legend."""
    return [trace["name"] for trace in figure["data"] if trace.get("showlegend") is not False and "name" in trace]


def shown(visitor):
    """HTML on the page, without tags."""
    return [each.proto.body for each in visitor.at.get("html")]


def test_ask_each_question_then_read_the_verdict(deviation):
    visitor = deviation()
    assert all(visitor.has(button) for button in ASKS) and not visitor.figures()
    visitor.click("ask_transitions").wait()
    assert set(visitor.figures()) == {"depth", "alone"} and not visitor.has("ask_transitions")
    assert "Not measured yet: steps, choices." in visitor.texts()
    assert "Measure the steps first." in visitor.texts()
    visitor.click("ask_generation_drift").wait()
    assert {"steps_chart", "alternatives"} < set(visitor.figures())
    visitor.click("ask_choice_subspace").wait()
    assert {"subspaces", "each_item"} < set(visitor.figures())
    assert "Not measured yet" not in visitor.texts() and not any(visitor.has(button) for button in ASKS)
    assert (
        visitor.texts().count("Hidden states ") == 2 and visitor.texts().count("too little text to say whether it suits") == 2
    )
    assert "64 tokens in 2 windows · float32 on cpu" in visitor.texts()
    assert len(visitor.answers) == 6


def test_two_plans_stand_in_the_same_axes(deviation):
    visitor = measure(deviation())
    for name in ("depth", "steps_chart"):
        figure = visitor.figures()[name]
        assert {"a1", "b2-3"} < set(names(figure))
        colours = {trace["name"]: trace["line"]["color"] for trace in figure["data"] if trace.get("name") in ("a1", "b2-3")}
        assert len(set(colours.values())) == 2
    assert visitor.figures()["subspaces"]["layout"]["yaxis"]["ticktext"] == ["a1", "b2-3"]
    assert [row["plan"] for row in visitor.table("guessing")] == ["a1", "a1", "b2-3", "b2-3"]


def test_one_button_asks_for_every_plan_that_is_missing(deviation, slow):
    visitor = deviation().click("ask_generation_drift")
    assert slow.begun.wait(SECONDS)
    [bar] = visitor.look().at.get("progress")
    assert "1 more in the queue" in bar.proto.text
    slow.gate.set()
    visitor.wait()
    assert len(visitor.bench.jobs.list()) == 3 and "steps_chart" in visitor.figures()
    visitor.at.text_input(key="plan3").set_value("m0").run()
    visitor.whole().click("ask_generation_drift").wait()
    assert len(visitor.bench.jobs.list()) == 4, "what was known was asked again"
    assert {"a1", "b2-3", "m0"} < set(names(visitor.figures()["steps_chart"]))


def test_without_a_plan_presets_are_offered(visit):
    visitor = visit("deviation")
    assert "There is no plan to measure yet" in visitor.texts() and not any(visitor.has(button) for button in ASKS)
    visitor.click("add_0")
    assert visitor.plan == "a0,a1,a2" and visitor.has("ask_transitions")
    visitor.click("add_all")
    state = visitor.at.session_state
    assert [state[name] for name in ("plan2", "plan3", "plan4")] == ["m0,m1,m2", "w:wanda@0.5", "w:wanda@2:4"]
    visitor.click("clear_more")
    assert visitor.plan == "a0,a1,a2" and not any(state[name] for name in ("plan2", "plan3", "plan4"))


def test_presets_follow_the_ranking_when_it_is_known(visit):
    visitor = visit("similarity").click("ask_similarity").wait()
    order = [row["part"] for row in visitor.table("cosine(update, stream)") if row["part"][0] == "m"]
    visitor.go("deviation").click("add_1")
    assert visitor.plan == ",".join(sorted(order[:3]))


def test_a_pruned_plan_is_calibrated_and_compared(deviation):
    visitor = deviation(plan="w:wanda@0.5", plan2="").click("ask_transitions").wait()
    assert not visitor.errors()
    assert "w:wanda@0.5" in names(visitor.figures()["alone"]) and "left out alone" not in names(visitor.figures()["alone"])


@pytest.mark.parametrize(
    "text, says", [("x9", "'x9' is not part of a plan"), ("a99", "layer 99, but this model has layers 0 to 3")]
)
def test_a_plan_that_cannot_be_is_told_and_the_others_stay(deviation, text, says):
    visitor = deviation(plan2=text)
    assert [says in each for each in visitor.errors()] == [True] and visitor.errors()[0].startswith("Plan 2: ")
    assert visitor.has("ask_transitions")
    visitor.click("ask_transitions").wait()
    assert "a1" in names(visitor.figures()["depth"])


def test_the_same_plan_twice_is_one(deviation):
    visitor = deviation(plan2="A1", plan3="a1,a1").click("ask_transitions").wait()
    assert len(visitor.bench.jobs.list()) == 2  # with the one that loaded the model


def test_items_that_cannot_be_read_are_told(deviation):
    visitor = fill(deviation(), [ITEMS[0], "nonsense", '{"question": "?", "options": ["a"], "answer": 0}'])
    [error] = visitor.errors()
    assert "line 2: this is not JSON" in error and "line 3: its options are not a list" in error
    assert not visitor.has("ask_choice_subspace") and visitor.has("ask_transitions")
    fill(visitor)
    assert not visitor.errors() and "3 items of your own." in visitor.texts()


def test_items_can_be_uploaded(deviation):
    visitor = fill(deviation(), [])
    visitor.at.file_uploader(key="items_file").upload("own.jsonl", "\n".join(ITEMS).encode(), "text/plain").run()
    assert "3 items of your own." in visitor.whole().texts() and visitor.at.session_state["own_items"].startswith("{")
    visitor.at.file_uploader(key="items_file").set_value(("own.jsonl", b"\xff\xfe", "text/plain")).run()
    assert ["own.jsonl is not UTF-8 text" in each for each in visitor.whole().errors()] == [True]


def test_no_items_are_the_built_in_ones(deviation):
    visitor = fill(deviation(), [])
    assert "own items." not in visitor.texts() and visitor.has("ask_choice_subspace")


@pytest.mark.parametrize("given", ["0", "-1", "hot", "nan"])
def test_a_temperature_of_a_link_that_cannot_be_is_told(visit, given):
    visitor = visit("deviation", plan="a1", T=given)
    assert visitor.at.session_state["T"] == "1"
    assert [f"T={given}, which is not valid; T=1 is used" in each.value for each in visitor.at.warning] == [True]


def test_a_temperature_of_a_link_that_is_not_on_the_dial_is_taken(visit):
    visitor = visit("deviation", plan="a1", T="0.33")
    assert visitor.at.session_state["T"] == "0.33" and not visitor.at.warning


def test_another_temperature_is_another_question_and_the_first_is_still_known(deviation):
    visitor = deviation().click("ask_transitions").wait()
    visitor.at.select_slider(key="T").set_value("0.5").run()
    assert visitor.whole().has("ask_transitions") and "depth" not in visitor.figures()
    assert "Measured at T = 1." in visitor.texts()
    visitor.click("ask_transitions").wait()
    assert "Measured at T = 0.5, 1." in visitor.texts()
    visitor.at.select_slider(key="T").set_value("1").run()
    assert "depth" in visitor.figures() and not visitor.has("ask_transitions")


def test_measured_at_tells_of_this_text_and_these_parameters(deviation):
    visitor = deviation().click("ask_transitions").wait()
    assert "Measured at T = 1." in visitor.texts()
    for key, other, back in (("windows", 1, 2), ("length", 16, 32)):
        visitor.at.number_input(key=key).set_value(other).run()
        assert "Measured at" not in visitor.whole().texts(), key
        visitor.at.number_input(key=key).set_value(back).run()
        assert "Measured at T = 1." in visitor.texts()
    visitor.at.segmented_control(key="tokens").set_value("all tokens").run()
    assert "Measured at" not in visitor.whole().texts() and visitor.has("ask_transitions")
    visitor.at.text_input(key="plan").set_value("a2").run()
    visitor.at.text_input(key="plan2").set_value("").run()
    assert "Measured at" not in visitor.whole().texts()


def test_steps_can_be_walked_and_the_worst_is_shown_first(deviation):
    visitor = deviation().click("ask_generation_drift").wait()
    step = visitor.at.session_state["step"]
    [worst] = [button for button in visitor.at.button if button.key == "worst_0"]
    assert f"Worst at step {step}: " in worst.help and f"Step {step}: KL " in visitor.texts()
    visitor.at.number_input(key="step").set_value(1 if step != 1 else 2).run()
    other = visitor.whole().at.session_state["step"]
    assert other != step and f"Step {other}: KL " in visitor.texts()
    visitor.click("worst_0")
    assert visitor.at.session_state["step"] == step
    [strip] = [body for body in shown(visitor) if "outline" in body and body.count("title=") == 4]
    assert len(re.findall(r'class="[^"]*chosen', strip)) == 1


def test_the_texts_of_both_stand_beside_each_other(deviation):
    visitor = deviation().click("ask_generation_drift").wait()
    assert "<b>Dense</b>" in "".join(shown(visitor)) and "<b>Pruned · a1</b>" in "".join(shown(visitor))
    assert visitor.texts().count("distinct-1, -2, -3") == 2
    assert "First difference at step" in visitor.texts() or "Identical, token for token." in visitor.texts()


def test_every_view_can_be_drawn(deviation):
    visitor = measure(deviation())
    visitor.at.toggle(key="band").set_value(False)
    visitor.at.toggle(key="estimates").set_value(False)
    visitor.at.toggle(key="norm").set_value(False)
    visitor.look()
    assert not any("estimate" in name for name in names(visitor.figures()["depth"]))
    visitor.at.selectbox(key="curve_prompt").select_index(1)
    visitor.at.selectbox(key="drift_plan").select("b2-3")
    visitor.at.selectbox(key="choice_plan").select("b2-3")
    visitor.look()
    assert "pruned: " in str(visitor.figures()["steps_chart"]) and "<b>Pruned · b2-3</b>" in "".join(shown(visitor))
    for key, label in (("text_read", "each its own"), ("way", "by the option's text")):
        visitor.at.segmented_control(key=key).set_value(label).run()
        assert not visitor.whole().errors() and visitor.at.session_state[key] == label


def test_a_link_restores_the_view(deviation, visit):
    visitor = measure(deviation())
    visitor.at.selectbox(key="drift_plan").select("b2-3").run()
    step = 1 + visitor.at.session_state["step"] % 4  # not the worst one, which is shown without a link
    other = visit(
        "deviation", plan="a1", plan2="b2-3", T="1", step=step, band="false", drift_plan="b2-3",
        curve_prompt="1. the capital of France", text_read="each its own", **SHORT,
    )  # fmt: skip
    state = other.at.session_state
    assert (state["plan2"], state["step"], state["band"], state["drift_plan"]) == ("b2-3", step, False, "b2-3")
    assert (state["curve_prompt"], state["text_read"]) == ("1. the capital of France", "each its own")
    assert {"depth", "steps_chart", "alternatives"} < set(other.figures()) and not other.has("ask_transitions")
    assert not other.at.warning and f"Step {step}: KL" in other.texts()


def test_a_prompt_too_long_is_told(deviation):
    visitor = deviation(drift_prompts="Paris " * 300).click("ask_generation_drift").wait()
    assert any("reads at most 128" in each for each in visitor.errors())


def test_the_page_needs_a_model(link):
    assert "never been loaded here" in Visitor("deviation", **link).texts()


def test_tokens_and_questions_cannot_be_markup():
    assert plain("*a* <b> :red[x] $y$ `z`") == "\\*a\\* \\<b\\> \\:red\\[x\\] \\$y\\$ \\`z\\`"
