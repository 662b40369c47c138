"""The command ``export`` of the shell."""

import json

import pytest

from plans.export.registry import FORMATS
from probes import PROBES
from tests.probes.shell import SMALL, run

pytestmark = pytest.mark.usefixtures("own_data")


def test_a_plan_is_exported_as_it_was_measured(capsys, tiny_folder, own_data, monkeypatch):
    plan = ["--model", tiny_folder, "--plan", "b1,w:wanda@0.5", *SMALL]
    assert run(capsys, "fidelity", *plan)[0] == 0
    monkeypatch.setattr("probes.answer.learn", None)  # it was learned for the measurement
    code, out, err = run(capsys, "export", *plan, "--format", "removed", "small")
    folder = own_data / "exports" / "small"
    assert (code, err) == (0, "") and out.startswith(f"{folder} holds ")
    (measured,) = json.loads((folder / "prunescope.json").read_text())["measured"]
    assert measured["title"] == PROBES["fidelity"].title and measured["text"] == "2 windows of 16 tokens of prose.txt"
    assert measured["numbers"]["kl"] > 0 and "| kl |" in (folder / "README.md").read_text()
    code, out, err = run(capsys, "export", *plan, "--format", "removed", "small")
    assert code == 2 and "--overwrite" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words, says",
    [
        (["--plan", "b1"], "Name a folder and a format"),
        (["--plan", "b1", "out"], "Name a folder and a format"),
        (["--plan", "b1", "--format", "zip", "out"], "There is no format 'zip'"),
        (["--plan", "x1", "--format", "removed", "out"], "'x1' is not part of a plan"),
        (["--plan", "b1", "--format", "removed", "../out"], "is not a folder inside"),
        (["--plan", "a1", "--format", "removed", "out"], "Formats that can express it: noop, llm-drop, zeroed"),
        (["--plan", "b1", "--format", "removed", "--corpus", "novels", "out"], "no text 'novels'"),
    ],
)
def test_mistakes_are_one_line(capsys, tiny_folder, own_data, words, says):
    code, out, err = run(capsys, "export", "--model", tiny_folder, "--device", "cpu", *words)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert not list((own_data / "exports").glob("*")) if (own_data / "exports").exists() else True


def test_the_list_tells_where_each_format_runs(capsys):
    code, out, _ = run(capsys, "export", "--list")
    assert code == 0 and all(f"\n{name}\n" in f"\n{out}" for name in FORMATS) and "transformers: no; " in out
