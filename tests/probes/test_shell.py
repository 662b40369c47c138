"""The shell: the same questions, cache and numbers as the app, and one line for whatever cannot be answered."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from cache.jobs import Jobs
from cache.store import Store
from models.lease import Leases
from models.loading import memory
from models.loading.load import identify
from models.subject import ModelRef
from probes import PROBES
from probes.__main__ import main
from probes.answer import by_lease, find, open_store, submit
from probes.question import Question, probe_named, resolve
from tests.cache.stores import MIB, fill, small_disk
from tests.probes.shell import SMALL
from tests.probes.shell import run as ask
from texts.corpus import CorpusRef

ROOT = Path(__file__).parent.parent.parent
ITEM = json.dumps({"question": "1 + 1 =", "options": ["2", "3"], "answer": 0})
SHORTER = {  # for a tiny model
    "choice_subspace": ["--param", f"items={ITEM}"],
    "generation_drift": ["--param", "length=3"],
    "step_layers": ["--param", "length=3", "--param", "step=2"],
    "evaluate": ["--limit", "2"],
    "search": ["--windows", "4", "--strategies", "kl,greedy", "--points", "1"],
    "stability": ["--windows", "4", "--other", ""],
    "speed": ["--prompt", "8", "--new", "2", "--rounds", "5"],
}
PROSE = "The capital of France is Paris, and the capital of the arts. " * 9


@pytest.fixture(autouse=True)
def own_data(monkeypatch, tmp_path):
    """Each test has its own data directory, so that nothing is answered from the cache by chance, and a short text."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text(PROSE)
    return tmp_path / "data"


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def text(tmp_path):
    """Write a text and get its path."""

    def written(content):
        (tmp_path / "own.txt").write_text(content)
        return str(tmp_path / "own.txt")

    return written


def asked(capsys, *words):
    """The JSON document of a question that is answered."""
    code, out, err = ask(capsys, words[0], *SMALL, *words[1:], "--json", "-")
    assert (code, err) == (0, "")
    return json.loads(out)


