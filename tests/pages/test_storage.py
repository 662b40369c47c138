"""Storage: what is kept can be seen, forgotten one by one, by model, or all of it; what runs can be cancelled."""

import shutil
import threading

import pytest

from cache.lock import only_one
from cache.store import StoreError
from models.subject import ModelRef
from pages.shell.workbench import _load_key
from tests.pages.visitor import SECONDS, Visitor


@pytest.fixture
def stored(visit):
    """Three answers on the tiny model, seen from the storage page."""
    visitor = visit("similarity").click("ask_similarity").wait()
    for plan in ("a1", "m2"):
        visitor.go("drop_lab").at.text_input(key="plan").set_value(plan).run()
        visitor.click("ask_fidelity").wait()
    return visitor.go("storage")


def rows(visitor):
    """Probe and plan of each entry shown."""
    return {(row["probe"], row["plan"]) for row in visitor.table("hits")}


def test_nothing_is_stored_at_first():
    visitor = Visitor("storage")
    assert "Nothing is stored yet" in visitor.texts() and "No job has run" in visitor.texts()


def test_entries_and_jobs_are_listed(stored, tiny_folder):
    assert rows(stored) == {("similarity", ""), ("fidelity", "a1"), ("fidelity", "m2")}
    for row in stored.table("hits"):
        assert row["model"] == str(tiny_folder) and row["text"] == "python-docs" and row["tokens"] == 64
        assert row["size (KB)"] > 0 and row["age"] == "just now"
    assert "3 answers" in stored.texts()
    assert stored.texts().count("✓ done") == 4  # with the one that loaded the model


def test_forget_one(stored):
    assert stored.at.button(key="forget").disabled
    place = next(i for i, row in enumerate(stored.table("hits")) if row["plan"] == "a1")
    stored.select("entries", rows=[place], columns=[], cells=[])
    assert not stored.at.button(key="forget").disabled
    keep = [entry.key for i, entry in enumerate(stored.answers) if i != place]
    stored.click("forget")
    assert [entry.key for entry in stored.answers] == keep
    assert rows(stored.look()) == {("similarity", ""), ("fidelity", "m2")}


def test_a_row_leads_to_its_plan(stored):
    place = next(i for i, row in enumerate(stored.table("hits")) if row["plan"] == "a1")
    assert stored.at.button(key="use_plan").disabled
    assert stored.select("entries", rows=[place], columns=[], cells=[]).click("use_plan").plan == "a1"


def test_forget_by_model(stored, visit, tiny_folder, tmp_path):
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    (other / "chat_template.jinja").write_text("another model")
    stored.at.text_input(key="model").set_value(str(other)).run()
    stored.click("load").wait().go("similarity").click("ask_similarity").wait().go("storage")
    assert len(stored.table("hits")) == 4
    stored.at.selectbox(key="forget_model_name").select(str(tiny_folder)).run()
    stored.click("forget_model")
    assert [row["model"] for row in stored.look().table("hits")] == [str(other)]


def test_forget_everything_and_ask_again(stored):
    stored.click("forget_all").wait()
    assert stored.answers == [] and "Nothing is stored yet" in stored.texts()
    stored.go("similarity")  # of the model in memory it is known again what it is made of
    assert stored.has("ask_similarity")
    assert stored.click("ask_similarity").wait().figures()


def test_a_running_job_can_be_cancelled_here(visit, slow):
    visitor = visit("similarity").click("ask_similarity")
    assert slow.begun.wait(SECONDS)
    visitor.go("storage")
    [cancel] = [each.key for each in visitor.at.button if each.label == "Cancel"]
    visitor.click(cancel)
    slow.gate.set()
    assert "■ cancelled" in visitor.wait().texts() and not visitor.answers


def test_a_waiting_job_is_cancelled_at_once(visit, slow):
    visitor = visit("similarity").click("ask_similarity")
    assert slow.begun.wait(SECONDS)
    visitor.go("drop_lab").at.text_input(key="plan").set_value("a1").run()
    visitor.click("ask_fidelity")
    assert "queued" in visitor.at.get("progress")[-1].proto.text
    _, running, waiting = visitor.bench.jobs.list()
    visitor.go("storage").click(f"stop_{waiting.key[:12]}")
    assert waiting.state == "cancelled" and running.state == "running"
    slow.gate.set()
    assert visitor.wait() and running.state == "done"


@pytest.mark.parametrize("what, key", [("delete", "forget_model"), ("delete_all", "forget_all")])
def test_a_store_that_cannot_be_written_is_told(stored, monkeypatch, what, key):
    def refuse(*_):
        raise StoreError("The store could not be changed: the folder is not writable.")

    with monkeypatch.context() as patch:
        patch.setattr(type(stored.bench.store), what, refuse)
        stored.look().click(key)
        assert any("not writable" in each for each in stored.errors())
    assert len(stored.look().table("hits")) == 3


def test_a_store_that_cannot_be_read_is_told(stored, monkeypatch):
    def refuse(*_):
        raise StoreError("The store could not be read: its database is damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(type(stored.bench.store), "entries", refuse)
        assert any("damaged" in each for each in stored.look().errors())
        stored.go("drop_lab")
    assert len(stored.go("storage").table("hits")) == 3


def test_a_bundle_may_be_larger_than_a_text():
    largest = {}
    for page, key in (("storage", "bundle_file"), ("model", "own_file")):
        largest[key] = Visitor(page).at.file_uploader(key=key).proto.max_upload_size_mb
    assert largest == {"bundle_file": 2048, "own_file": 20}


def test_a_load_that_waits_for_another_process_says_so(visit, other):
    visitor = visit("model")
    ref = ModelRef(str(other), device="cpu")
    with only_one(visitor.bench.store.directory / "locks", _load_key(ref), pytest.fail):
        job = visitor.bench.load(ref)
        until(lambda: job.text == "another process is loading this model")
    assert job.wait(SECONDS) and job.state == "done"


def until(true):
    """Wait for something that nobody announces."""
    pause = threading.Event()
    for _ in range(SECONDS * 100):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError
