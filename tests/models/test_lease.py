"""Leases: models that share the memory, are loaded once, wait for each other, and go in order."""

import json
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from models.lease import Leases
from models.loading import memory
from models.loading.load import estimate, fetch, identify, read
from models.subject import ModelRef
from refusal import Refusal

SECONDS = 30  # after which a test that hangs fails


class Cancelled(Exception):
    """What a job's progress raises when it is cancelled."""


class Watcher:
    """Progress that notes what is said, tells when a text was said, and can be told to cancel or to stop there."""

    def __init__(self, text="", stop=False):
        self.text, self.said = text, []
        self.heard, self.go_on, self.cancelled = threading.Event(), threading.Event(), threading.Event()
        if not stop:
            self.go_on.set()

    def __call__(self, done, total, text):
        self.said.append(text)
        if self.text and self.text in text:
            self.heard.set()
            assert self.go_on.wait(SECONDS)
        if self.cancelled.is_set():
            raise Cancelled

    def wait(self):
        assert self.heard.wait(SECONDS), f"'{self.text}' was not said, but {self.said}"


@pytest.fixture
def folders(tiny_folder, tmp_path):
    """References to three models of one size."""

    def made(name, eps):
        folder = shutil.copytree(tiny_folder, tmp_path / name)
        spoilt(folder, rms_norm_eps=eps)
        return ModelRef(str(folder), device="cpu")

    return [made(name, eps) for name, eps in (("a", 1e-3), ("b", 1e-4), ("c", 1e-5))]


@pytest.fixture
def reads(monkeypatch):
    """The names of the models whose weights were read, each time."""
    names = []

    def counted(wanted, progress):
        names.append(wanted.ref.name.rpartition("/")[2])
        return read(wanted, progress)

    monkeypatch.setattr("models.lease.read", counted)
    return names


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as threads:
        yield threads


def spoilt(folder, **values):
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


def fits(models, folder):
    """A budget for so many models of the size of one."""
    needs = estimate(folder).needs
    return lambda place: int(needs * models)


def names(leases):
    return [each.ref.name.rpartition("/")[2] for each in leases.residents()]


def used(leases, ref, progress=None):
    """Lease a model for a moment; a weak reference to it."""
    with leases.lease(ref, *([progress] if progress else [])) as subject:
        return weakref.ref(subject.model)


def test_a_lease_loads_and_carries_what_was_asked(folders):
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
    first.result(SECONDS), second.result(SECONDS)
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


def test_too_large_alone(folders):
    a, b, _ = folders
    share = [1.5]
    leases = Leases(lambda place: fits(share[0], a)(place))
    used(leases, a)
    share[0] = 0.5
    with pytest.raises(Refusal, match=r"b needs 0 MB, 0 MB free on cpu in float32\. Choose bfloat16"):
        used(leases, b)
    assert names(leases) == ["a"]
    used(leases, a)  # what is loaded already does not have to fit again


def test_too_large_beside_what_the_same_thread_holds(folders):
    """Waiting would be for oneself."""
    a, b, _ = folders
    leases = Leases(fits(1.5, a))
    with leases.lease(a), pytest.raises(Refusal, match=r"beside \*a\*, which the same work needs"):
        used(leases, b)


def test_two_dtypes_are_two_and_two_names_are_one(folders, tmp_path):
    a = folders[0]
    leases, half = Leases(), ModelRef(a.name, dtype="bfloat16", device="cpu")
    twin = ModelRef(str(shutil.copytree(a.name, tmp_path / "twin")), device="cpu")
    with leases.lease(a) as one, leases.lease(half) as two, leases.lease(twin) as three:
        assert (one.dtype, two.dtype) == (torch.float32, torch.bfloat16)
        assert three.model is one.model and three.ref == twin
        assert [(each.dtype, each.holders) for each in leases.residents()] == [("bfloat16", 1), ("float32", 2)]


def test_two_devices_are_two_unless_the_choice_is_left(folders):
    a = folders[0]
    leases, split, auto = Leases(), ModelRef(a.name, device="split"), ModelRef(a.name)
    used(leases, split)
    with leases.lease(auto):
        assert [each.place for each in leases.residents()] == ["split"]
    used(leases, a)
    assert [each.place for each in leases.residents()] == ["split", "cpu"]


def test_a_changed_folder_is_another_model(folders, tmp_path):
    a = folders[0]
    leases = Leases()
    with leases.lease(a) as before:
        old = before.fingerprint
        spoilt(Path(a.name), rms_norm_eps=0.1)
        with leases.lease(a) as after:
            assert after.fingerprint == identify(a) != old and after.model is not before.model
            assert leases.resident(old)
    assert [each.fingerprint for each in leases.residents()] == [identify(a)]


def test_a_changed_folder_leaves_its_copy(folders, tmp_path):
    a = folders[0]
    leases, twin = Leases(), ModelRef(str(shutil.copytree(a.name, tmp_path / "twin")), device="cpu")
    used(leases, a), used(leases, twin)
    spoilt(Path(a.name), rms_norm_eps=0.1)
    used(leases, a)
    assert {each.fingerprint for each in leases.residents()} == {identify(a), identify(twin)}


