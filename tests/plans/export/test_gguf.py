"""A GGUF file rewritten by a plan: the same bytes, the right keys, and what cannot be written."""

import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from gguf import GGUFEndian, GGUFReader, GGUFWriter

from models.loading import bundled
from plans.export.gguf import form, source_of, write
from plans.export.gguf.source import value
from plans.plan import parse
from refusal import Refusal
from tests.plans.export.tiny_gguf import write_tiny


@pytest.fixture(scope="module")
def tiny(tiny_folder, tmp_path_factory):
    return write_tiny(tiny_folder, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def tensors(path):
    return {each.name: each for each in GGUFReader(path).tensors}


def written(source, plan, folder, **more):
    write(source, parse(plan), folder / "out.gguf", **more)
    return folder / "out.gguf"


def copied(folder, tiny_folder, **more):
    return write_tiny(tiny_folder, folder / "source.gguf", **more)


def wide(path):
    """12 blocks with a tensor of 4 MB each."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(12)
    writer.add_embedding_length(1024)
    for block in range(12):
        writer.add_tensor(f"blk.{block}.ffn_up.weight", np.full((1024, 1024), block, np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path


# What is written


def test_whole_blocks_leave_with_their_numbers_and_arrays(tiny_folder, tmp_path):
    source = copied(tmp_path, tiny_folder, attention__head_count_kv=[2, 2, 2, 2], rope__dimension_sections=[4, 4, 0, 0])
    out = GGUFReader(written(source, "b1", tmp_path))
    assert value(out, "general.architecture") == "llama"
    assert value(out, "llama.block_count") == 3 and value(out, "llama.attention.head_count_kv") == [2, 2, 2]
    assert value(out, "llama.rope.dimension_sections") == [4, 4, 0, 0]  # four of something else


@pytest.mark.parametrize("plan, kept", [("b1", (0, 2, 3)), ("a1,b2", (0, 1, 3)), ("m0,a3", (0, 1, 2, 3))])
def test_what_is_left_are_the_same_bytes(tiny, tmp_path, plan, kept):
    before, after = tensors(tiny), tensors(written(tiny, plan, tmp_path))
    assert value(GGUFReader(tmp_path / "out.gguf"), "prunescope.blocks") == list(kept)
    same = 0
    for name, tensor in after.items():
        head, *rest = name.split(".", 2)
        old = f"blk.{kept[int(rest[0])]}.{rest[1]}" if head == "blk" else name
        if tensor.tensor_type == before[old].tensor_type and tensor.data.shape == before[old].data.shape:
            assert tensor.data.tobytes() == before[old].data.tobytes()
            same += 1
        else:
            assert not tensor.data.any()  # stands in for what was dropped
    assert same >= len(kept) * 9 - 9 + 3


def test_sublayers_alone_make_a_deci_file(tiny, tmp_path):
    out = GGUFReader(written(tiny, "a1,m3", tmp_path))
    assert value(out, "general.architecture") == "deci" and not any(key.startswith("llama.") for key in out.fields)
    assert value(out, "deci.attention.head_count") == [4, 0, 4, 4]
    assert value(out, "deci.attention.head_count_kv") == [2, 0, 2, 2]
    assert value(out, "deci.feed_forward_length") == [64, 64, 64, 32]
    assert not [each.name for each in out.tensors if each.name.startswith("blk.1.attn")]


def test_the_first_layer_keeps_heads(tiny, tmp_path):
    out = GGUFReader(written(tiny, "b0,a1", tmp_path))  # layer 1 comes first
    assert value(out, "deci.attention.head_count") == [4, 4, 4]
    assert value(out, "deci.attention.head_count_kv") == [0, 2, 2]
    names = {each.name for each in out.tensors if each.name.startswith("blk.0.attn")}
    assert names == {"blk.0.attn_norm.weight", "blk.0.attn_output.weight"}


def test_it_says_where_it_comes_from(tiny, tmp_path):
    out, before = GGUFReader(written(tiny, "a1,b2", tmp_path)), GGUFReader(tiny)
    assert value(out, "prunescope.plan") == "a1,b2" and value(out, "prunescope.source") == "Tiny"
    assert value(out, "general.name") == "Tiny without a1,b2"
    assert value(out, "prunescope.sentence") == "removes the attention of layer 1; layer 2"
    assert len(value(out, "prunescope.source.sha256")) == 64
    assert value(out, "general.size_label") != value(before, "general.size_label")
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type", "tokenizer.chat_template"):
        assert value(out, key) == value(before, key)
    assert value(out, "tokenizer.ggml.add_bos_token") is True


def test_a_pruned_file_is_pruned_again(tiny, tmp_path):
    written(tiny, "a1", tmp_path).rename(tmp_path / "first.gguf")
    out = GGUFReader(written(tmp_path / "first.gguf", "m2", tmp_path))
    assert value(out, "deci.attention.head_count") == [4, 0, 4, 4]
    assert value(out, "deci.feed_forward_length") == [64, 64, 32, 64]
    assert value(out, "prunescope.source.plan") == "a1"


def test_memory_is_bounded_by_a_tensor(tmp_path):
    """12 blocks with a tensor of 4 MB each, of which 11 stay."""
    source = wide(tmp_path / "wide.gguf")
    tracemalloc.start()
    try:
        write(source, parse("b1"), tmp_path / "out.gguf")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out.gguf").stat().st_size > 11 * 2**22 and peak < 2 * 2**22


# What is refused, and what is left behind


def test_nothing_is_left_of_what_failed(tiny, tmp_path):
    def cancelled(done, total, text):
        if done:
            raise KeyboardInterrupt

    def refused(path):
        assert path.stat().st_size > 1000
        raise Refusal("No.")

    (tmp_path / "out.gguf").write_text("as before")
    for more, raised in (({"progress": cancelled}, KeyboardInterrupt), ({"check": refused}, Refusal)):
        with pytest.raises(raised):
            written(tiny, "b1", tmp_path, **more)
        assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]
        assert (tmp_path / "out.gguf").read_text() == "as before"


@pytest.mark.parametrize(
    "plan, says",
    [
        ("", "nothing to export"),
        ("b1,w:magnitude@0.5", "quantised again"),
        ("k:0.25/0.5", "no such attention"),
        ("b0-3", "Keep a block"),
        ("b0,a1,a2,a3", "Keep at least one"),
        ("b4", "layers 0 to 3"),
    ],
)
def test_a_plan_without_words_is_refused(tiny, tmp_path, plan, says):
    with pytest.raises(Refusal, match=says):
        written(tiny, plan, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more, plan, says",
    [
        ({"arch": "qwen2"}, "a1", "this one is qwen2.*whole blocks"),
        ({"arch": "gemma2"}, "b1", "one layer in 2 .*runs of 2"),
        ({"arch": "gemma3", "attention__sliding_window_pattern": 3}, "b0-1", "one layer in 3 "),
        ({"attention__shared_kv_layers": 2}, "b1", "depend on their position"),
        ({"nextn_predict_layers": 1}, "b3", "layers 0 to 2"),
        ({"split__count": 3}, "b1", "llama-gguf-split --merge"),
        ({"endian": GGUFEndian.BIG}, "b1", "big-endian"),
    ],
)
def test_a_file_that_cannot_be_cut_so_is_refused(tiny_folder, tmp_path, more, plan, says):
    with pytest.raises(Refusal, match=says):
        written(copied(tmp_path, tiny_folder, **more), plan, tmp_path)


@pytest.mark.parametrize("more, plan", [({"arch": "gemma2"}, "b0-1"), ({"arch": "gemma3"}, "b3"), ({"arch": "qwen2"}, "b0")])
def test_blocks_that_leave_no_layer_in_a_wrong_place(tiny_folder, tmp_path, more, plan):
    arch = more["arch"]
    out = GGUFReader(written(copied(tmp_path, tiny_folder, **more), plan, tmp_path))
    assert value(out, "general.architecture") == arch and value(out, f"{arch}.block_count") < 4


def test_dense_layers_before_experts_are_counted_anew(tiny_folder, tmp_path):
    source = copied(tmp_path, tiny_folder, leading_dense_block_count=2)
    assert value(GGUFReader(written(source, "b1", tmp_path)), "llama.leading_dense_block_count") == 1


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, but not really")
    with pytest.raises(Refusal, match="broken or not a GGUF file"):
        written(tmp_path / "broken.gguf", "b1", tmp_path)


def test_a_full_disk_is_told_first(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(Refusal, match="1e-07 GB free"):
        written(tiny, "b1", tmp_path)


def test_where_a_model_came_from(tiny, tiny_folder):
    assert source_of(str(tiny)) == tiny
    assert source_of("bundled") == bundled.gguf()
    with pytest.raises(Refusal, match=r"not loaded from a GGUF file.*convert_hf_to_gguf\.py"):
        source_of(str(tiny_folder))


def test_a_page_may_ask_again_and_again_whether_a_plan_fits(tiny, tmp_path, monkeypatch):
    path, looked, look = tmp_path / "model.gguf", [], form.layout
    shutil.copyfile(tiny, path)
    monkeypatch.setattr(form, "layout", lambda reader, plan: looked.append(plan) or look(reader, plan))
    asked = SimpleNamespace(plan=parse("b1"), source=SimpleNamespace(folder=tmp_path, gguf=path.name))
    assert [form.FORMAT.cannot(asked) for _ in range(3)] == ["", "", ""] and len(looked) == 1
    path.write_bytes(b"another file")
    assert "broken or not a GGUF file" in form.FORMAT.cannot(asked)
    path.unlink()
    assert "was not loaded from a GGUF file" in form.FORMAT.cannot(asked)
