"""What is known is shown where the model is not: files deleted, measured elsewhere, unloaded or forgotten meanwhile."""

import shutil

import pytest

from cache.store import Store, StoreError
from probes.bundles import packed
from tests.pages.visitor import Visitor

PAGES = {"similarity": "ask_similarity", "key_rank": "ask_key_rank", "deviation": "ask_transitions", "drop_lab": "ask_fidelity"}
CHARTS = {"model": "sizes", "similarity": "importance", "key_rank": "heads", "deviation": "depth", "drop_lab": "tried"}
PLAN = {"plan": "a1"}


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model, to be deleted."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def measured(visit, folder):
    """Everything asked of a model once."""
    visitor = visit("model", model=folder, **PLAN)
    for page, ask in PAGES.items():
        visitor.go(page).click(ask).wait()
    return visitor


@pytest.fixture
def unreadable(measured, monkeypatch):
    """Break the store for all who share it."""

    def refuse(*_, **__):
        raise StoreError("The store could not be read: its database is damaged.")

    def broken(*names):
        for name in names:
            monkeypatch.setattr(type(measured.bench.store), name, refuse)

    return broken


def everything_is_shown(folder, link):
    """Check that a new visitor sees every answer and what the model is made of, and nothing that would compute."""
    visitor = Visitor("model", **(link | PLAN | {"model": folder}))
    for page, chart in CHARTS.items():
        visitor.go(page)
        assert chart in visitor.figures(), page
        assert not visitor.errors() and not visitor.has("load_here") and not visitor.has(PAGES.get(page, "load_main")), page
        assert "4 layers · not in memory; stored answers are shown" in visitor.texts()
    assert not visitor.bench.executor.leases.residents() and not visitor.bench.jobs.list()
    return visitor


@pytest.mark.usefixtures("measured")
def test_answers_open_although_the_files_are_gone(folder, link, restart):
    restart()
    everything_is_shown(folder, link)
    shutil.rmtree(folder)
    visitor = everything_is_shown(folder, link)
    assert [row["plan"] for row in visitor.go("drop_lab").table("top1")] == ["a1"]
    assert any(each.label == "KV cache per token" for each in visitor.at.metric), "what the plan costs was counted before"
    visitor.at.text_input(key="plan").set_value("a2").run()
    assert "to see what this plan saves" in visitor.whole().texts()
    visitor.click("ask_fidelity").wait()
    assert any("There is no folder" in each for each in visitor.errors())


def test_answers_open_where_a_bundle_was_unpacked(measured, folder, link, restart, tmp_path):
    packed(measured.bench.store, measured.ref, tmp_path / "answers.bundle")
    shutil.rmtree(folder)
    restart(tmp_path / "elsewhere")
    visitor = Visitor("storage", **(link | PLAN | {"model": folder}))
    assert "Nothing is stored yet" in visitor.texts() and visitor.at.button(key="bundle_take").disabled
    take(visitor, (tmp_path / "answers.bundle").read_bytes())
    assert [each for each in visitor.at.success if "row" in each.value and "0 already there" in each.value]
    assert len(visitor.table("hits")) == 4
    everything_is_shown(folder, link)


def take(visitor, content):
    """Upload a bundle on Storage."""
    visitor.at.file_uploader(key="bundle_file").upload("answers.bundle", content, "application/zip").run()
    return visitor.whole().click("bundle_take")


@pytest.mark.parametrize(
    "spoil, says", [(lambda b: b[:-7], "Get it again"), (lambda b: b"no zip", "is not a PruneScope bundle")]
)
def test_a_bundle_that_cannot_be_read_is_told(measured, restart, link, tmp_path, spoil, says):
    packed(measured.bench.store, measured.ref, tmp_path / "answers.bundle")
    restart(tmp_path / "elsewhere")
    visitor = take(Visitor("storage", **link), spoil((tmp_path / "answers.bundle").read_bytes()))
    assert [says in each for each in visitor.errors()] == [True] and not visitor.bench.store.entries()


def test_an_answer_forgotten_between_two_looks_is_asked_again(measured):
    for page in CHARTS:
        assert CHARTS[page] in measured.go(page).figures()
        measured.bench.store.delete_all()
        measured.look()
        assert "never been loaded here" in measured.texts() or page == "model"
        assert not measured.figures() and not measured.errors(), page
        measured.click("load").wait()
        if page in PAGES:
            assert measured.click(PAGES[page]).wait().figures() and not measured.has(PAGES[page])
        for other in PAGES.keys() - {page}:
            measured.go(other)
            if measured.has(PAGES[other]):
                measured.click(PAGES[other])
        measured.wait()


@pytest.mark.parametrize("broken", [("read", "about", "entries", "keys", "put"), ("entries",), ("put",)])
def test_a_store_that_is_broken_is_told_on_every_page(measured, unreadable, broken):
    for page in CHARTS:
        measured.go(page)  # drawn while it is whole, so that its buttons are there
    unreadable(*broken)
    for page in (*CHARTS, "storage"):
        measured.go(page)
        if "read" in broken:
            assert any("its database is damaged" in each for each in measured.errors()), page
        for button in ("load", "load_here", "answer", PAGES.get(page)):
            if button and measured.has(button):
                measured.click(button).wait()


def test_an_answer_that_cannot_be_read_is_told_in_its_place(measured, monkeypatch):
    """The model is known, and one row is damaged or of somebody else."""
    answers, read = {each.key for each in measured.answers}, Store.read

    def refusing(self, key, hit=True):
        if key in answers:
            raise StoreError("The answer was not written by PruneScope and was not opened.")
        return read(self, key, hit)

    monkeypatch.setattr(Store, "read", refusing)
    for page in PAGES:
        assert any("was not written by PruneScope" in each for each in measured.go(page).errors()), page
        assert CHARTS[page] not in measured.figures()


@pytest.mark.parametrize("gone", [False, True])
def test_an_unload_while_a_page_is_drawn_is_no_fault(measured, folder, monkeypatch, gone):
    """Somebody unloads the model whenever a page has looked whether it is in memory, and deletes its files, too."""
    leases = measured.bench.executor.leases
    there = leases.residents()

    def looked():
        leases.release()
        if gone:
            shutil.rmtree(folder, ignore_errors=True)
        return there

    monkeypatch.setattr(leases, "residents", looked)
    for page in (*CHARTS, "storage"):
        measured.at.text_input(key="plan").set_value("b2").run()
        measured.whole().go(page)
        measured.look().at.text_input(key="plan").set_value("a1").run()
        assert measured.whole().figures() or page == "storage"
