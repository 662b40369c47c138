"""The main job in a real browser, on the real model."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import Page, expect

SMALL = "windows=2&length=128&dtype=float32&device=cpu"
LONG = 120_000  # milliseconds; unpacking the bundled model the first time takes most of it


def settled(page: Page) -> Page:
    """Wait until the page is drawn and shows no fault."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=LONG)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    return page


def load(page: Page) -> None:
    """Load the bundled model, unless another test has done so."""
    button, loaded = (
        page.get_by_role("button", name=re.compile("^Load ")).first,
        page.get_by_text(re.compile(r"is in memory · \d+ layers")).first,
    )
    expect(button.or_(loaded).first).to_be_visible()
    settled(page)
    if not loaded.count():
        button.click()
    expect(loaded).to_be_visible(timeout=LONG)
    settled(page)


def plan_of(page: Page):
    return page.locator(".st-key-plan input")


def click_mark(page: Page, chart: str, mark: str, place: int) -> None:
    """Click a mark of a chart near its top; on a logarithmic axis a bar reaches far below the picture."""
    target = page.locator(f".st-key-{chart} {mark}").nth(place)
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    x, y = (
        box["x"] + box["width"] / 2,
        box["y"] + min(box["height"] / 2, 6),
    )
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    expect(page.locator(f".st-key-{chart} .hoverlayer .hovertext").first).to_be_visible()  # a click goes to what is hovered
    expect(page.locator(f".st-key-{chart} .nsewdrag").first).to_have_css("cursor", "pointer")
    page.mouse.click(x, y)


def click_cell(page: Page, chart: str, across: int, down: int) -> None:
    """Click a cell of a map, off its middle."""
    place = """([chart, across, down]) => {
        const drawn = document.querySelector(`.st-key-${chart} .js-plotly-plot`), { xaxis, yaxis } = drawn._fullLayout;
        drawn.scrollIntoView({ block: "center" });
        const { left, top } = drawn.getBoundingClientRect();
        return [left + xaxis._offset + xaxis.d2p(across + 0.3), top + yaxis._offset + yaxis.d2p(down + 0.3)];
    }"""
    x, y = page.evaluate(place, [chart, across, down])
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    expect(page.locator(f".st-key-{chart} .hoverlayer .hovertext").first).to_be_visible()  # a click goes to what is hovered
    page.mouse.click(x, y)


def grown(page: Page, tokens: int) -> None:
    """Wait until both answers have so many tokens."""
    page.wait_for_function(
        "n => { const all = [...document.querySelectorAll('.answer')];"
        " return all.length == 2 && all.every(each => each.querySelectorAll('span').length >= n) }",
        arg=tokens,
    )


def counts(page: Page) -> list[int]:
    return [page.locator(".answer").nth(i).locator("span").count() for i in (0, 1)]