def refused(capsys, *words):
    """The one line that a question gets which is not answered."""
    code, out, err = ask(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("probes: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert err.rstrip().endswith((".", ")", "?")), f"no sentence: {err}"
    return err


# What is answered


@pytest.mark.parametrize("probe", list(PROBES))
def test_a_document_says_question_result_and_circumstances(capsys, tiny_folder, probe):
    document = asked(capsys, probe, "--model", tiny_folder, "--plan", "a1,m2", *SHORTER.get(probe, []))
    assert list(document) == ["question", "result", "about"]
    question, about = document["question"], document["about"]
    assert question["probe"] == probe and question["model"]["name"] == str(tiny_folder)
    reads, planned = probe_named(probe).takes_corpus, probe_named(probe).takes_plan
    windows = 4 if probe in ("search", "stability") else 2
    named = {"name": "prose.txt", "windows": windows} if reads else {}
    assert {name: question["corpus"].get(name) for name in named} == named and bool(question["corpus"]) == reads
    assert question["plan"] == ("a1,m2" if planned else "")
    assert {"seconds", "from_cache", "versions", "tokens", "digest", "windows", "dtype", "device"} <= set(about)
    read = (16 * windows, windows) if reads else (0, 0)
    assert (about["tokens"], about["windows"], about["dtype"], about["device"]) == (*read, "float32", "cpu")
    assert about["from_cache"] is False and about["seconds"] > 0


def test_the_second_time_it_comes_from_the_cache(capsys, tiny_folder, monkeypatch):
    first = asked(capsys, "similarity", "--model", tiny_folder)
    monkeypatch.setattr("probes.__main__.Leases", lambda: None)  # not even the model is loaded
    second = asked(capsys, "similarity", "--model", tiny_folder)
    assert (first["about"]["from_cache"], second["about"]["from_cache"]) == (False, True)
    assert first["result"] == second["result"] and first["question"] == second["question"]


def test_a_copy_of_the_model_and_another_spelling_of_the_plan_are_the_same_question(capsys, tiny_folder, copy):
    first = asked(capsys, "fidelity", "--model", tiny_folder, "--plan", "b1-2,a0")
    again = asked(capsys, "fidelity", "--model", copy, "--plan", "A0 b2; b1")
    relative = asked(capsys, "fidelity", "--model", "./model", "--plan", "a0,m1,a1,b2")
    assert again["about"]["from_cache"] and relative["about"]["from_cache"]
    assert first["result"] == again["result"] == relative["result"]


@pytest.mark.parametrize(
    "other", [["--plan", "a2"], ["--windows", "1"], ["--length", "15"], ["--bos"], ["--dtype", "bfloat16"]]
)
def test_another_question_has_another_answer(capsys, tiny_folder, other):
    base = ["fidelity", "--model", tiny_folder, "--plan", "a1"]
    first = asked(capsys, *base)
    code, out, _ = ask(capsys, *base, *SMALL, *other, "--json", "-")
    second = json.loads(out)
    assert code == 0 and not second["about"]["from_cache"]
    assert second["result"] != first["result"]


def test_similarity_is_not_asked_again_for_another_plan(capsys, tiny_folder):
    asked(capsys, "similarity", "--model", tiny_folder, "--plan", "a1")
    assert asked(capsys, "similarity", "--model", tiny_folder, "--plan", "a2")["about"]["from_cache"]


def test_the_app_finds_what_the_shell_computed_and_the_shell_what_the_app_did(capsys, tiny_folder):
    document = asked(capsys, "similarity", "--model", tiny_folder)
    question = Question("similarity", ModelRef(str(tiny_folder), device="cpu"), CorpusRef("prose.txt", 2, 16))
    found = find(open_store(), resolve(question, identify))
    np.testing.assert_array_equal(found.result.cosine, document["result"]["cosine"])
    assert found.result.joint_order == document["result"]["joint_order"]
    plan = resolve(replace(question, probe="fidelity", plan="a3"), identify)
    jobs = Jobs(open_store())
    assert submit(jobs, plan, by_lease(Leases().lease, jobs.store)).wait(60)
    jobs.shutdown()
    again = asked(capsys, "fidelity", "--model", tiny_folder, "--plan", "a3")
    assert again["about"]["from_cache"]
    assert again["result"]["kl"] == find(open_store(), plan).result.kl


def test_the_key_of_a_question_is_the_same_with_and_without_the_model_loaded(tiny_folder):
    question = Question("fidelity", ModelRef(str(tiny_folder), device="cpu"), CorpusRef("prose.txt", 2, 16), "a1")
    with Leases().lease(question.model) as subject:
        loaded = resolve(question, lambda _: subject.fingerprint)
    assert resolve(question, identify).key == loaded.key == resolve(replace(question, plan=" A1 "), identify).key


def test_a_file_gets_the_same_document_and_the_terminal_a_summary(capsys, tiny_folder, tmp_path):
    base = ["similarity", "--model", tiny_folder, *SMALL]
    code, out, err = ask(capsys, *base, "--json", tmp_path / "answer.json")
    assert (code, err) == (0, "")
    assert out.startswith("Layer similarity\n") and "attention_order" in out and "computed in" in out
    document = json.loads((tmp_path / "answer.json").read_text())
    assert document["result"] == asked(capsys, "similarity", "--model", tiny_folder)["result"]
    assert "from cache in" in ask(capsys, *base)[1]


def test_list_names_every_probe(capsys):
    code, out, _ = ask(capsys, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(PROBES)
    assert all(probe.title in out for probe in PROBES.values())


def test_a_parameter_can_be_the_content_of_a_file(capsys, tiny_folder, text):
    path = text(f"{ITEM}\n")
    words = ["choice_subspace", "--model", tiny_folder, "--param"]
    assert asked(capsys, *words, f"items=@{path}")["result"] == asked(capsys, *words, f"items={ITEM}\n")["result"]
    assert "missing.jsonl cannot be read" in refused(capsys, *words, "items=@missing.jsonl")


def test_a_text_that_a_parameter_names_is_known_by_its_content(capsys, tiny_folder, text):
    words = ["key_rank", "--model", tiny_folder, "--param", f"other={text(PROSE[::-1])}"]
    assert not asked(capsys, *words)["about"]["from_cache"]
    assert asked(capsys, *words)["about"]["from_cache"]
    text(PROSE.upper())
    assert not asked(capsys, *words)["about"]["from_cache"]


def test_every_model_flag_is_part_of_the_question(capsys, copy):
    tensors = load_file(copy / "model.safetensors")
    save_file({name: each.to(torch.bfloat16) for name, each in tensors.items()}, copy / "model.safetensors", {"format": "pt"})
    document = asked(capsys, "fidelity", "--model", copy, "--plan", "a0", "--dtype", "bfloat16", "--bos")
    assert document["question"]["model"]["dtype"] == document["about"]["dtype"] == "bfloat16"
    assert document["question"]["corpus"]["bos"] is True


# What is not: each gets one line, and exit code 2


def test_no_probe(capsys):
    assert "Name a probe" in refused(capsys)


def test_unknown_probe(capsys):
    assert "no probe 'similarty'" in (line := refused(capsys, "similarty")) and "fidelity" in line


@pytest.mark.parametrize("given, says", [("cuts=3", "no parameter 'cuts'"), ("cuts", "KEY=VALUE")])
def test_unknown_parameter(capsys, tiny_folder, given, says):
    assert says in refused(capsys, "similarity", "--model", tiny_folder, "--param", given)


@pytest.mark.parametrize("words", [["--windows", "many"], ["--frob"], ["--json"]])
def test_flags_that_do_not_parse(capsys, words):
    with pytest.raises(SystemExit) as left:
        main(["similarity", *words])
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, err


def test_unknown_repository(capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = refused(capsys, "similarity", "--model", "nobody/nothing")
    assert "'nobody/nothing'" in line and "HF_HUB_OFFLINE" in line and "bundled" in line


def test_no_network(capsys, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "the hub cannot be reached" in refused(capsys, "similarity", "--model", "nobody/nothing")


def test_folder_without_config(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refused(capsys, "similarity", "--model", tmp_path / "empty")


def test_truncated_weights(capsys, copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "broken or cut short" in refused(capsys, "similarity", "--model", copy)


@pytest.mark.parametrize(
    "values, says",
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "is an encoder"),
        ({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}, "'mamba' is not supported"),
    ],
)
def test_encoder_and_unsupported_family(capsys, copy, values, says):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | values))
    assert says in refused(capsys, "similarity", "--model", copy)


def test_plan_for_a_layer_that_is_not_there(capsys, tiny_folder):
    line = refused(capsys, "fidelity", "--model", tiny_folder, "--plan", "a99", *SMALL)
    assert "layer 99, but this model has layers 0 to 3" in line


@pytest.mark.parametrize("plan", ["a25,x3", "b9-3", "a1.5", "attention 3"])
def test_plan_with_a_typo(capsys, tiny_folder, plan):
    assert "'" in refused(capsys, "fidelity", "--model", tiny_folder, "--plan", plan)


@pytest.mark.parametrize("content", ["", " \n\t\n"])
def test_empty_text(capsys, tiny_folder, text, content):
    assert "text is empty" in refused(capsys, "similarity", "--model", tiny_folder, *SMALL, "--corpus", text(content))


def test_text_shorter_than_a_window(capsys, tiny_folder, text):
    line = refused(capsys, "similarity", "--model", tiny_folder, *SMALL, "--corpus", text("Paris."))
    assert "fewer than one window of 16" in line


def test_no_such_text(capsys, tiny_folder):
    assert "no text 'novels'" in refused(capsys, "similarity", "--model", tiny_folder, "--corpus", "novels")
    assert "cannot be read" in refused(capsys, "similarity", "--model", tiny_folder, "--corpus", "/none/at/all.txt")


def test_window_longer_than_the_context(capsys, tiny_folder):
    line = refused(capsys, "similarity", "--model", tiny_folder, "--length", "129")
    assert "129 tokens" in line and "at most 128" in line


@pytest.mark.parametrize("words", [["--windows", "0"], ["--length", "1"], ["--dtype", "int4"], ["--device", "tpu"]])
def test_values_that_make_no_question(capsys, tiny_folder, words):
    refused(capsys, "similarity", "--model", tiny_folder, *words)


@pytest.mark.parametrize("probe", list(PROBES))
def test_logits_that_are_not_numbers(capsys, spoilt, probe):
    assert "NaN" in refused(capsys, probe, "--model", spoilt, "--plan", "a1", *SMALL, *SHORTER.get(probe, []))


@pytest.fixture
def spoilt(copy):
    """A model with a weight that is not a number."""
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    return copy


def test_model_too_large_for_the_memory(capsys, tiny_folder, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 100_000)
    assert "0 MB is free on cpu" in refused(capsys, "similarity", "--model", tiny_folder)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nmany bytes")],
)
def test_out_of_memory_while_computing(capsys, tiny_folder, monkeypatch, error):
    line = failing(capsys, tiny_folder, monkeypatch, error)
    assert "not enough memory" in line and "fewer windows" in line


def test_a_fault_of_ours_is_one_line_too(capsys, tiny_folder, monkeypatch):
    assert "KeyError" in failing(capsys, tiny_folder, monkeypatch, KeyError("oops"), sentence=False)


def failing(capsys, folder, monkeypatch, error, sentence=True):
    """The line for a probe that raises in the middle of its work."""

    def run(*_, **more):
        raise error

    monkeypatch.setitem(PROBES, "similarity", replace(PROBES["similarity"], run=run))
    words = ["similarity", "--model", folder, *SMALL]
    if sentence:
        return refused(capsys, *words)
    code, out, err = ask(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err


def test_full_disk(capsys, tiny_folder, monkeypatch):
    def full(self, key, value, **rest):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("diskcache.Cache.set", full)
        assert "the disk is full" in refused(capsys, "similarity", "--model", tiny_folder, *SMALL)
    assert asked(capsys, "similarity", "--model", tiny_folder)["about"]["from_cache"] is False


def test_data_directory_that_cannot_be_made(capsys, tiny_folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "file"))
    assert "PRUNESCOPE_DATA" in refused(capsys, "similarity", "--model", tiny_folder)


def test_file_that_cannot_be_written_loses_nothing(capsys, tiny_folder, tmp_path):
    words = ["similarity", "--model", tiny_folder, *SMALL]
    code, _, err = ask(capsys, *words, "--json", tmp_path / "none" / "a.json")
    assert code == 2 and err.count("\n") == 1 and "a.json" in err
    assert asked(capsys, "similarity", "--model", tiny_folder)["about"]["from_cache"]


def test_an_answer_that_was_damaged_on_disk(capsys, tiny_folder, own_data):
    """It is told and not shown; once it is forgotten it can be asked again."""
    asked(capsys, "similarity", "--model", tiny_folder)
    store = Store(own_data / "answers")
    [entry] = [each for each in store.entries() if "question" in each.about]
    store.put(entry.key, b"PK damaged", entry.about)
    refused(capsys, "similarity", "--model", tiny_folder, *SMALL)
    store.delete(entry.key)
    assert not asked(capsys, "similarity", "--model", tiny_folder)["about"]["from_cache"]


def test_answers_computed_before_stay_whatever_is_asked_after(capsys, tiny_folder, copy, monkeypatch):
    first = asked(capsys, "similarity", "--model", tiny_folder)
    (copy / "model.safetensors").write_bytes(b"short")
    refused(capsys, "similarity", "--model", copy)
    refused(capsys, "fidelity", "--model", tiny_folder, "--plan", "a99", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: 0)
        refused(capsys, "fidelity", "--model", tiny_folder, "--plan", "a1", *SMALL)
    again = asked(capsys, "similarity", "--model", tiny_folder)
    assert again["about"]["from_cache"] and again["result"] == first["result"]


# As a real process: nothing but the line reaches the terminal


def process(folder, *words):
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [
        sys.executable,
        "-m",
        "probes",
        "fidelity",
        "--plan",
        "a1",
        *SMALL,
        "--corpus",
        "python-docs",
        "--model",
        str(folder),
    ]
    return subprocess.run([*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_process_answers(tiny_folder):
    done = process(tiny_folder, "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"]["kl"] > 0


def test_a_process_on_a_full_disk_finds_what_is_known(tiny_folder, own_data):
    own_data.mkdir()
    with small_disk(own_data, 16 * MIB):
        first = process(tiny_folder, "--json", "-")
        fill(own_data / "rest")
        again = process(tiny_folder, "--json", "-")
        assert again.stderr == "" and json.loads(again.stdout)["result"] == json.loads(first.stdout)["result"]
        unknown = process(tiny_folder, "--windows", "3")
        assert unknown.returncode == 2 and "disk is full" in unknown.stderr and unknown.stderr.count("\n") == 1


def test_a_process_tells_a_failed_job_in_one_line(spoilt):
    """The job's traceback goes to the log of the app; on a terminal nobody asked for it."""
    done = process(spoilt)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("probes: The dense model's logits"), done.stderr


def test_a_process_tells_an_unknown_model_in_one_line():
    done = process("nobody/nothing")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "HF_HUB_OFFLINE is set" in done.stderr
