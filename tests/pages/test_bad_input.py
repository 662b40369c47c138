"""Whatever a person gives: a sentence on the page, no traceback, the app keeps working, and nothing computed is lost."""

import json
import os
import resource
import shutil
import sqlite3
from dataclasses import replace

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from models.loading import memory
from probes import PROBES
from tests.pages.visitor import Visitor

PAGES = ["model", "similarity", "drop_lab", "storage"]


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def spoilt(copy):
    """A model with a weight that is not a number."""
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    return copy


def told(visitor, says):
    """Check that exactly one error says so, in a sentence on one line."""
    found = [each for each in visitor.errors() if says in each]
    assert len(found) == 1, visitor.errors()
    assert "\n" not in found[0] and found[0].rstrip().endswith((".", ")", "?")), found[0]


def works(visitor, link):
    """Check that the app still does its main job."""
    for name in ("model", "corpus", "plan"):
        visitor.at.session_state[name] = {"model": str(link["model"]), "corpus": "python-docs", "plan": "a1"}[name]
    visitor.at.session_state["windows"], visitor.at.session_state["length"] = link["windows"], link["length"]
    visitor.go("model")
    if visitor.has("load"):
        visitor.click("load").wait()
    visitor.go("similarity")
    if visitor.has("ask_similarity"):
        visitor.click("ask_similarity").wait()
    assert visitor.figures() and not visitor.errors()
    for page in PAGES:
        assert not visitor.go(page).errors(), page


