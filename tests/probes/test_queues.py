"""Which queue a question waits in: questions on models at different places do not wait for one another."""

import threading

import pytest
import torch

from cache.jobs import Jobs
from models.subject import ModelRef
from probes.answer import open_ledger, open_store, submit
from probes.executors.choice import queue_of
from probes.known import Known
from probes.question import Question, resolve

SECONDS = 60


@pytest.mark.parametrize("gpu", [False, True])
def test_each_device_has_a_queue(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    found = {device: queue_of(ModelRef(device=device)) for device in ("auto", "cpu", "cuda", "mps", "split")}
    other = "cuda" if gpu else "cpu"
    assert found == {"auto": other, "cpu": "cpu", "cuda": "cuda", "mps": "mps", "split": other}
    assert queue_of(ModelRef("another", device="cpu")) == "cpu"


def test_on_a_cluster_each_model_has_a_queue(monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_EXECUTOR", "ray")
    refs = [ModelRef("a"), ModelRef("b"), ModelRef("a", dtype="bfloat16"), ModelRef("a", device="cpu")]
    assert len({queue_of(ref) for ref in refs}) == 4 and queue_of(ModelRef("a")) == queue_of(refs[0])


@pytest.mark.parametrize("noted", [True, False])
def test_a_question_on_one_device_does_not_wait_for_another(tiny_folder, tmp_path, monkeypatch, noted):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    store, gate, begun = open_store(), threading.Event(), threading.Event()
    jobs, ledger = Jobs(store), open_ledger(store) if noted else None
    ref = ModelRef(str(tiny_folder), device="cpu")

    def asked(plan):
        return resolve(Question("fidelity", ref, plan=plan), Known(store).identify)

    def held(asked, progress):
        begun.set()
        assert gate.wait(SECONDS)
        return b"", {}

    first = submit(jobs, asked("a1"), held, "ann", ledger, device="one")
    assert begun.wait(SECONDS)
    behind = submit(jobs, asked("a2"), lambda *_: (b"", {}), "bob", ledger, device="one")
    other = submit(jobs, asked("a3"), lambda *_: (b"", {}), "ann", ledger, device="two")
    assert other.wait(SECONDS) and other.state == "done" and (first.state, behind.state) == ("running", "queued")
    gate.set()
    assert first.wait(SECONDS) and behind.wait(SECONDS) and behind.state == "done"
    jobs.shutdown()