def test_release(folders):
    a, b, _ = folders
    leases = Leases()
    models = [used(leases, each) for each in folders]
    with leases.lease(b):
        assert leases.release(identify(b)) == 0
        assert leases.release(identify(a)) == 1
        assert leases.release("nothing") == 0
        assert names(leases) == ["c", "b"]
        assert leases.release() == 1
    assert names(leases) == ["b"]
    assert [each() is None for each in models] == [True, False, True]
    assert leases.release() == 1 and models[1]() is None


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda folder: ModelRef("/no/such/folder"), "no folder or GGUF file"),
        (lambda folder: spoilt(folder, architectures=["BertForMaskedLM"]), "is an encoder"),
        (lambda folder: spoilt(folder, model_type="novel"), "'novel' is not supported"),
        (lambda folder: [each.unlink() for each in folder.glob("tokenizer*")] and None, "tokenizer"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"1234567890") and None, "broken or cut short"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no model\.safetensors"),
    ],
    ids=["name", "encoder", "family", "tokenizer", "weights", "none"],
)
def test_what_is_refused_costs_nobody_a_model(folders, spoil, says):
    a, b, _ = folders
    leases = Leases(fits(1.5, a))
    kept = used(leases, a)
    wrong = spoil(Path(b.name)) or b
    with pytest.raises(Refusal, match=says):
        used(leases, wrong)
    assert names(leases) == ["a"] and kept() is not None


def test_a_model_whose_folder_is_gone_is_refused(folders):
    leases = Leases()
    used(leases, folders[0])
    shutil.rmtree(folders[0].name)
    with pytest.raises(Refusal, match="no folder or GGUF file"):
        used(leases, folders[0])


def test_a_lease_ends_when_its_block_fails(folders):
    leases = Leases()
    with pytest.raises(Cancelled), leases.lease(folders[0]):
        raise Cancelled
    assert leases.residents()[0].holders == 0


def test_many_threads_share_a_narrow_memory(folders, pool):
    leases = Leases(fits(2, folders[0]))
    seen = []

    def work(i):
        with leases.lease(folders[i % 3], Watcher()) as subject:
            seen.append(sum(each.bytes for each in leases.residents()))
            return subject.fingerprint == identify(folders[i % 3])

    assert all(pool.map(work, range(18), timeout=120))
    assert max(seen) <= fits(2, folders[0])("cpu")
    assert all(each.holders == 0 for each in leases.residents())


# The hub


def test_a_hub_model_is_identified_when_it_is_here(hub, tiny_folder, tmp_path):
    ref, twin = ModelRef("owner/tiny", device="cpu"), ModelRef(str(tiny_folder), device="cpu")
    (hub.folder / "README.md").write_text("Nobody needs this file.")
    with pytest.raises(Refusal, match="'owner/tiny' is not on this machine yet; load it first"):
        identify(ref)
    estimate(ref)  # brings the small files
    with pytest.raises(Refusal, match="'owner/tiny' is not completely on this machine yet; load it first"):
        identify(ref)
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
    fetch(ref)
    assert identify(ref) == identify(twin)


def test_a_lease_downloads(hub, tiny_folder, monkeypatch):
    leases, ref, said = Leases(), ModelRef("owner/tiny", device="cpu"), Watcher()
    used(leases, ref, said)
    assert "downloading owner/tiny" in said.said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.shutdown()
    used(leases, ref)
    assert leases.residents()[0].fingerprint == identify(ref)


def test_an_encoder_on_the_hub_is_not_fetched(hub, folders, tmp_path, reads):
    spoilt(hub.folder, architectures=["BertForMaskedLM"])
    leases = Leases(fits(1.5, folders[0]))
    used(leases, folders[0])
    with pytest.raises(Refusal, match="is an encoder"):
        used(leases, ModelRef("owner/tiny"))
    assert not list((tmp_path / "hub").rglob("*.safetensors")) and names(leases) == ["a"]


# How much models may take


def test_by_default_a_share_of_what_is_free_or_taken_by_models(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    assert memory.allowed("cpu", 500) == 1200
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "1kB")
    assert memory.allowed("cpu", 500) == 1000
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "1GB")
    assert memory.allowed("cpu", 500) == 1500  # not more than there is
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "cuda=1kB")
    assert memory.allowed("cpu", 500) == 1200


def test_the_room_that_leases_tell(folders, monkeypatch):
    leases = Leases()
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    assert leases.room("cpu") == 8 * 10**8
    used(leases, folders[0])
    assert leases.room("cpu") == int(0.8 * (10**9 + leases.residents()[0].bytes))


def test_split_fills_the_gpu_first(monkeypatch):
    assert memory.spread("cpu", 50, lambda place: 10) == memory.spread("mps", 50, lambda place: 10) == {"cpu": 50}
    assert memory.spread("cuda", 50, lambda place: 10) == {"cuda": 50}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert memory.spread("split", 50, lambda place: 10) == {"cuda": 10, "cpu": 40}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.spread("split", 50, lambda place: 10) == {"cpu": 50}
