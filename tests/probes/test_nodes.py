"""What is asked of a cluster, without one: what a model needs, sentences where there is none, and answers that are none."""

import json
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from cache.codec import encode
from models.subject import ModelRef
from probes.answer import open_store
from probes.executors.cluster import Cluster, _looked_at
from probes.executors.nodes import needs_of, said
from probes.executors.served import Served
from probes.known import Known
from probes.question import Question, resolve
from refusal import Refusal, silent

SMALL = {"CPU": 2, "memory": 10**9}


@pytest.fixture
def ref(tiny_folder):
    return ModelRef(str(tiny_folder), device="cpu")


def cluster_of(*nodes):
    """Ray, as far as it tells of nodes; the last one is dead."""
    return SimpleNamespace(
        nodes=lambda: (
            [{"Alive": True, "Resources": each} for each in nodes]
            + [{"Alive": False, "Resources": {"CPU": 99, "GPU": 9, "memory": 10**12}}]
        )
    )


def test_a_model_needs_memory_for_its_weights_and_a_gpu_where_it_may_take_one(ref):
    needs = needs_of(ref, cluster_of(SMALL))
    assert needs == {"CPU": 1, "memory": needs["memory"]} and 10**5 < needs["memory"] < 10**6
    auto = ModelRef(ref.name)
    assert "GPU" not in needs_of(auto, cluster_of(SMALL)) and "GPU" not in needs_of(ref, cluster_of(SMALL | {"GPU": 1}))
    assert needs_of(auto, cluster_of({"CPU": 1}, SMALL | {"GPU": 1})) == needs | {"GPU": 1}


@pytest.mark.parametrize(
    "nodes, device",
    [([], "cpu"), ([SMALL], "cuda"), ([SMALL | {"CPU": 0}], "cpu"), ([SMALL | {"memory": 1}, {"memory": 10**9}], "cpu")],
)
def test_what_no_node_has_is_refused_at_once(ref, nodes, device):
    with pytest.raises(Refusal, match=r"needs 1 CPU.* and 0 MB of memory, and no node of the cluster has that"):
        needs_of(ModelRef(ref.name, device=device), cluster_of(*nodes))


def test_cpus_are_those_of_the_setting(ref, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_RAY_CPUS", "2")
    assert said(needs_of(ref, cluster_of(SMALL))) == "2 CPUs and 0 MB of memory"


def test_without_ray_there_is_a_sentence(ref, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    store = open_store()
    cluster = Cluster(store, Known(store))
    with pytest.raises(Refusal, match=r"Ray is not installed.*pip install"):
        cluster.load(ref, silent)
    assert cluster.residents() == [] and cluster.release() == 0


@pytest.mark.parametrize("stored", [b"", b"{}", b"{}\njunk", b"[]\n", b"{}\n" + encode({"a": 1}), b"\xff\n"])
def test_bytes_that_are_no_answer_are_not_stored(ref, stored, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    asked = resolve(Question("anatomy", ref), Known(open_store()).identify)
    with pytest.raises(Refusal, match="is not an answer to this question"):
        _looked_at(asked, stored)


def test_what_was_asked_is_said_in_our_own_words(ref, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    store = open_store()
    cluster, asked = Cluster(store, Known(store)), resolve(Question("anatomy", ref), Known(store).identify)
    payload, about = cluster._here.answer(asked, silent)
    other = about | {"question": about["question"] | {"model": asdict(ModelRef("another"))}}
    assert _looked_at(asked, json.dumps(other).encode() + b"\n" + payload) == (payload, json.loads(json.dumps(about)))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("no")])
def test_whoever_asked_is_told_whatever_was_raised(error, tmp_path, monkeypatch):
    """A thread that died without a word would keep them waiting for ever."""

    def broken(*_):
        raise error

    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    told, store = [], open_store()
    served = Served(SimpleNamespace(residents=broken), store, Known(store).identify, told.append)
    served._told[7] = None
    served._serve(7, {"what": "residents", "number": 7})
    assert [each["number"] for each in told] == [7] and told[0]["failed"]
