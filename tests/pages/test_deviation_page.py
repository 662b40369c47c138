"""The deviation page: ask, read the verdict, look at a step, compare plans, restore all that by a link."""

import json
import re
from urllib.parse import parse_qsl

import pytest

from pages.shell.words import plain
from tests.pages.visitor import SECONDS, Visitor

ITEMS = [
    '{"question": "The capital of France is", "options": ["Paris", "Rome", "Berlin"], "answer": 0}',
    '{"question": "Two and two is", "options": ["five", "four"], "answer": "B", "category": "arithmetic"}',
    '{"question": "Which of these flies?", "options": ["a stone", "a bird"], "answer": "a bird"}',
]
SHORT = {"drift_prompts": "the capital of France", "drift_steps": 4, "chat_turn": "false"}
STEPS, CHOICE, ALONE = "In the text", "Multiple choice", "Each sublayer alone"
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


def part(visitor, name):
    """One of the tabs below the verdict."""
    return visitor.open("part", name)


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
    assert set(visitor.figures()) == {"depth"} and not visitor.has("ask_transitions")
    assert set(part(visitor, ALONE).figures()) == {"depth", "alone"}
    assert "Not measured yet: steps, choices." in visitor.texts()
    assert "Measure the steps first." in part(visitor, STEPS).texts()
    visitor.click("ask_generation_drift").wait()
    assert {"steps_chart", "alternatives"} < set(visitor.figures())
    visitor.click("ask_choice_subspace").wait()
    assert {"subspaces", "each_item"} < set(part(visitor, CHOICE).figures())
    assert "Not measured yet" not in visitor.texts() and not any(visitor.has(button) for button in ASKS)
    said = visitor.texts()
    assert said.count("On average, hidden states ") == 2 and said.count("too little text to say whether it suits") == 2
    assert "64 tokens in 2 windows · float32 on cpu" in visitor.texts()
    assert len(visitor.answers) == 6


def test_two_plans_stand_in_the_same_axes(deviation):
    visitor = measure(deviation())
    for name in ("depth", "steps_chart"):
        figure = visitor.figures()[name]
        assert {"a1", "b2-3"} < set(names(figure))
        colours = {trace["name"]: trace["line"]["color"] for trace in figure["data"] if trace.get("name") in ("a1", "b2-3")}
        assert len(set(colours.values())) == 2
    assert part(visitor, CHOICE).figures()["subspaces"]["layout"]["yaxis"]["ticktext"] == ["a1", "b2-3"]
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
    rows = visitor.open("similarity_view", "Ranking").table("cosine(update, stream)")
    order = [row["part"] for row in rows if row["part"][0] == "m"]
    visitor.go("deviation").click("add_1")
    assert visitor.plan == ",".join(sorted(order[:3]))


def test_a_pruned_plan_is_calibrated_and_compared(deviation):
    visitor = deviation(plan="w:wanda@0.5", plan2="").click("ask_transitions").wait()
    assert not visitor.errors()
    shown = names(part(visitor, ALONE).figures()["alone"])
    assert "w:wanda@0.5" in shown and "left out alone" not in shown


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
    assert [f"T={given}, which is not possible here; T=1 is used" in each.value for each in visitor.at.warning] == [True]


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
    assert text(visitor)["chosen"] == step - 1 and text(visitor)["span"] == [0, 4]
    assert [each["said"].startswith(f"step {i}: KL ") for i, each in enumerate(text(visitor)["tokens"], 1)] == [True] * 4


def text(visitor):
    """What the text of tokens is given to draw."""
    [proto] = [each.proto for each in visitor.at.get("bidi_component")]
    return json.loads(proto.json)


def click(visitor, place):
    """A click on a token, as a browser tells of it."""
    [proto] = [each.proto for each in visitor.at.get("bidi_component")]
    said = json.dumps([{"event": "chosen", "value": place}])
    return visitor.told(f"$$STREAMLIT_INTERNAL_KEY_{proto.id}__events", json_trigger_value=said)


def test_a_click_on_a_token_goes_to_its_step(deviation):
    visitor = deviation().click("ask_generation_drift").wait()
    for place in (2, 0, 3, 3):
        click(visitor, place)
        assert visitor.at.session_state["step"] == place + 1 and text(visitor)["chosen"] == place
        assert f"Step {place + 1}: KL " in visitor.texts()
    for place in (4, -1, "1", None, True, [1]):
        assert click(visitor, place).at.session_state["step"] == 4, "a place that no token has was taken"


def test_a_step_leads_to_its_layer_and_the_layer_to_the_other_pages(deviation):
    visitor = deviation(plan="b2", plan2="").click("ask_generation_drift").wait()
    click(visitor, 1)
    assert "At which layer does this step go wrong?" in visitor.texts() and "step_depth" not in visitor.figures()
    visitor.click("ask_step_layers").wait()
    assert "b2" in names(visitor.figures()["step_depth"])
    assert "Where 1 − cos grows most at this step: hidden states in layer 2, from 0 to " in visitor.texts()
    assert "About layer 2:" in visitor.texts()
    [asked] = [each.about["question"] for each in visitor.answers if each.about["question"]["probe"] == "step_layers"]
    assert (asked["params"]["prompt"], asked["params"]["step"], asked["params"]["length"]) == (0, 1, 4)
    assert asked["params"]["prompts"] == "the capital of France" and asked["params"]["chat"] == "off"
    links = visitor.links()
    assert links["Its heads"] == "key_rank?take_layer=2" and "What dropping it costs" in links
    assert links["The answer with its block restored"] == "drop_lab?take_plan="
    assert links["The answer with its attention restored"] == "drop_lab?take_plan=m2"
    click(visitor, 2)
    assert visitor.has("ask_step_layers") and "step_depth" not in visitor.figures(), "another step is another question"
    click(visitor, 1)
    assert "step_depth" in visitor.figures() and not visitor.has("ask_step_layers")


