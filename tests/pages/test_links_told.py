"""A setting of a link that has only some possible values: one that it cannot have is told on the page where it is drawn."""

import pytest

from pages.shell.link import SETTINGS
from tests.pages.visitor import Visitor, unmarked

# What may be anything, and where it is read says so if it makes no sense.
FREE = set(
    "model revision corpus plan plan2 plan3 plan4 prompt drift_prompts comparison compare_plans task_tasks plans_filter "
    "export_folder glossary_find scan_base search_base grid_dims grid_top basis against".split()
)
# Page and what of it is open → settings that are drawn there.
DRAWN = {
    ("model", ""): "dtype device windows length bos",
    ("similarity", ""): "without_first similarity_view",
    ("scan", ""): "scan_view",
    ("key_rank", ""): "level layer head dims top context whole",
    ("drop_lab", ""): "answer_length temperature seed chat speed_batch speed_prompt speed_new tried_by",
    ("deviation", ""): "T tokens drift_steps chat_turn part",
    ("deviation", "part=In the text"): "text_read curve_prompt band estimates drift_plan drift_prompt step",
    ("deviation", "part=Multiple choice"): "way choice_plan",
    ("deviation", "part=Each sublayer alone"): "norm",
    ("compare", ""): "compare compare_length compare_temperature compare_seed compare_chat",
    ("compare", "compare=Read"): "compare_order compare_item compare_stacked",
    ("decide", ""): "decide search_unit search_points search_seed search_draws search_continuation search_share "
    "search_again search_generations search_offspring",
    ("decide", "decide=Search"): "search_view",
    ("decide", "decide=Tasks"): "task_limit task_fewshot task_chat",
    ("tour", ""): "tour_step",
}


def test_every_setting_is_looked_at():
    assert set(" ".join(DRAWN.values()).split()) == SETTINGS - FREE


@pytest.mark.parametrize("page, part", DRAWN, ids=lambda each: each.replace(" ", "_") or "-")
def test_what_a_setting_cannot_be_is_told(answered, restart, page, part):
    data, link = answered
    restart(data)
    names = DRAWN[page, part].split()
    more = dict([part.split("=")]) if part else {}
    visitor = Visitor(page, **(link | more | dict.fromkeys(names, "never")))
    told = [unmarked(each.value).removeprefix("The link asks for ").split("=")[0] for each in visitor.at.warning]
    assert sorted(told) == sorted(names)
    assert not visitor.look().at.warning


def test_what_a_setting_can_be_is_not_told(answered, restart):
    data, link = answered
    restart(data)
    more = {"band": "false", "estimates": "false", "T": "1", "text_read": "each its own", "step": 2, "part": "In the text"}
    assert not Visitor("deviation", **(link | more)).at.warning
    assert not Visitor("similarity", **link, similarity_view="States", without_first="true").at.warning
    assert not Visitor("drop_lab", **link, tried_by="KV cache", temperature="0.50").at.warning
