"""A Ray cluster of two nodes that answers: the same bytes, progress and cancels, room for what a model needs, and its ends.

The nodes have a data directory of their own, as if they were other machines.
"""

import json
import threading
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest

from cache.jobs import Cancelled
from models.generate import Settings
from models.subject import ModelRef
from plans.plan import EMPTY, parse
from probes.answer import answer, open_store
from probes.executors.threads import Threads
from probes.executors.worker import Worker
from probes.generation.writing import Writing
from probes.known import Known
from probes.question import Question, resolve
from refusal import Refusal, silent
from texts.corpus import CorpusRef
from texts.sources import keep_text

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray>=2.50'")

SECONDS = 60
TEXT = "The capital of France is Paris, and the capital of the arts. " * 9


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes with a CPU each; the second has a GPU, as far as Ray knows. Tests of a file run in their order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNESCOPE_DATA", str(tmp_path_factory.mktemp("nodes")))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False, "memory": 10**9}
        made = Cluster(initialize_head=True, head_node_args=small)
        made.second = made.add_node(num_gpus=1, **small)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def served(cluster, tmp_path_factory):
    """The app's side, with a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNESCOPE_DATA", str(tmp_path_factory.mktemp("app")))
        patch.setenv("PRUNESCOPE_EXECUTOR", "ray")
        patch.setenv("PRUNESCOPE_RAY", cluster.address)
        made = Worker(open_store())
        yield made
        made.end()


@pytest.fixture(scope="module")
def question(tiny_folder):
    return Question("fidelity", ModelRef(str(tiny_folder), device="cpu"), CorpusRef(keep_text(TEXT), 2, 16), "a1")


def asked(question, served):
    return resolve(question, Known(served._store).identify)


def hosts():
    """The processes that hold models on the cluster."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            found += [each] if each.cmdline()[:1] and each.cmdline()[0].startswith("ray::Host") else []
    return found


def running(process):
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def models(served):
    return {each.ref for each in served.residents()}


def test_the_same_question_has_the_same_bytes(served, question):
    here, steps = asked(question, served), []
    served.answer(here, lambda *step: steps.append(step))
    bytes_, about = answer(here, Threads(served._store, Known(served._store)).leases.lease, served._store)
    found = served._store.read(here.key)
    assert found.payload == bytes_ and steps
    assert found.about["question"] == json.loads(json.dumps(about["question"]))
    [resident] = served.residents()
    assert resident.ref == question.model and resident.holders == 0


def test_what_is_wrong_is_told_as_in_threads(served, question):
    wrong = asked(replace(question, plan="a99"), served)
    with pytest.raises(Refusal) as here:
        answer(wrong, Threads(served._store, Known(served._store)).leases.lease, served._store)
    with pytest.raises(Refusal) as there:
        served.answer(wrong, silent)
    assert str(there.value) == str(here.value)


def test_a_cancel_reaches_it(served, question):
    def cancel(done, total, text=""):
        raise Cancelled("no more")

    other = asked(replace(question, plan="a2"), served)
    with pytest.raises(Cancelled, match="no more"):
        served.answer(other, cancel)
    assert not served._store.has(other.key)
    served.answer(other, silent)
    assert served._store.has(other.key), "it goes on serving"


def test_tokens_come_one_by_one_and_are_those_of_threads(served, question):
    writing = Writing(question.model, question.corpus, (EMPTY, parse("a1")), "The capital", Settings(length=5))
    there = list(served.write(writing, silent))
    here = list(Threads(served._store, Known(served._store)).write(writing, silent))

    def without_times(each):
        return replace(each, token=each.token and replace(each.token, seconds=0.0))

    assert len(there) == 11 and [without_times(each) for each in there] == [without_times(each) for each in here]


def test_models_have_places_by_what_they_need_and_idle_ones_make_room(served, question):
    on_gpu, third = replace(question.model, device="auto"), replace(question.model, dtype="bfloat16")
    for ref in (on_gpu, question.model):  # the first takes the only node with a GPU, so both have one
        served.load(ref, silent)
    assert models(served) == {on_gpu, question.model}
    told = []
    served.load(third, lambda done, total, text="": told.append(text))
    assert models(served) == {third, question.model}, "the least recently used place was given back"
    assert any(text.startswith("waiting for 1 CPU and") and text.endswith("on the cluster") for text in told)


def test_who_waits_for_room_can_cancel(served, question):
    """Both nodes are at work; whoever waits leaves nothing behind."""
    busy = [replace(question.model, dtype="bfloat16"), question.model]
    writings = [Writing(ref, question.corpus, (EMPTY,), "The capital", Settings(length=4000)) for ref in busy]
    tokens = [served.write(writing, silent) for writing in writings]
    for each in tokens:
        next(each)

    def cancel(done, total, text=""):
        if text.startswith("waiting for"):
            raise Cancelled("no more")

    with pytest.raises(Cancelled):
        served.load(replace(question.model, dtype="float32"), cancel)
    for each in tokens:
        next(each)
        each.close()
    over = threading.Event()
    while any(each.holders for each in served.residents()):
        assert not over.wait(0.05)
    assert models(served) == set(busy)


def test_a_killed_process_says_so_and_the_next_question_starts_another(served, question):
    other = asked(replace(question, plan="a0"), served)

    def kill(*_):
        for each in hosts():
            with suppress(psutil.Error):
                each.kill()
                each.wait(SECONDS)

    with pytest.raises(Refusal, match=r"process on the cluster .* has ended, or its node has"):
        served.answer(other, kill)
    served.answer(other, silent)
    assert served._store.has(other.key)
    kill()
    served.answer(asked(replace(question, plan="m2"), served), silent)  # nobody had asked anything of it


def test_a_node_that_dies_says_so_and_the_next_question_goes_elsewhere(cluster, served, question):
    """The model that may take a GPU is on the node that has one."""
    other = asked(replace(question, plan="m1", model=replace(question.model, device="auto")), served)
    steps, over = [], threading.Event()

    def remove(done, total, text=""):
        steps.append(text)
        if len(steps) == 1:
            there = hosts()
            cluster.remove_node(cluster.second, allow_graceful=False)
            while all(map(running, there)):  # a process may outlive its node for a moment, and finish
                over.wait(0.1)

    served.load(other.question.model, silent)
    with pytest.raises(Refusal, match=r"process on the cluster .* has ended, or its node has"):
        served.answer(other, remove)
    served.answer(other, silent)
    assert served._store.has(other.key)


def test_what_it_has_begun_ends_with_it(served):
    there, over = hosts(), threading.Event()
    assert there
    served.end()
    while any(map(running, there)):
        assert not over.wait(0.1)