def test_the_costliest_sublayer_leads_to_the_other_pages(deviation):
    visitor = deviation(plan2="").click("ask_transitions").wait()
    worst = max(part(visitor, ALONE).table("KL reversed"), key=lambda row: row["KL"])["part"]
    field = visitor.at.number_input(key="around_alone_layer")
    assert field.value == int(worst[1:]) and visitor.links()["Its heads"] == f"key_rank?take_layer={worst[1:]}"
    field.set_value(3).run()
    assert visitor.links()["The answer without its MLP"].startswith("drop_lab?take_plan=a1%2Cm3")


def test_a_prompt_is_brought_along_from_the_drop_lab(deviation, visit):
    lab = visit("drop_lab", plan="b1-3", prompt="the capital\nof France", answer_length=6, chat="false").click("answer").wait()
    link = lab.links()["Where do the two diverge? → Deviation"]
    page, _, query = link.partition("?")
    assert page == "deviation"
    there = visit("deviation", plan="b1-3", **dict(parse_qsl(query)))
    state = there.at.session_state
    assert state["drift_prompts"] == '{"prompt": "the capital\\nof France"}' and state["drift_steps"] == 6
    assert state["chat_turn"] is False and not any(name.startswith("take_") for name in there.at.query_params)
    assert there.at.query_params["drift_prompts"] == state["drift_prompts"], "the address does not restore the view"
    there.click("ask_generation_drift").wait()
    [apart] = re.findall(r"First difference at token (\d+)\.", lab.texts())
    assert dict(parse_qsl(query))["take_step"] == apart
    assert state["step"] == int(apart) and f"First difference at step {apart} " in there.texts()
    assert "Where do the two diverge? → Deviation" not in visit("drop_lab", plan="").click("answer").wait().links()


def test_what_a_link_brings_replaces_what_the_page_had_before(deviation):
    visitor = deviation().click("ask_generation_drift").wait().go("drop_lab")
    visitor.at.query_params.update({"take_drift_prompts": "of France", "take_drift_steps": "3", "take_step": "2"})
    state = visitor.go("deviation").at.session_state
    assert (state["drift_prompts"], state["drift_steps"]) == ("of France", 3) and visitor.has("ask_generation_drift")
    visitor.click("ask_generation_drift").wait()
    assert state["step"] == 2 and "Step 2: KL " in visitor.texts() and not visitor.at.warning


def test_the_texts_of_both_stand_beside_each_other(deviation):
    visitor = deviation().click("ask_generation_drift").wait()
    assert "<b>Dense</b>" in "".join(shown(visitor)) and "<b>Pruned · a1</b>" in "".join(shown(visitor))
    assert visitor.texts().count("distinct-1, -2, -3") == 2
    assert "First difference at step" in visitor.texts() or "Identical, token for token." in visitor.texts()


def test_every_view_can_be_drawn(deviation):
    visitor = measure(deviation())
    visitor.at.toggle(key="band").set_value(False)
    visitor.at.toggle(key="estimates").set_value(False)
    part(visitor, ALONE).at.toggle(key="norm").set_value(False)
    visitor.look()
    assert not any("estimate" in name for name in names(visitor.figures()["depth"]))
    visitor.at.selectbox(key="curve_prompt").select_index(1)
    part(visitor, CHOICE).at.selectbox(key="choice_plan").select("b2-3").run()
    part(visitor, STEPS).at.selectbox(key="drift_plan").select("b2-3").run()
    assert "pruned: " in str(visitor.figures()["steps_chart"]) and "<b>Pruned · b2-3</b>" in "".join(shown(visitor))
    for key, label, tab in (("text_read", "each its own", STEPS), ("way", "by the option's text", CHOICE)):
        part(visitor, tab).at.segmented_control(key=key).set_value(label).run()
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
    assert {"depth", "steps_chart", "alternatives"} <= set(other.figures()) and not other.has("ask_transitions")
    assert not other.at.warning and f"Step {step}: KL" in other.texts()


def test_a_prompt_too_long_is_told(deviation):
    visitor = deviation(drift_prompts="Paris " * 300).click("ask_generation_drift").wait()
    assert any("reads at most 128" in each for each in visitor.errors())


def test_the_page_needs_a_model(link):
    assert "never been loaded here" in Visitor("deviation", **link).texts()


def test_tokens_and_questions_cannot_be_markup():
    assert plain("*a* <b> :red[x] $y$ `z`") == "\\*a\\* \\<b\\> \\:red\\[x\\] \\$y\\$ \\`z\\`"
