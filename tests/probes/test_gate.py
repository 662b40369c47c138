"""Conditions on answers: read, refused, and failed with the value that failed them."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from probes import PROBES
from probes.__main__ import main
from probes.gate import Condition, conditions, numeric, refuse_unknown
from refusal import Refusal
from tests.probes.shell import SMALL


@dataclass(frozen=True)
class Inner:
    low: float
    sure: bool
    names: list[str]


@dataclass(frozen=True)
class Outer:
    kl: float
    tokens: int
    word: str
    values: np.ndarray
    inner: Inner


RESULT = {"kl": 0.25, "tokens": 7, "values": np.array([[1.0, 4.0], [2.0, 5.0]]), "inner": {"low": -1.5, "sure": False}}


@pytest.mark.parametrize(
    "text, fails",
    [
        ("kl>0.1", True), ("kl > 0.25", False), ("kl>=0.25", True), ("kl<0.25", False), ("kl<=2.5e-1", True),
        ("tokens==7", True), ("tokens != 7", False), ("inner.low<-1", True), ("inner.low<-2", False), ("inner.sure==0", True),
        ("values.max>4", True), ("values.min<1", False), ("values.mean==3", True),
    ],
)  # fmt: skip
def test_every_sign_compares(text, fails):
    (condition,) = conditions([text])
    assert bool(condition.failure(RESULT)) is fails


def test_what_failed_is_said_with_its_value():
    assert conditions(["inner.low<-1"])[0].failure(RESULT) == "inner.low<-1: inner.low is -1.5."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_never_passes(value):
    assert "cannot be checked" in conditions(["kl<1"])[0].failure({"kl": value})
    assert "cannot be checked" in conditions(["kl>1"])[0].failure({"kl": value})


def test_several_conditions_in_one_text_or_in_many():
    both = (Condition("kl", ">", 0.1), Condition("tokens", "<=", 3))
    assert conditions(["kl>0.1, tokens<=3"]) == conditions(["kl>0.1", "tokens <= 3"]) == both


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_a_series_without_numbers_never_passes(values):
    assert "cannot be checked" in Condition("values.max", ">", 100.0).failure({"values": np.array(values)})


@pytest.mark.parametrize("text", ["kl", "kl>", ">0.1", "kl=0.1", "kl>a", "kl>nan", "0.1<kl", "kl>0.1>0", "kl>0.1;tokens<3"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(Refusal, match=r"is not a condition.*as in kl>0\.1"):
        conditions([text])


def test_fields_are_the_single_numbers_dotted_where_nested():
    assert numeric(Outer) == ["kl", "tokens", "inner.low", "inner.sure"]
    refuse_unknown(Outer, conditions(["inner.low>0,kl>0,values.max>0"]))
    for text in ("inner>0", "word>0", "values>0", "inner.names>0", "kl.x>0", "kl.max>0", "values.median>0", "max>0"):
        with pytest.raises(
            Refusal, match=r"Choose one of: kl, tokens, inner\.low, inner\.sure\. For values, use \.min, \.max or \.mean\."
        ):
            refuse_unknown(Outer, conditions([text]))


@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_has_a_number_to_fail_by(probe):
    assert numeric(PROBES[probe].result)


@pytest.fixture
def fidelity(monkeypatch, tmp_path, tiny_folder):
    """Ask a small question with some more words."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text("The capital of France is Paris, and the capital of the arts. " * 9)
    return lambda *words: main(["fidelity", "--model", str(tiny_folder), "--plan", "a1", *SMALL, *words])


def test_the_shell_leaves_with_1_and_says_which_condition(fidelity, capsys):
    assert fidelity("--json", "-", "--fail-if", "kl<=0", "--fail-if", "perplexity<0") == 0
    kl = json.loads(capsys.readouterr().out)["result"]["kl"]
    assert fidelity("--json", "-", "--fail-if", "perplexity<0, kl>0") == 1
    out, err = capsys.readouterr()
    assert err == f"probes: failed: kl>0: kl is {kl:.6g}.\n" and json.loads(out)["result"]["kl"] == kl


def test_an_unknown_field_is_refused_before_anything_is_computed(fidelity, capsys, tmp_path):
    assert fidelity("--fail-if", "kll>0.1") == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "'kll' is not a number" in err and "top1_agreement" in err
    assert not (tmp_path / "data").exists()


def test_parameters_of_a_probe_are_options_too(monkeypatch, tmp_path, tiny_folder, capsys):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text("The capital of France is Paris, and the capital of the arts. " * 9)
    words = ["transitions", "--model", str(tiny_folder), "--plan", "a1", *SMALL, "--json", "-"]
    documents = []
    for more in (["--temperature", "2", "--top=3"], ["--param", "temperature=2", "--param", "top=3"]):
        assert main([*words, *more]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["question"]["params"] == documents[1]["question"]["params"]
    assert documents[1]["about"]["from_cache"] and documents[0]["question"]["params"]["top"] == 3


@pytest.mark.parametrize("words", [["--tempo", "2"], ["--temperature"], ["2"], ["-x"]])
def test_other_options_are_refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(["transitions", *words])
    assert left.value.code == 2 and capsys.readouterr().err.count("\n") == 1
