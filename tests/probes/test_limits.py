"""What an operator limits is refused before anything is computed; what would not fit into memory, before it is tried."""

import pytest

from models.generate import Settings
from models.lease import Leases
from models.loading import memory
from models.subject import ModelRef
from plans.plan import parse
from probes import PROBES
from probes.__main__ import main
from probes.access.limits import Size, needed, refuse_beyond, size_of
from probes.answer import answer, open_store
from probes.generation.writing import Writing, written
from probes.known import identify
from probes.question import Question, resolve
from refusal import Refusal, silent
from texts.corpus import CorpusRef


@pytest.fixture
def ask(tiny_folder, monkeypatch, tmp_path):
    """Resolve a question on the tiny model."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))

    def asked(probe="similarity", windows=4, length=32, plan="", **params):
        corpus = CorpusRef("python-docs", windows, length)
        return resolve(Question(probe, ModelRef(str(tiny_folder), device="cpu"), corpus, plan, params), identify)

    return asked


@pytest.mark.parametrize(
    "name, most, given, says",
    [
        ("WINDOWS", 3, {}, "at most 3 windows per question, not 4. Ask for fewer"),
        ("TOKENS", 127, {}, "at most 127 tokens per question; 4 windows of 32 are 128. Ask for fewer windows, or shorter"),
        ("NEW_TOKENS", 7, {"probe": "generation_drift", "length": 8}, "at most 7 tokens after a prompt, not 8"),
        ("NEW_TOKENS", 7, {"probe": "step_layers", "length": 8}, "at most 7 tokens after a prompt, not 8"),
        ("NEW_TOKENS", 7, {"probe": "answers", "length": 8}, "at most 7 tokens after a prompt, not 8"),
        ("NEW_TOKENS", 7, {"probe": "speed", "new": 8}, "at most 7 tokens after a prompt, not 8"),
        ("NEW_TOKENS", 7, {"probe": "search", "continuation": 8}, "at most 7 tokens after a prompt, not 8"),
    ],
)
def test_a_limit_is_kept_and_what_is_just_below_it_is_not_refused(ask, monkeypatch, name, most, given, says):
    if "length" in given:
        asked = resolve(Question(given["probe"], ask().question.model, params={"length": given["length"]}), identify)
    else:
        asked = ask(**given)
    refuse_beyond(asked)
    monkeypatch.setenv(f"PRUNESCOPE_{name}", str(most))
    with pytest.raises(Refusal, match=says):
        refuse_beyond(asked)
    monkeypatch.setenv(f"PRUNESCOPE_{name}", str(most + 1))
    refuse_beyond(asked)


def test_what_a_plan_learns_from_counts_where_nothing_else_is_read(ask, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_WINDOWS", "3")
    with pytest.raises(Refusal, match="at most 3 windows"):
        refuse_beyond(ask("speed", plan="w:wanda@0.5"))
    refuse_beyond(ask("speed", plan="a1"))


def test_every_probe_that_writes_is_limited():
    writers = {name for name, probe in PROBES.items() if probe.writes}
    assert writers == {"answers", "generation_drift", "step_layers", "speed", "search"}
    for probe in PROBES.values():
        assert set(probe.writes) <= set(probe.params.__dataclass_fields__) and probe.holds(probe.params()) >= 0


def test_a_shell_is_limited_too_and_sees_what_is_stored(tiny_folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    words = ["similarity", "--model", str(tiny_folder), "--corpus", "python-docs", "--windows", "2", "--length", "16"]
    monkeypatch.setenv("PRUNESCOPE_WINDOWS", "1")
    assert main(words) == 2 and "at most 1 window per question, not 2" in capsys.readouterr().err
    monkeypatch.delenv("PRUNESCOPE_WINDOWS")
    assert main(words) == 0
    monkeypatch.setenv("PRUNESCOPE_WINDOWS", "1")
    assert main(words) == 0


def test_a_window_that_would_not_fit_is_refused_before_the_model_reads_it(ask, monkeypatch):
    asked, leases = ask(), Leases(lambda memory: 10**10)
    store = open_store()
    with leases.lease(asked.question.model) as subject:
        needs = needed(32, size_of(subject))
        monkeypatch.setattr("probes.access.limits.free_memory", lambda device: needs - 1)
        with pytest.raises(Refusal, match=r"needs about 1 MB for a window of 32 tokens, and 1 MB is free. Ask for"):
            answer(asked, leases.lease, store)
        monkeypatch.setattr("probes.access.limits.free_memory", lambda device: needs)
        assert answer(asked, leases.lease, store)
    store.close()


@pytest.mark.parametrize(
    "length, peak, streams",
    [(1024, 820, 1), (2048, 933, 1), (1024, 1191, 4), (2048, 1404, 4)],  # MB, the highest measured on the bundled model
)
def test_the_estimate_is_above_what_was_measured_and_not_by_much(length, peak, streams):
    bundled = Size(layers=30, width=576, itemsize=4, heads=0, vocab=49152, cache_bytes=2 * 30 * 576 * 4)
    assert peak * 10**6 < needed(length, bundled, streams) < 1.5 * peak * 10**6
    assert needed(8192, bundled, streams) > 2.2e9, "one window of 8192 tokens does not fit a server of 2.2 GB"


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_with_a_limit_has_less_memory(tmp_path, monkeypatch, version):
    names = {2: ("memory.max", "memory.current", "inactive_file"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes",
             "total_inactive_file")}[version]  # fmt: skip
    folder = tmp_path if version == 2 else tmp_path / "memory"
    folder.mkdir(exist_ok=True)
    (folder / names[0]).write_text("5000000\n")
    (folder / names[1]).write_text("3000000\n")
    (folder / "memory.stat").write_text(f"cache 9\ninactive_file 7\n{names[2]} 1000000\nrss 5\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    assert memory.free_memory("cpu") == 3_000_000
    (folder / names[0]).write_text("max\n" if version == 2 else f"{2**63 - 4096}\n")
    assert memory.free_memory("cpu") > 5_000_000


def test_answers_side_by_side_that_would_not_fit_are_refused(ask, monkeypatch):
    ref, leases, store = ask().question.model, Leases(), open_store()
    writing = Writing(ref, ask().corpus, (parse(""), parse("a1"), parse("b2")), "some words", Settings(length=5))
    begun = [token for token in written(writing, leases.lease, store, identify, silent) if token.token is None]
    length = begun[0].prompt_tokens + 5
    with leases.lease(ref) as subject:
        size = size_of(subject)
    needs = needed(length, size) + 2 * length * size.cache_bytes
    monkeypatch.setattr("probes.access.limits.free_memory", lambda device: needs - 1)
    with pytest.raises(Refusal, match=f"are {length} tokens, and 3 at once need about .* Shorten the prompt"):
        next(written(writing, leases.lease, store, identify, silent))
    monkeypatch.setattr("probes.access.limits.free_memory", lambda device: needs)
    next(written(writing, leases.lease, store, identify, silent))
