"""A real server, a real Chromium, and what the browser complained about."""

from pathlib import Path

import pytest

from benchmarks.server import serving
from cache.store import Store
from probes.generation.comparison import keep
from tests import answers

# Part of a complaint → why it is not ours.
IGNORED: list[tuple[str, str]] = [
    ("/_stcore/health", "Streamlit looks for its server under the page's own address first, then at the root"),
    ("/_stcore/host-config", "the same search"),
]


def pytest_collection_modifyitems(items):
    """All tests here need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(data, chromium):
    """The address of the app, running in a process of its own on a free port."""
    _share_the_model(data)
    with serving(data / "browser") as found:
        yield found.address


def _share_the_model(data):
    """Answers are the server's own, but unpacking the bundled model once is enough."""
    (data / "browser").mkdir(exist_ok=True)
    (data / "models").mkdir(exist_ok=True)
    if not (data / "browser" / "models").exists():
        (data / "browser" / "models").symlink_to(data / "models", target_is_directory=True)


@pytest.fixture(scope="session")
def answered(server, data, tiny_folder, tmp_path_factory):
    """A link with a gap for the page, to a tiny model of which all is measured and nothing is in memory."""
    model = answers.roomy(tiny_folder, tmp_path_factory.mktemp("roomy") / "model")
    store, comparisons = (Store(data / "browser" / name) for name in ("answers", "comparisons"))
    answers.fill(store, model)
    made = keep(comparisons, answers.comparison(model))
    for each in (store, comparisons):
        each.close()
    return f"{server}/{{}}{answers.link(model)}&comparison={made}"


@pytest.fixture
def open_page(browser, server):
    """Open an address of the app in a window of its own; at the end, no page may have complained."""
    contexts, complaints = [], []

    def opened(path="", width=1440, height=1100, theme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None)
        page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        page.goto(f"{server}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [said for said in complaints if not any(part in said for part, _ in IGNORED)] == []
