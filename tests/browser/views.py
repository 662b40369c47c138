"""Every page of the app with its answer, for checks of them all."""

import re
from urllib.parse import quote

from playwright.sync_api import Page, expect

UNASKED = "windows=3"  # of the text; all that was measured is of four
TABLE = "[data-testid=stDataFrame]"
# A page, or a part of one, and what stands on it once its answer is drawn.
VIEWS = {
    "": ".st-key-chart_sizes .main-svg",
    "similarity": ".st-key-chart_importance .main-svg",
    "similarity?similarity_view=States": ".st-key-chart_states .main-svg",
    "similarity?similarity_view=Spans": ".st-key-chart_curve .main-svg",
    "similarity?similarity_view=Contributions": ".st-key-chart_contributions .main-svg",
    "similarity?similarity_view=Ranking": TABLE,
    "scan": ".st-key-chart_damage .main-svg",
    "scan?scan_view=Cheap scores": TABLE,
    "scan?scan_view=Skip effects": ".st-key-chart_skips .main-svg",
    "key_rank": ".st-key-chart_by_layer .main-svg",
    "deviation": ".st-key-chart_alternatives .main-svg",
    "deviation?part=Multiple choice": ".st-key-chart_each_item .main-svg",
    "deviation?part=Each sublayer alone": ".st-key-chart_alone .main-svg",
    "drop_lab": ".st-key-chart_tried .main-svg",
    "compare": ".st-key-compare_csv",
    "compare?compare=Blind vote": ".st-key-vote_left",
    "decide?decide=Search": ".st-key-chart_front .main-svg",
    "decide?decide=Search&search_view=Plans found": ".st-key-found_table",
    "decide?decide=Search&search_view=Effort": TABLE,
    "decide?decide=Plans": ".st-key-plans_table",
    "decide?decide=Speed": ".st-key-ask_speed",
    "decide?decide=Tasks": ".st-key-ask_evaluate",
    "decide?decide=Export": ".st-key-export_folder",
    "storage": ".st-key-bundle_take",
    "tour": ".st-key-chart_tour_importance .main-svg",
    "tour?tour_step=2 · What it costs": ".st-key-chart_tour_tried .main-svg",
    "tour?tour_step=3 · How it reads": ".answer",
    "tour?tour_step=4 · Your turn": ".stMain [data-testid=stPageLink]",
    "glossary": ".st-key-glossary_find",
}
# Pages that have no answer yet.
VIEWS |= {
    f"{page}?{UNASKED}": f".st-key-introduction_{page} .main-svg, .st-key-introduction_{page} .answer"
    for page in ("similarity", "scan", "key_rank", "deviation", "drop_lab", "compare", "decide")
}
# A first visit, of a model that nobody has loaded.
NOBODYS = "model=nobodys/model"
VIEWS[f"?{NOBODYS}"] = ".st-key-introduction_model .main-svg"
# Pages on which something is pressed before they are looked at: the key of the button.
PRESSED = {"drop_lab?answer_length=8": "answer", "decide?decide=Speed&speed_prompt=32&speed_new=4": "ask_speed"}
VIEWS |= {
    "drop_lab?answer_length=8": ".st-key-keep_answers",
    "decide?decide=Speed&speed_prompt=32&speed_new=4": ".st-key-chart_speed_rounds .main-svg",
}


def visit(page: Page, link: str, view: str) -> Page:
    """Open one and wait until it is drawn; ``link`` has a gap for it."""
    given = re.sub("&(windows|plan|comparison)=[^&]*", "", link) if UNASKED in view else link
    given = re.sub("[{][}]model=[^&]*", "{}", link) if NOBODYS in view else given
    page.goto(given.format(f"{quote(view, safe='?=&')}{'&' if '?' in view else '?'}"))
    if view in PRESSED:
        page.locator(f".st-key-{PRESSED[view]} button").click()
    expect(page.locator(VIEWS[view]).first).to_be_visible()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    return page
