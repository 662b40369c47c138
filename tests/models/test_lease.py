"""Leases: models that share the memory, go in order, are loaded once, and wait for each other."""

import shutil
import threading

import pytest
from safetensors.torch import load_file, save_file

from models.lease import Leases
from models.loading.load import identify
from models.subject import ModelRef
from refusal import Refusal
from tests.models.leases import SECONDS, Cancelled, Watcher, fits, names, used


def test_a_lease_loads_and_carries_what_was_asked(folders, monkeypatch):
    leases, (a, *_) = Leases(), folders
    with leases.lease(a) as subject:
        assert subject.ref == a and subject.layers == 4
        (held,) = leases.residents()
        assert (held.ref, held.fingerprint, held.holders, held.seconds_idle) == (a, identify(a), 1, 0)
        assert (held.place, held.dtype) == ("cpu", "float32")
        assert held.bytes == sum(each.nbytes for each in (*subject.model.parameters(), *subject.model.buffers()))
        model = subject.model
    (idle,) = leases.residents()
    assert idle.holders == 0 and idle.seconds_idle > 0
    monkeypatch.setattr("models.lease.understood", None)  # what is there is not looked at again
    with leases.lease(a) as again:
        assert again.model is model
    assert leases.resident(identify(a)) and not leases.resident(identify(folders[1]))


def test_the_least_recently_leased_goes_first(folders):
    a, b, c = folders
    leases = Leases(fits(2, a))
    gone, kept = used(leases, b), used(leases, a)
    used(leases, b)
    assert names(leases) == ["a", "b"]
    used(leases, c)
    assert names(leases) == ["b", "c"]
    assert kept() is None and gone() is not None


def test_nothing_goes_that_somebody_holds(folders):
    a, b, c = folders
    leases = Leases(fits(2, a))
    with leases.lease(a):
        used(leases, b)
        used(leases, c)  # b is leased more recently, but nobody holds it
        assert names(leases) == ["a", "c"]


def test_nothing_goes_in_vain(folders, pool):
    """What nobody holds stays as long as its room would not be enough."""
    a, b = (ModelRef(each.name, dtype="bfloat16", device="cpu") for each in folders[:2])
    leases, waiting = Leases(fits(1.4, folders[2])), Watcher("waiting")
    used(leases, b)
    with leases.lease(a):
        large = pool.submit(used, leases, folders[2], waiting)
        waiting.wait()
        assert names(leases) == ["b", "a"]
    large.result(SECONDS)
    assert names(leases) == ["c"]


def test_waiting_is_told_until_there_is_room(folders, pool):
    a, b, _ = folders
    leases, waiting = Leases(fits(1.5, a)), Watcher("waiting for 0 MB: *a* is answering")
    with leases.lease(a):
        other = pool.submit(used, leases, b, waiting)
        waiting.wait()
        assert not other.done() and names(leases) == ["a"]
    other.result(SECONDS)
    assert names(leases) == ["b"]


def test_waiting_for_one_that_is_being_loaded(folders, pool):
    """What is set aside for a load counts, so two at once do not take more than there is."""
    a, b, _ = folders
    leases, loading, waiting = Leases(fits(1.5, a)), Watcher("loading weights", stop=True), Watcher("*a* is being loaded")
    first = pool.submit(used, leases, a, loading)
    loading.wait()
    second = pool.submit(used, leases, b, waiting)
    waiting.wait()
    loading.go_on.set()
    first.result(SECONDS)
    second.result(SECONDS)
    assert names(leases) == ["b"]


def test_cancel_while_waiting(folders, pool):
    a, b, _ = folders
    leases, waiting = Leases(fits(1.5, a)), Watcher("waiting")
    with leases.lease(a):
        other = pool.submit(used, leases, b, waiting)
        waiting.wait()
        waiting.cancelled.set()
        with pytest.raises(Cancelled):
            other.result(SECONDS)
        assert names(leases) == ["a"]
    used(leases, b)  # nothing is left set aside
    assert names(leases) == ["b"]


def test_cancel_while_loading(folders):
    leases, loading = Leases(fits(1.5, folders[0])), Watcher("loading weights")
    loading.cancelled.set()
    for text in ("looking", "loading weights"):
        loading.text = text
        with pytest.raises(Cancelled):
            used(leases, folders[0], loading)
    assert leases.residents() == []
    used(leases, folders[0])


def test_two_at_once_load_once(folders, pool, reads):
    leases, loading, watching = Leases(), Watcher("loading weights", stop=True), Watcher("loading weights")
    both = threading.Barrier(2)

    def model(progress):
        with leases.lease(folders[0], progress) as subject:
            both.wait(SECONDS)
            return subject.model

    first = pool.submit(model, loading)
    loading.wait()
    second = pool.submit(model, watching)
    watching.wait()  # the progress of the first, which is stopped
    loading.go_on.set()
    assert first.result(SECONDS) is second.result(SECONDS)
    assert reads == ["a"]
    (only,) = leases.residents()
    assert only.holders == 0


def test_the_second_takes_over_when_the_first_is_cancelled(folders, pool, reads):
    leases, loading, watching = Leases(fits(1.5, folders[0])), Watcher("loading weights", stop=True), Watcher("loading weights")
    first = pool.submit(used, leases, folders[0], loading)
    loading.wait()
    second = pool.submit(used, leases, folders[0], watching)
    watching.wait()
    loading.cancelled.set()
    loading.go_on.set()
    with pytest.raises(Cancelled):
        first.result(SECONDS)
    second.result(SECONDS)
    assert reads == ["a", "a"] and names(leases) == ["a"]


def test_a_refusal_is_shared(folders, pool, reads):
    tensors = load_file(f"{folders[0].name}/model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, f"{folders[0].name}/model.safetensors", {"format": "pt"})
    leases, loading, watching = Leases(), Watcher("loading weights", stop=True), Watcher("loading weights")
    first = pool.submit(used, leases, folders[0], loading)
    loading.wait()
    second = pool.submit(used, leases, folders[0], watching)
    watching.wait()
    loading.go_on.set()
    for each in (first, second):
        with pytest.raises(Refusal, match="1 missing"):
            each.result(SECONDS)
    assert reads == ["a"] and leases.residents() == []


def test_too_large_alone(folders, tmp_path):
    a, b, _ = folders
    share = [1.5]
    leases = Leases(lambda place: fits(share[0], a)(place))
    used(leases, a)
    share[0] = 0.5
    with pytest.raises(Refusal, match=r"b needs 0 MB in float32, and 0 MB is free on cpu\. Choose bfloat16"):
        used(leases, b)
    assert names(leases) == ["a"]
    used(leases, a)  # what is loaded already does not have to fit again
    used(leases, ModelRef(str(shutil.copytree(a.name, tmp_path / "twin")), device="cpu"))
    assert len(leases.residents()) == 1


def test_too_large_beside_what_the_same_thread_holds(folders):
    """Waiting would be for oneself."""
    a, b, _ = folders
    leases = Leases(fits(1.5, a))
    with leases.lease(a), pytest.raises(Refusal, match=r"beside \*a\*, which the same work needs"):
        used(leases, b)
