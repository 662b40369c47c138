"""The report: what is stored and nothing else, on one model and plan, as one file that needs nothing beside it."""

import re

import pytest

from charts.report import page
from charts.report.figures import PARTS
from charts.report.report import report
from models.subject import ModelRef
from plans.plan import parse
from probes import PROBES
from probes.__main__ import main
from probes.answer import open_store
from probes.known import Known
from refusal import Refusal
from tests.charts.fakes import faithful

TEXT = "The capital of France is Paris, and the capital of the arts. " * 9
ITEM = '{"question": "1 + 1 =", "options": ["2", "3"], "answer": 0}'
SMALL = ["--corpus", "prose.txt", "--windows", "2", "--length", "16"]
MORE = {"generation_drift": ["--length", "3", "--prompts", "A <b>bold</b> & new</script> word"]}
MORE |= {"step_layers": [*MORE["generation_drift"], "--step", "2"]}
MORE |= {"choice_subspace": ["--items", ITEM], "speed": ["--prompt", "8", "--new", "2", "--rounds", "5"]}
MORE |= {"search": ["--windows", "4", "--points", "1", "--draws", "1", "--strategies", "kl,random"]}
MORE |= {"answers": ["--length", "3", "--prompts", "A <b>bold</b> & new</script> word"]}
MORE |= {"evaluate": ["--limit", "3"], "stability": ["--windows", "4", "--other", ""]}


@pytest.fixture
def asked(tiny_folder, monkeypatch, tmp_path, capsys):
    """Ask probes of the tiny model in a fresh data directory."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text(TEXT)

    def ask(probe, plan=""):
        words = SMALL if probe not in ("generation_drift", "step_layers", "answers") else SMALL[:4]  # --length is theirs
        assert main([probe, "--model", str(tiny_folder), "--plan", plan, *words, *MORE.get(probe, [])]) == 0
        capsys.readouterr()

    return ask


def made(folder, plan=""):
    return report(Known(open_store()), ModelRef(str(folder)), plan)


def test_every_probe_is_shown_and_nothing_is_loaded_from_elsewhere(asked, tiny_folder):
    for probe in PARTS:
        asked(probe, "a1,m2")
    text = made(tiny_folder, "a1,m2")
    for probe in PARTS:
        assert f"<h2>{PROBES[probe].title}" in text
    assert text.count("Plotly.newPlot(") >= len(PARTS) - 1 and text.count("Content-Security-Policy") == 1
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)=", outside) and "@import" not in outside
    assert "A &lt;b&gt;bold&lt;/b&gt; &amp; new&lt;/script&gt; word" in outside and "<b>bold</b>" not in outside
    known = Known(open_store())
    assert known.identify(ModelRef(str(tiny_folder))) in outside and "version of torch" in outside and "digest of" in outside


def test_every_probe_with_charts_has_its_part():
    assert set(PARTS) <= set(PROBES)


def test_a_plan_that_is_named_leaves_the_others_out(asked, tiny_folder):
    for probe, plan in (("similarity", ""), ("fidelity", "a1"), ("fidelity", "m2")):
        asked(probe, plan)
    text = made(tiny_folder)
    assert f"{PROBES['fidelity'].title}: a1" in text and f"{PROBES['fidelity'].title}: m2" in text
    one = made(tiny_folder, "A1")
    assert f"{PROBES['fidelity'].title}: a1" in one and f"{PROBES['fidelity'].title}: m2" not in one
    assert PROBES["similarity"].title in one and "Plans tried on prose.txt, 2 windows of 16 tokens" in one
    assert "not been counted here" in one and "KL against parameters kept" not in one


def test_what_the_model_is_made_of_is_told_once_it_was_counted(asked, tiny_folder):
    for probe, plan in (("fidelity", "a1"), ("anatomy", ""), ("cost", "a1")):
        asked(probe, plan)
    text = made(tiny_folder, "a1")
    assert "llama, 4 layers, width 32, float32." in text and "Parameters per layer" in text
    assert "KL against non-zero parameters kept" in text and "removes the attention of layer 1" in text


def test_values_are_those_of_the_answer(asked, tiny_folder):
    asked("fidelity", "a1")
    [answer] = Known(open_store()).answers(ModelRef(str(tiny_folder)))
    kl = re.search(r'<th>kl</th><td class="number">([^<]+)</td>', made(tiny_folder))[1]
    assert float(kl) == pytest.approx(answer.result.kl, rel=1e-3)


@pytest.mark.parametrize(
    "plan, says", [("", "no answers on"), ("m3", "and the plan m3 to report"), ("x1", "not part of a plan")]
)
def test_what_cannot_be_reported_is_refused(asked, tiny_folder, plan, says):
    if plan:
        asked("fidelity", "a1")
    else:
        Known(open_store()).note(ModelRef(str(tiny_folder)), "0" * 64)
    with pytest.raises(Refusal, match=says):
        made(tiny_folder, plan)


def test_an_old_version_of_a_probe_is_left_out(asked, tiny_folder, monkeypatch):
    from dataclasses import replace

    asked("fidelity", "a1")
    monkeypatch.setitem(PROBES, "fidelity", replace(PROBES["fidelity"], version=99))
    assert not Known(open_store()).answered(ModelRef(str(tiny_folder)))


def test_the_shell_writes_one_file(asked, tiny_folder, capsys, tmp_path):
    asked("fidelity", "a1")
    assert main(["report", "--html", "r.html", "--model", str(tiny_folder), "--plan", "a1"]) == 0
    assert f"The report on {tiny_folder} is in r.html" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["report", "--html", "r.html", "--model", str(tiny_folder), "--plan", "m3"]) == 2
    assert capsys.readouterr().err.startswith("probes: There are no answers on")
    with pytest.raises(SystemExit) as left:
        main(["report"])
    assert left.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_cells_hold_text_and_numbers_as_they_are():
    text = page.table([{"a": "<i>", "b": 0.00012345}, {"a": None, "c": float("nan")}])
    assert "<td>&lt;i&gt;</td>" in text and "–" in text and text.count("<th>") == 3
    assert "<i>" not in page.shown("<i>", []) and "None." in page.shown("t", [])


def test_a_figure_cannot_end_its_script():
    result = faithful()
    ((_, figure),) = PARTS["fidelity"](result, parse("a1"))
    figure.update_layout(title="</script><script>alert(1)</script>")
    assert "</script><script>alert" not in page.figure(figure)


def test_answers_of_a_plan_stand_beside_the_dense_ones(asked, tiny_folder):
    asked("answers", "a1,m2")
    assert "How far apart" not in made(tiny_folder)
    asked("answers")
    text = made(tiny_folder, "a1,m2")
    assert "How far apart" in text and re.search(r"<b>Dense</b>.*<b>Pruned · a1,m2</b>", text, re.S)
