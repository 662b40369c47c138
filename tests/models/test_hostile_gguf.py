"""GGUF files that lie about themselves, or are broken: each ends in a sentence, soon."""

import os
import struct

import pytest
from gguf import GGUFEndian

from models.loading.checks.gguf import gguf_header
from models.loading.load import estimate, identify, load
from models.subject import ModelRef
from refusal import Refusal
from tests.models.limited import limited
from tests.plans.export.tiny_gguf import write_tiny

START = b"GGUF" + struct.pack("<I", 3)


@pytest.fixture(autouse=True)
def soon():
    with limited():
        yield


@pytest.fixture
def tiny(tiny_folder, tmp_path):
    return write_tiny(tiny_folder, tmp_path / "tiny.gguf")


def text(said):
    return struct.pack("<Q", len(said)) + said


def counts(tensors, keys):
    return START + struct.pack("<QQ", tensors, keys)


def refused(path, says):
    for look in (load, identify, estimate):
        with pytest.raises(Refusal, match=says) as caught:
            look(ModelRef(str(path), device="cpu"))
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_whole_file_is_read_by_its_header(tiny):
    header = gguf_header(tiny)
    assert header.values["llama.block_count"] == 4 and header.values["general.architecture"] == "llama"
    assert header.values["tokenizer.ggml.tokens"] == header.shapes["token_embd.weight"][1]
    subject = load(ModelRef(str(tiny), device="cpu"))
    assert subject.layers == 4 and header.numbers == sum(each.numel() for each in subject.model.parameters())


def test_a_file_in_the_other_byte_order_is_read_by_its_header(tiny_folder, tmp_path, tiny):
    other = gguf_header(write_tiny(tiny_folder, tmp_path / "big.gguf", endian=GGUFEndian.BIG))
    assert other.shapes == gguf_header(tiny).shapes


@pytest.mark.parametrize(
    "content, says",
    [
        (START, "is broken or not a GGUF file"),
        (counts(0, 0), "does not name its architecture"),
        (b"GGUF" + struct.pack("<I", 9) + bytes(64), "its version 9 is unknown"),
        (counts(0, 2**63), "entries follow"),
        (counts(2**63, 0), "entries follow"),
        (counts(0, 1) + struct.pack("<Q", 2**62) + bytes(64), "bytes follow"),
        (counts(0, 1) + text(b"general.architecture") + struct.pack("<IQ", 8, 2**60) + bytes(64), "bytes follow"),
        (counts(0, 1) + text(b"a") + struct.pack("<IIQ", 9, 0, 10**12) + bytes(64), "bytes follow"),
        (counts(0, 1) + text(b"a") + struct.pack("<IIQ", 9, 8, 10**12) + bytes(64), "entries follow"),
        (counts(0, 1) + text(b"a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 500, "nested too deeply"),
        (counts(0, 1) + text(b"a") + struct.pack("<I", 77) + bytes(64), "the type 77 is unknown"),
        (counts(0, 2) + (text(b"a") + struct.pack("<IB", 0, 1)) * 2 + bytes(64), "two values of a"),
        (counts(1, 0) + text(b"t") + struct.pack("<I", 2**31) + bytes(64), "axes"),
        (counts(1, 0) + text(b"t") + struct.pack("<IQIQ", 1, 10**12, 0, 0) + bytes(64), "reaches beyond its end"),
        (counts(1, 0) + text(b"t") + struct.pack("<IQIQ", 1, 4, 99, 0) + bytes(64), "99 is not a valid"),
        (counts(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 0) + bytes(64), "alignment is not a number above 0"),
    ],
    ids=range(16),
)
def test_headers_that_lie(tmp_path, content, says):
    (tmp_path / "a.gguf").write_bytes(content)
    refused(tmp_path / "a.gguf", says)


@pytest.mark.parametrize(
    "more, says",
    [
        ({"block_count": 10**9}, "block_count in .* from 1 to 1,000, not 1000000000"),
        ({"block_count": 900}, "says that it has 900 layers, but holds 4"),
        ({"block_count": 0}, "block_count in .* not 0"),
        ({"embedding_length": 10**7}, "embedding_length in"),
        ({"embedding_length": 64}, "its width is 64, but its embeddings have 32"),
        ({"attention__head_count": 0}, "attention.head_count in .* not 0"),
    ],
)
def test_values_that_no_model_has(tiny_folder, tmp_path, more, says):
    refused(write_tiny(tiny_folder, tmp_path / "a.gguf", **more), says)


@pytest.mark.parametrize("more", [{"feed_forward_length": 10**7}, {"vocab_size": 10**8}, {"feed_forward_length": [64, 64]}])
def test_values_that_its_tensors_do_not_have(tiny_folder, tmp_path, more):
    path = write_tiny(tiny_folder, tmp_path / "a.gguf", **more)
    with pytest.raises(Refusal, match=r"describes .* parameters|could not be opened|do not match"):
        load(ModelRef(str(path), device="cpu"))


def test_an_architecture_that_is_unknown(tiny_folder, tmp_path):
    path = write_tiny(tiny_folder, tmp_path / "a.gguf", arch="mamba")
    with pytest.raises(Refusal, match=r"could not be opened|not supported"):
        load(ModelRef(str(path), device="cpu"))


def test_every_cut_is_refused(tiny, tmp_path):
    whole, cut = tiny.read_bytes(), tmp_path / "cut.gguf"
    for length in range(0, len(whole) - 32, 499):
        cut.write_bytes(whole[:length])
        with pytest.raises(Refusal, match=r"cut\.gguf"):
            gguf_header(cut)


def test_a_pipe_beside_a_file_is_left_alone(tiny):
    """Whoever keeps models among other things has other things there."""
    os.mkfifo(tiny.parent / "log.txt")
    (tiny.parent / "more.json").mkdir()
    assert load(ModelRef(str(tiny), device="cpu")).layers == 4
