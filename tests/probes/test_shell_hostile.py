"""Hostile models in a shell: one line on stderr, exit code 2, and nothing that other libraries say beside it."""

import os
import shutil

import pytest

from tests.models.leases import spoilt
from tests.models.limited import limited
from tests.probes.shell import SMALL, run

PROSE = "The capital of France is Paris, and the capital of the arts. " * 9


@pytest.fixture(autouse=True)
def own_data(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text(PROSE)
    with limited():
        yield


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def told(capfd, *words):
    """The one line that is said, whoever says it."""
    code, out, err = run(capfd, *words)
    assert (code, out) == (2, "") and err.startswith("probes: ") and err.count("\n") == 1 and err.rstrip().endswith("."), err
    return err


@pytest.mark.parametrize(
    "values",
    [
        {"dtype": "int4"},
        {"architectures": [1]},
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"hidden_size": "wide"},
        {"hidden_size": 10**7},
        {"vocab_size": 10**10},
        {"vocab_size": 200},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 99},
        {"intermediate_size": 10**7},
        {"rope_scaling": "far"},
        {"rope_scaling": {"rope_type": "yarn"}},
        {"quantization_config": [4]},
        {"text_config": 5},
        {"hidden_act": "none"},
        {"layer_types": ["full_attention"] * 9},
        {"eos_token_id": "end"},
    ],
    ids=str,
)
def test_a_config_that_lies(capfd, copy, values):
    spoilt(copy, **values)
    told(capfd, "similarity", "--model", copy, *SMALL)


def test_a_template_that_never_ends(capfd, copy):
    (copy / "chat_template.jinja").write_text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    said = told(capfd, "generation_drift", "--model", copy, "--plan", "a1", "--param", "chat=on", "--device", "cpu")
    assert "it takes too long" in said


def test_a_pipe_as_the_tokenizer_and_as_a_parameter(capfd, copy, tiny_folder):
    os.mkfifo("pipe.jsonl")
    said = told(capfd, "choice_subspace", "--model", tiny_folder, "--param", "items=@pipe.jsonl", "--device", "cpu")
    assert "it is a pipe" in said
    (copy / "tokenizer.json").unlink()
    os.mkfifo(copy / "tokenizer.json")
    assert "it is a pipe" in told(capfd, "similarity", "--model", copy, *SMALL)