def test_the_main_job(open_page):
    page = open_page(f"?{SMALL}")
    load(page)
    expect(page.locator(".splash")).to_have_count(0)
    page.get_by_test_id("stSidebarNavItems").get_by_role("link", name="Similarity").click()
    page.get_by_role("button", name="Measure similarity").click()
    expect(page.get_by_role("button", name="Drop the 4 most redundant attention layers")).to_be_visible(timeout=LONG)
    settled(page)

    click_mark(page, "importance", ".barlayer .trace.bars .point path", 7)
    expect(plan_of(page)).to_have_value("a7")
    settled(page)
    click_mark(page, "importance", ".barlayer .trace.bars .point path", 7)
    expect(plan_of(page)).to_have_value("")
    settled(page)
    page.get_by_role("button", name="Drop the 4 most redundant attention layers").click()
    expect(plan_of(page)).to_have_value(re.compile(r"^a\d+,a\d+,a\d+,a\d+$"))
    settled(page)

    page.get_by_role("tab", name="States").click()
    settled(page)
    expect(page.locator(".st-key-states .js-plotly-plot")).to_be_visible()
    click_cell(page, "states", 12, 9)
    expect(plan_of(page)).to_have_value(re.compile(r"b9-11"))
    settled(page)
    page.get_by_role("button", name="Undo").click()
    expect(plan_of(page)).to_have_value(re.compile(r"^a\d+,a\d+,a\d+,a\d+$"))
    assert "plan=a" in page.url

    page.get_by_test_id("stSidebarNavItems").get_by_role("link", name="Drop lab").click()
    expect(page.get_by_text("Side by side", exact=True)).to_be_visible()
    settled(page)
    length = page.locator(".st-key-answer_length input")
    length.fill("24")
    length.press("Enter")
    settled(page)
    page.get_by_role("button", name="Answer", exact=True).click()
    grown(page, 1)
    expect(page.get_by_text("Every step as a table")).to_be_visible(timeout=LONG)
    settled(page)
    expect(page.locator(".answer").first).to_contain_text("The capital of France is Paris")
    assert max(counts(page)) <= 24

    page.locator(".st-key-prompt textarea").fill("Tell a long story about a fox.")
    page.locator(".st-key-prompt textarea").press("Control+Enter")
    length.fill("400")
    length.press("Enter")
    settled(page)
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("Every step as a table")).to_have_count(0)
    grown(page, 3)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Every step as a table")).to_be_visible()
    assert 3 <= max(counts(page)) < 400

    page.get_by_role("button", name="Measure this plan").click()
    expect(page.get_by_text("Plans tried on this model and text")).to_be_visible(timeout=LONG)
    settled(page)
    expect(page.get_by_test_id("stMetric").filter(has_text="Perplexity")).to_be_visible()
    expect(page.get_by_role("heading", name="Export")).to_be_visible()
    expect(page.get_by_test_id("stCode").first).to_contain_text("drop_attention")


def test_from_the_rank_of_keys_to_low_rank_answers(open_page):
    page = open_page(f"key_rank?{SMALL}&answer_length=12")
    load(page)
    page.get_by_role("button", name="Measure key rank").click()
    expect(page.locator(".st-key-heads .js-plotly-plot")).to_be_visible(timeout=LONG)
    settled(page)
    box = page.locator(".st-key-heads .heatmaplayer image, .st-key-heads .heatmaplayer").first.bounding_box()
    x, y = box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.52
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    page.wait_for_url(re.compile(r"layer=1\d"))
    settled(page)
    page.get_by_role("button", name="Add to the plan").click()
    expect(plan_of(page)).to_have_value("k:0.25/0.25")
    page.get_by_role("link", name="Try it in the Drop lab").click()
    expect(page.get_by_text("Side by side", exact=True)).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("Every step as a table")).to_be_visible(timeout=LONG)
    settled(page)
    expect(page.locator(".answer").first).to_contain_text("The capital of France is Paris")
    expect(page.get_by_text("Pruned · k:0.25/0.25")).to_be_visible()


def test_where_a_plan_hurts(open_page):
    """Two plans in the same axes, over depth and over steps, a verdict for each, and the worst token one click away."""
    page = open_page(f"deviation?{SMALL}&plan=a7,a25&plan2=m16&drift_steps=6&drift_prompts=Name%20three%20fruits.")
    load(page)
    for name in ("Measure the layers", "Measure the steps"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name=name)).to_have_count(0, timeout=LONG)
        page.wait_for_function("() => !document.querySelector('.stProgress')", timeout=LONG)
        settled(page)
    expect(page.get_by_text("Verdict", exact=True)).to_be_visible()
    for chart in ("depth", "steps_chart", "alternatives"):
        expect(page.locator(f".st-key-{chart} .js-plotly-plot")).to_be_visible()
    _walk_the_text(page)
    page.get_by_role("button", name="Find the layer").click()
    expect(page.locator(".st-key-step_depth .js-plotly-plot")).to_be_visible(timeout=LONG)
    settled(page)
    expect(page.locator(".st-key-around_step").get_by_role("link", name="Its heads")).to_be_visible()
    page.get_by_role("tab", name="Each sublayer alone").click()
    expect(page.locator(".st-key-alone .js-plotly-plot")).to_be_visible()
    assert "plan2=m16" in page.url


