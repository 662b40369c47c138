"""A fresh process' state for every test of the pages: nothing loaded, nothing computed, nothing running."""

import shutil
import threading
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
import streamlit as st
from safetensors.torch import load_file, save_file
from streamlit import config

from cache.store import Store
from pages import shell
from probes import PROBES
from probes.generation.comparison import keep
from tests import answers
from tests.models.tiny import tiny_model
from tests.pages.visitor import Visitor


@pytest.fixture(autouse=True)
def bench(tmp_path, monkeypatch):
    """The workbench of this test, with a data directory of its own."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    config.set_option("client.showErrorDetails", "full")  # a test's report must say what went wrong
    st.cache_resource.clear()
    # Streamlit looks through every installed package for components, as often as a test opens the app: half a second each.
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)
    yield
    ended(shell.workbench())
    st.cache_resource.clear()


@pytest.fixture
def link(tiny_folder):
    """The fields of a link to the tiny model and a small text."""
    return {"model": tiny_folder, "windows": 2, "length": 32, "device": "cpu"}


@pytest.fixture
def visit(link):
    """Open a page on the tiny model; it is loaded first where nothing is known of it."""

    def opened(page="model", **more):
        visitor = Visitor(page, **(link | more))
        if visitor.anatomy is None:
            # A page that can do without the model leaves it to the sidebar.
            visitor.click("load_main" if page == "model" else "load_here" if visitor.has("load_here") else "load").wait()
        return visitor

    return opened


@pytest.fixture
def other(tiny_folder, tmp_path):
    """A model that differs from the tiny one by its weights alone."""
    folder = shutil.copytree(tiny_folder, tmp_path / "other")
    tensors = load_file(folder / "model.safetensors")
    shuffled = {name: each.flip(0).contiguous() if each.dim() == 2 else each for name, each in tensors.items()}
    save_file(shuffled, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def deeper(tiny_folder, tmp_path):
    """A model of another family, of 5 layers."""
    folder = shutil.copytree(tiny_folder, tmp_path / "deeper")
    (folder / "model.safetensors").unlink()
    tiny_model("qwen2", vocab_size=512).save_pretrained(folder)
    return folder


@pytest.fixture
def restart(monkeypatch):
    """End the process and begin a new one, in another data directory if one is named."""

    def again(data=None):
        if data is not None:
            monkeypatch.setenv("PRUNESCOPE_DATA", str(data))
        ended(shell.workbench())
        st.cache_resource.clear()

    return again


def ended(bench):
    bench.stop(5)
    bench.store.close()


@pytest.fixture(scope="session")
def answered(tiny_folder, tmp_path_factory):
    """A data directory with answers for every page, and the link to them; `restart` there."""
    data = tmp_path_factory.mktemp("answered")
    model = answers.roomy(tiny_folder, data / "model")
    store, comparisons = (Store(data / name) for name in ("answers", "comparisons"))
    answers.fill(store, model)
    made = keep(comparisons, answers.comparison(model))
    for each in (store, comparisons):
        each.close()
    return data, dict(parse_qsl(answers.link(model))) | {"corpus": "prose", "comparison": made}


class Slow:
    """Probes that stop in the middle of their work until ``gate`` is opened."""

    def __init__(self) -> None:
        self.begun, self.gate = threading.Event(), threading.Event()

    def around(self, run):
        def slowly(subject, corpus, plan, params, progress, **more):
            progress(1, 4, "window 1 of 4")
            self.begun.set()
            assert self.gate.wait(60)
            progress(2, 4, "window 2 of 4")
            return run(subject, corpus, plan, params, progress, **more)

        return slowly


@pytest.fixture
def slow(monkeypatch):
    """Make every probe wait for ``gate``, so that a test can look at a job that runs."""
    made = Slow()
    for name, probe in PROBES.items():
        monkeypatch.setitem(PROBES, name, replace(probe, run=made.around(probe.run)))
    yield made
    made.gate.set()