def config_of(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def bad_models(copy, tmp_path):
    """What is done to a folder, and what is said of it; a name instead of a folder where it is about the name."""
    weights = copy / "model.safetensors"
    return {
        "unknown repository": ("nobody/nothing", "HF_HUB_OFFLINE is set", None),
        "no such folder": ("/none/at/all", "no folder or GGUF file", None),
        "nothing": (" ", "No model was named.", None),
        "no config": (tmp_path, "no config.json", None),
        "truncated": (copy, "broken or cut short", lambda: weights.write_bytes(weights.read_bytes()[:-100])),
        "encoder": (copy, "is an encoder", lambda: config_of(copy, architectures=["BertForMaskedLM"], model_type="bert")),
        "family": (copy, "'mamba' is not supported", lambda: config_of(copy, model_type="mamba")),
        "no weights": (copy, "no model.safetensors", weights.unlink),
        "a billion layers": (copy, "from 1 to 1,000, not 1000000000", lambda: config_of(copy, num_hidden_layers=10**9)),
        "wide": (copy, "hidden_size in config.json", lambda: config_of(copy, hidden_size=10**7)),
        "pipe": (copy, "it is a pipe, not a file", lambda: (weights.unlink(), os.mkfifo(weights))),
    }


CASES = ["unknown repository", "no such folder", "nothing", "no config", "truncated", "encoder", "family", "no weights"]
CASES += ["a billion layers", "wide", "pipe"]


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_loaded(case, copy, tmp_path, link, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    name, says, spoil = bad_models(copy, tmp_path)[case]
    if spoil:
        spoil()
    visitor = Visitor(**(link | {"model": name}))
    visitor.click("load").wait()
    told(visitor, says)
    works(visitor, link)


@pytest.mark.parametrize("case", ["unknown repository", "truncated", "encoder"])
def test_a_model_that_cannot_be_loaded_leaves_the_answers_of_the_one_before(case, copy, tmp_path, link, visit, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    visitor = visit("similarity").click("ask_similarity").wait()
    name, says, spoil = bad_models(copy, tmp_path)[case]
    if spoil:
        spoil()
    visitor.at.text_input(key="model").set_value(str(name)).run()
    visitor.click("load").wait()
    told(visitor, says)
    assert len(visitor.answers) == 1
    works(visitor, link)
    assert len(visitor.answers) == 1, "it was computed again"


def test_no_network(link, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    visitor = Visitor(**(link | {"model": "nobody/nothing"}))
    told(visitor.click("estimate_button"), "the hub cannot be reached. Name a local folder")
    told(visitor.click("load").wait(), "the hub cannot be reached. Name a local folder")
    works(visitor, link)


def test_a_model_too_large_for_the_memory(link, monkeypatch):
    visitor = Visitor(**link)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: 100_000)
        assert any("needs 0 MB, and 0 MB is free" in each for each in visitor.click("estimate_button").errors())
        told(visitor.click("load").wait(), "0 MB is free on cpu. Choose bfloat16")
    works(visitor, link)


def test_the_estimate_of_a_model_that_fits(link):
    visitor = Visitor(**link).click("estimate_button")
    assert not visitor.errors() and any("needs 0 MB" in each.value for each in visitor.at.success)


@pytest.mark.parametrize(
    "plan, says", [("a99", "layer 99, but this model has layers 0 to 3"), ("a1,x2", "'x2'"), ("b3-1", "b1-3")]
)
@pytest.mark.parametrize("page", ["model", "similarity", "drop_lab"])
def test_a_plan_that_cannot_be(visit, page, plan, says):
    visitor = visit(page)
    visitor.at.text_input(key="plan").set_value(plan).run()
    told(visitor.whole(), says)
    visitor.at.text_input(key="plan").set_value("a1").run()
    assert not visitor.whole().errors()


@pytest.mark.parametrize("page", ["similarity", "drop_lab"])
@pytest.mark.parametrize(
    "content, says",
    [("", "text is empty"), (" \n\n", "text is empty"), (b"\xff\xfe\x00", "not UTF-8"), (None, "cannot be read")],
)
def test_a_text_that_cannot_be_read(visit, link, tmp_path, page, content, says):
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    visitor = visit(page, plan="a1", corpus=path)
    assert any(says in each for each in visitor.errors())
    works(visitor, link)


@pytest.mark.parametrize("page, ask", [("similarity", "ask_similarity"), ("drop_lab", "ask_fidelity")])
@pytest.mark.parametrize(
    "content, length, says",
    [
        ("Paris.", 32, "fewer than one window of 32"),
        ("the capital of France " * 99, 129, "does not fit the model, which reads at most 128"),
    ],
)
def test_a_window_that_cannot_be_cut(visit, link, tmp_path, page, ask, content, length, says):
    (tmp_path / "own.txt").write_text(content)
    visitor = visit(page, plan="a1", length=length, corpus=tmp_path / "own.txt")
    told(visitor.click(ask).wait(), says)
    works(visitor, link)


def test_a_text_that_needs_a_network(visit, link, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # a hub that does not answer is asked for half a minute
    visitor = visit("similarity")
    visitor.at.selectbox(key="corpus").select("wikitext-2-raw").run()
    told(visitor.whole(), "is not on this machine yet")
    told(visitor.click("fetch_text").wait(), "hub cannot be reached")
    works(visitor, link)


def test_an_empty_paste(visit, link):
    visitor = visit()
    told(visitor.click("own_use"), "text is empty")
    works(visitor, link)


def test_a_paste_becomes_the_corpus(visit, link):
    visitor = visit()
    visitor.at.text_area(key="own_text").set_value("the capital of France is Paris. " * 40).run()
    visitor.click("own_use")
    assert visitor.at.session_state["corpus"].startswith("text:") and not visitor.errors()
    assert visitor.go("similarity").click("ask_similarity").wait().figures()


def test_a_paste_that_finds_no_room(visit, link, tmp_path):
    """The system's limit on the size of a file stands for a full disk."""
    visitor, most = visit(), resource.getrlimit(resource.RLIMIT_FSIZE)
    visitor.at.text_area(key="own_text").set_value("the capital of France is Paris. " * 40_000).run()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, most[1]))
        visitor.click("own_use")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    told(visitor, "could not be kept")
    assert list((tmp_path / "data" / "texts").iterdir()) == []
    works(visitor, link)


@pytest.mark.parametrize("page, ask", [("similarity", "ask_similarity"), ("drop_lab", "ask_fidelity")])
def test_numbers_that_are_none(visit, spoilt, link, page, ask):
    visitor = visit(page, model=spoilt, plan="a1")
    told(visitor.click(ask).wait(), "NaN or infinite")
    assert not visitor.answers
    works(visitor, link)


def test_a_next_token_that_is_none(visit, spoilt, link):
    visitor = visit("drop_lab", model=spoilt, plan="a1").click("answer").wait()
    told(visitor, "NaN or infinite")


def test_a_chat_template_without_end(visit, copy, link):
    (copy / "chat_template.jinja").write_text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    visitor = visit("drop_lab", model=copy, plan="a1").click("answer").wait()
    told(visitor, "it takes too long")
    del visitor.at.session_state["live"]
    works(visitor, link)


def test_a_text_that_never_ends(visit, link, tmp_path):
    (tmp_path / "own.txt").symlink_to("/dev/zero")
    visitor = visit("similarity", corpus=tmp_path / "own.txt")
    assert any("it is a device, not a file" in each for each in visitor.errors())
    works(visitor, link)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")])
def test_out_of_memory(visit, link, monkeypatch, error):
    def run(*_, **more):
        raise error

    visitor = visit("similarity")
    with monkeypatch.context() as patch:
        patch.setitem(PROBES, "similarity", replace(PROBES["similarity"], run=run))
        told(visitor.look().click("ask_similarity").wait(), "fewer windows")
    with monkeypatch.context() as patch:
        patch.setattr(visitor.bench.executor.leases, "lease", run)
        visitor.go("drop_lab").click("answer").wait()
        assert any("not enough memory" in each for each in visitor.errors())
    del visitor.at.session_state["live"]
    works(visitor, link)


def test_a_full_disk_loses_nothing(visit, link, monkeypatch):
    visitor = visit("similarity").click("ask_similarity").wait()

    def full(self, key, value, **rest):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    visitor.go("drop_lab").at.text_input(key="plan").set_value("a1").run()
    with monkeypatch.context() as patch:
        patch.setattr("diskcache.Cache.set", full)
        told(visitor.click("ask_fidelity").wait(), "the disk is full")
        assert visitor.go("similarity").figures(), "what is stored can still be seen"
    visitor.go("drop_lab").click("ask_fidelity").wait()
    assert len(visitor.answers) == 2
    works(visitor, link)


def test_an_answer_that_was_damaged_on_disk(visit, link):
    visitor = visit("similarity").click("ask_similarity").wait()
    [entry] = visitor.answers
    visitor.bench.store.put(entry.key, b"PK damaged", entry.about)
    assert visitor.look().errors()
    for page in PAGES:
        visitor.go(page)
    works(visitor, link)


def test_the_model_is_taken_away_by_someone_else(visit, link):
    """Another person unloads it between two clicks; it is loaded again by whoever needs it."""
    visitor = visit("drop_lab", plan="a1", answer_length=4)
    assert visitor.bench.executor.leases.release() == 1
    visitor.click("answer").wait()
    assert [len(each) for each in visitor.bench.lives()[0].tokens] == [4, 4] and not visitor.errors()
    works(visitor, link)
