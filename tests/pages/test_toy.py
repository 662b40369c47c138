"""A new probe needs one file and one row; a page on it needs one line that asks. The shell knows it at once."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages import shell
from probes import PROBES
from probes.__main__ import main
from tests.pages import toy_probe
from tests.pages.visitor import SECONDS

PAGE = Path(__file__).with_name("toy_page.py")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Its row."""
    monkeypatch.setitem(PROBES, "toy", toy_probe.PROBE)
    toy_probe.RUNS.clear()


@pytest.fixture
def page(link):
    """Open the toy page, without the app's menu and sidebar; their fields are in the session."""

    def opened():
        at = AppTest.from_file(str(PAGE), default_timeout=SECONDS)
        fields = {"model": str(link["model"]), "revision": "", "dtype": "auto", "device": "cpu", "corpus": "python-docs"}
        for name, value in (fields | {"windows": 2, "length": 32, "bos": False}).items():
            at.session_state[name] = value
        return look(at)

    return opened


def look(at):
    for job in shell.workbench().jobs.list():
        assert job.wait(SECONDS)
    at.run()
    assert not at.exception, [each.message for each in at.exception]
    return at


def click(at, key):
    at.button(key=key).click().run()
    return look(at)


def shown(at):
    return [(each.label, each.value) for each in at.metric]


def test_a_page_asks_and_shows_and_the_second_look_finds(page):
    at = page()
    assert [each.key for each in at.button] == ["load_here"]
    at = click(at, "load_here")
    assert [(each.key, each.label) for each in at.button] == [("ask_toy", "Count the tokens")] and not shown(at)
    at = click(at, "ask_toy")
    assert shown(at) == [("Tokens", "192")] and not at.button
    assert any("64 tokens in 2 windows · float32 on cpu · computed in" in each.value for each in at.caption)
    other = page()
    assert shown(other) == shown(at) and toy_probe.RUNS == [3]


def test_the_shell_asks_it_too_and_page_and_shell_find_each_others_answers(page, capsys, link):
    words = ["toy", "--model", str(link["model"]), "--device", "cpu", "--corpus", "python-docs", "--windows", "2"]
    words += ["--length", "32", "--json", "-", "--param"]
    found = []
    for factor in ("3", "2", "3"):
        assert main([*words, f"factor={factor}"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [each["result"]["count"] for each in found] == [192, 128, 192]
    assert [each["about"]["from_cache"] for each in found] == [False, False, True]
    at = click(page(), "load_here")
    assert shown(at) == [("Tokens", "192")] and toy_probe.RUNS == [3, 2]
    assert main(["--list"]) == 0 and "toy                 Counted tokens --param factor=1" in capsys.readouterr().out


def test_a_mistake_in_its_parameters_is_a_sentence(capsys):
    assert main(["toy", "--param", "faktor=3"]) == 2
    assert "The probe 'toy' has no parameter 'faktor'. It has: factor." in capsys.readouterr().err
