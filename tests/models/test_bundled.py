"""The bundled model: unpacked once, the same as its GGUF file, and able to answer."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from models.loading import bundled
from models.loading.load import estimate, identify, load
from models.subject import ModelRef
from refusal import Refusal

ROOT = Path(__file__).parent.parent.parent
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def subject():
    return load(ModelRef())


def test_not_installed(monkeypatch):
    monkeypatch.setattr(bundled, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(Refusal, match=r"not installed.*make run"):
        bundled.folder()


def test_two_at_once_convert_once(monkeypatch, tmp_path):
    """The second waits for the first; were it not to, both would meet at the barrier."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    monkeypatch.setattr(bundled, "_installed_version", lambda: "1")
    monkeypatch.setattr(bundled, "gguf", lambda: tmp_path / "a.gguf")
    both, conversions = threading.Barrier(2), []

    def convert(source, target, progress):
        conversions.append(source)
        try:
            both.wait(timeout=0.5)
        except threading.BrokenBarrierError:
            target.mkdir(exist_ok=True)

    monkeypatch.setattr(bundled, "_convert", convert)
    threads = [threading.Thread(target=bundled.folder) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conversions) == 1


def test_a_conversion_that_fails_leaves_nothing(monkeypatch, tmp_path):
    class Cancelled(Exception):
        pass

    class Model:
        config = None

        def save_pretrained(self, folder):
            (folder / "model.safetensors").write_bytes(b"half")
            raise Cancelled

    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    tokenizer = SimpleNamespace(backend_tokenizer=SimpleNamespace())
    monkeypatch.setattr(bundled, "loaded", lambda *args, **options: (Model(), {}))
    monkeypatch.setattr(bundled.AutoTokenizer, "from_pretrained", lambda *args, **options: tokenizer)
    with pytest.raises(Cancelled):
        bundled.folder()
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


FAKES = """
import sys
from types import SimpleNamespace
from models.loading import bundled

class Model:
    config = None

    def save_pretrained(self, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        if sys.argv[1:] == ["slowly"]:
            print("half", flush=True)
            sys.stdin.read()

tokenizer = SimpleNamespace(backend_tokenizer=SimpleNamespace(), save_pretrained=lambda folder: None)
bundled.loaded = lambda *args, **options: (Model(), {})
bundled.AutoTokenizer = SimpleNamespace(from_pretrained=lambda *args, **options: tokenizer)
bundled._installed_version, bundled.gguf = lambda: "1", lambda: bundled.Path("a.gguf")
bundled.folder()
"""


def test_what_a_killed_conversion_left_is_removed_by_the_next(tmp_path):
    command, options = [sys.executable, "-c", FAKES], {"cwd": ROOT, "env": os.environ | {"PRUNESCOPE_DATA": str(tmp_path)}}
    killed = subprocess.Popen([*command, "slowly"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    assert killed.stdout.readline() == b"half\n"
    killed.kill()
    killed.communicate()
    models = tmp_path / "models"
    assert len(list(models.glob("converting-*/model.safetensors"))) == 1
    (models / "converting-abcd1234").mkdir()  # as an older PruneScope called them
    (models / "converting-bundled-2-abcd1234").mkdir()  # of another version, which may be at it
    subprocess.run(command, check=True, **options)
    assert sorted(path.name for path in models.iterdir() if path.is_dir()) == ["bundled-1", "converting-bundled-2-abcd1234"]


@pytest.mark.real
def test_estimate(subject):
    guess = estimate(ModelRef(device="cpu"))
    assert guess.parameters == 134_515_008
    assert str(guess).startswith("needs 0.6 GB, ")


@pytest.mark.real
def test_estimate_before_it_is_unpacked(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    assert estimate(ModelRef()).parameters == 134_515_008
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.real
def test_it_is_identified_at_each_redraw_of_a_page(subject):
    identify(ModelRef())
    start = time.perf_counter()
    for _ in range(20):
        identify(ModelRef())
    assert (time.perf_counter() - start) / 20 < 0.002  # seconds


def test_it_is_not_identified_before_it_is_unpacked(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    with pytest.raises(Refusal, match="not unpacked yet; load it first"):
        identify(ModelRef())


def test_whoever_waits_for_the_unpacking_can_cancel(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    said = []

    def cancel(*step):
        said.append(step[2])
        raise InterruptedError

    with FileLock(f"{bundled.converted()}.lock"), pytest.raises(InterruptedError):
        bundled.folder(cancel)
    assert said == ["waiting for the bundled model, which is being unpacked"]


@pytest.mark.real
def test_loads_fast_the_second_time(subject):
    start = time.perf_counter()
    again = load(ModelRef())
    assert time.perf_counter() - start < 3  # seconds
    assert again.fingerprint == subject.fingerprint == identify(ModelRef())


@pytest.mark.real
def test_same_logits_as_the_gguf_file(subject):
    """The file loaded by its path has the same weights; only the bundled tokenizer is cared for."""
    direct = load(ModelRef(str(bundled.gguf()), device="cpu"))
    assert direct.dtype == torch.float32
    assert not hasattr(direct.model.config, "quantization_config")
    tokens = subject.tokenizer("The capital of France is Paris.", return_tensors="pt").input_ids
    assert torch.equal(subject.model(tokens).logits, direct.model(tokens).logits)


@pytest.mark.real
def test_tokenizer(subject):
    tokenizer = subject.tokenizer
    text = "Hello, wörld!\n\n    def f(x):  # 1234  7\n\t🙂 "
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.tokenize("x  42") == ["x", "ĠĠ", "4", "2"]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert not subject.expects_bos


@pytest.mark.real
def test_it_knows_the_capital_of_france(subject):
    asked = subject.tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = subject.model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert subject.tokenizer.decode(said) == "The capital of France is Paris.<|im_end|>"