def _walk_the_text(page: Page) -> None:
    """Tokens go to their step, by mouse and by keyboard; the one in focus keeps it."""
    tokens = page.get_by_role("listbox", name="The dense model's text").get_by_role("option")
    expect(tokens).to_have_count(6)
    expect(tokens.nth(2)).to_have_css("cursor", "pointer")
    tokens.nth(2).click()
    step = page.locator(".st-key-step input")
    expect(step).to_have_value("3")
    settled(page)
    expect(tokens.nth(2)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".readout")).to_contain_text("Step 3: KL")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(step).to_have_value("5")
    settled(page)
    expect(tokens.nth(4)).to_be_focused()
    assert tokens.nth(4).evaluate("token => token.matches(':focus-visible')")
    expect(page.locator("[role=option][tabindex='0']")).to_have_count(1)


def test_a_pasted_link_restores_the_view(open_page):
    page = open_page(f"drop_lab?{SMALL}&plan=a25%2Cb20-21&prompt=Hello&answer_length=7&temperature=0.5&seed=3&chat=false")
    load(page)
    expect(plan_of(page)).to_have_value("a25,b20-21")
    for key, value in {"windows": "2", "length": "128", "answer_length": "7", "seed": "3", "temperature": "0.50"}.items():
        expect(page.locator(f".st-key-{key} input")).to_have_value(value)
    expect(page.locator(".st-key-prompt textarea")).to_have_value("Hello")
    said = page.get_by_test_id("stSidebar").get_by_text("removes the attention of layer 25; layers 20–21 (2 layers)")
    expect(said).to_be_visible()
    for name in ("plan=a25", "windows=2", "prompt=Hello", "seed=3"):
        assert name in page.url
    expect(page.locator(".st-key-chat input")).not_to_be_checked()


def test_the_address_follows_what_is_chosen(open_page):
    page = open_page(f"drop_lab?{SMALL}")
    load(page)
    plan_of(page).fill("a1,m2")
    plan_of(page).press("Enter")
    page.wait_for_url(re.compile(r"plan=a1(,|%2C)m2"))
    other = open_page(page.url.split("/", 3)[3])
    expect(plan_of(other)).to_have_value("a1,m2")
    settled(other)


def test_layers_as_buttons_work_by_keyboard(open_page):
    page = open_page(f"drop_lab?{SMALL}")
    load(page)
    page.get_by_text("Presets, and layers as buttons").click()
    first = page.locator(".st-key-grid_attention").get_by_role("button", name="3", exact=True)
    first.focus()
    page.keyboard.press("Enter")
    expect(plan_of(page)).to_have_value("a3")
    settled(page)
    page.locator(".st-key-grid_attention").get_by_role("button", name="3", exact=True).focus()
    page.keyboard.press("Enter")
    expect(plan_of(page)).to_have_value("")


def test_a_mistake_is_a_sentence(open_page):
    page = open_page(f"?{SMALL}&plan=a99,x1")
    load(page)
    expect(page.get_by_test_id("stAlert").filter(has_text="'x1' is not part of a plan")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_a_plan_becomes_a_checkpoint(open_page):
    """From a link to a folder that was read back; then the table of exports says where it runs."""
    page = open_page(f"decide?{SMALL}&plan=b20&decide=Export", 1440)
    load(page)
    folder = page.get_by_role("textbox", name="Folder")
    folder.fill("from-the-browser")
    folder.press("Enter")
    settled(page)
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("bytes of weights")).to_be_visible(timeout=LONG)
    settled(page)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    assert "from-the-browser" in page.get_by_text("bytes of weights").inner_text()
