"""A text of one's own in a real browser: its link holds a name that opens it again, after a reload and in another window."""

from playwright.sync_api import expect

WORDS = "the capital of France is Paris, and the capital of the arts. " * 60


def test_the_link_to_an_own_text_opens_it_again(open_page):
    page = open_page("?windows=1&length=16")
    page.get_by_text("Use your own text").click()
    page.get_by_label("Paste text").fill(WORDS)
    page.get_by_label("Paste text").press("Control+Enter")
    page.get_by_role("button", name="Use this text").click()
    page.wait_for_url(lambda url: "corpus=text" in url)
    link = page.url
    page.reload()
    expect(page.locator(".st-key-corpus input")).to_have_value(_name(link))
    other = open_page(link.rpartition("/")[2])
    expect(other.locator(".st-key-corpus input")).to_have_value(_name(link))
    expect(other.get_by_text("is not valid")).to_have_count(0)
    assert "own+text" not in page.url and page.url == link == other.url


def _name(link):
    return "text:" + link.partition("corpus=text")[2].removeprefix("%3A").removeprefix(":").partition("&")[0]
