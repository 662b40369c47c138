"""An export as a whole: guarded, in its place or not at all, and with its story beside it."""

import json
import os
import resource
import shutil
import struct
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.lease import Leases
from plans.export.card import Measured
from plans.export.export import export, understood
from plans.export.files.place import RECORD, exports
from plans.export.registry import FORMATS, fitting
from refusal import Refusal
from settings import exports_directory
from tests.plans.export.exporting import exported, order_of, saved


@pytest.fixture(autouse=True)
def own_exports(monkeypatch, tmp_path):
    """Each test has its own folder for exports."""
    monkeypatch.setenv("PRUNESCOPE_EXPORTS", str(tmp_path / "exports"))
    return tmp_path / "exports"


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path / "model", "llama")


def left(folder):
    """Everything below a folder, hidden files too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


def never(*asked):
    raise AssertionError("it went on")


def refused(order, learn=never, progress=None):
    """What is said; nothing is left behind."""
    before = left(exports_directory())
    with pytest.raises(Refusal) as told:
        export(order, Leases(), learn, (), *([progress] if progress else []))
    assert left(exports_directory()) == before
    return str(told.value)


@pytest.mark.parametrize("plan, form", [("b1,w:wanda@0.5", "removed"), ("a1,m2", "noop")])
def test_an_export_is_read_back_in_a_fresh_process_and_tells_its_story(folder, own_exports, plan, form):
    told = exported(folder, plan, form)
    assert told.folder == own_exports / "out" and told.difference < 1e-5
    assert [path.name for path in own_exports.iterdir()] == ["out"]
    names = {"README.md", "prunescope.json", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"}
    assert names <= set(left(told.folder))
    record = json.loads((told.folder / "prunescope.json").read_text())
    assert record["plan"] == plan and record["model"]["name"] == "model" and len(record["model"]["fingerprint"]) == 64
    assert record["versions"]["torch"] == torch.__version__ and record["checked"]["difference_in_nats"] < 1e-5
    card = (told.folder / "README.md").read_text()
    assert f"`{plan}`" in card and "removes" in card and "vLLM | yes" in card and str(folder.parent) not in card
    assert ("windows of 16 tokens of text.txt, after the first 2" in card) == ("w:" in plan)


def test_numbers_of_the_store_are_in_the_card(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    numbers = [Measured("What a plan does", "8 windows of 512 tokens of prose", {"kl": 0.269304})]
    export(order_of(folder, "b1", "removed"), Leases(), never, numbers)
    assert (
        "| What a plan does | 8 windows of 512 tokens of prose | kl | 0.269304 |" in (own_exports / "out/README.md").read_text()
    )


def quick(form):
    """The format, read back in this process."""
    from plans.export.reread import said

    reader = "stock" if form.name in ("removed", "zeroed") else "gaps"
    return replace(form, reads=lambda folder, tokens, dtype, device, progress: said(reader, folder, tokens, dtype, device))


def spoilt_on_the_way(form, change):
    """The format, with one tensor changed after it was written."""

    def write(checkpoint, folder, progress):
        form.write(checkpoint, folder, progress)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return replace(form, write=write)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"].mul_(1.01), "log-probabilities differ by up to"),
        (lambda tensors: tensors["model.norm.weight"].fill_(float("nan")), "differ by up to nan nats"),
        (lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"), "do not match the config"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), "do not match the config"),
    ],
)
def test_what_does_not_say_the_same_is_not_exported(folder, own_exports, monkeypatch, change, says):
    monkeypatch.setitem(FORMATS, "removed", spoilt_on_the_way(quick(FORMATS["removed"]), change))
    assert says in refused(order_of(folder, "b1", "removed"))
    assert left(own_exports) == []


def test_a_folder_that_cannot_be_read_back_is_told_by_the_fresh_process(folder, monkeypatch):
    broken = spoilt_on_the_way(FORMATS["noop"], lambda tensors: tensors.pop("model.layers.2.mlp.up_proj.weight"))
    monkeypatch.setitem(FORMATS, "noop", broken)
    said = refused(order_of(folder, "a1", "noop"))
    assert "cannot be read back: model.layers.2.mlp.up_proj.weight is missing, and the config does not say so" in said


def test_a_cancel_leaves_nothing(folder, own_exports):
    class Cancelled(Exception):
        pass

    def progress(done, total, text):
        if text == "reading it back in a fresh process":
            raise Cancelled

    with pytest.raises(Cancelled):
        export(order_of(folder, "b1", "removed"), Leases(), never, (), progress)
    assert left(own_exports) == []


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "", ".", "a/../..", "link/out"])
def test_nothing_is_written_outside_the_folder_for_exports(folder, own_exports, name, tmp_path):
    own_exports.mkdir()
    (own_exports / "link").symlink_to(tmp_path)
    assert "is not a folder inside" in refused(order_of(folder, "b1", "removed", name))


def test_an_export_is_replaced_only_when_asked(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    exported(folder, "b1", "removed")
    assert "exists. Choose another name, or allow replacing it (--overwrite" in refused(order_of(folder, "b2", "removed"))
    exported(folder, "b2", "removed", overwrite=True)
    assert json.loads((own_exports / "out/prunescope.json").read_text())["plan"] == "b2"
    assert [path.name for path in own_exports.iterdir()] == ["out"]


def test_what_is_no_export_is_never_replaced(folder, own_exports):
    (own_exports / "out").mkdir(parents=True)
    (own_exports / "out" / "precious.txt").write_text("mine")
    assert "is not an export" in refused(order_of(folder, "b1", "removed", overwrite=True))
    assert left(own_exports) == ["out", "out/precious.txt"]


def test_a_failed_replacement_keeps_the_old_one(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    exported(folder, "b1", "removed")
    monkeypatch.setitem(FORMATS, "removed", spoilt_on_the_way(FORMATS["removed"], lambda tensors: tensors.popitem()))
    refused(order_of(folder, "b2", "removed", overwrite=True))
    assert json.loads((own_exports / "out/prunescope.json").read_text())["plan"] == "b1"


def test_the_model_itself_is_never_replaced(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "zeroed", quick(FORMATS["zeroed"]))
    exported(folder, "a1", "zeroed")
    order = order_of(own_exports / "out", "b1", "removed", overwrite=True)
    assert "replace the model that it is made from" in refused(order)


def test_the_disk_is_looked_at_before_anything_is_written(folder, own_exports):
    """A file with a hole as large as the disk: its header is true, its bytes are not there."""
    free = shutil.disk_usage(folder).free
    rows = free // (4 * 32) + 1
    header = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [rows, 32], "data_offsets": [0, rows * 128]}}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + rows * 128)
    assert "are free in" in refused(order_of(folder, "b1", "removed"))


def test_a_disk_that_fills_up_on_the_way_is_told(folder, own_exports):
    """The system's limit on the size of a file stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        said = refused(order_of(folder, "b1", "removed"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "could not be written" in said and "room on the disk" in said


@pytest.mark.parametrize(
    "plan, form, says",
    [
        ("", "removed", "nothing to export"),
        ("a1", "removed", "only whole blocks can be removed. Formats that can express it: noop, llm-drop, zeroed"),
        ("b0-4", "removed", "without any block"),
        ("b1,k:0.25/0.5", "removed", "changes how the model computes rather than its weights"),
        ("k:0.25/0.5", "zeroed", "No other format can"),
        ("w:wanda@0.5", "zeroed", "drops nothing, so no projection has to be zero. Formats that can express it: removed"),
        ("w:wanda@0.5", "noop", "drops nothing"),
        ("w:wanda@0.5", "llm-drop", "drops nothing"),
        ("a0", "noop", "needs the attention of layer 0 to start. Keep a0 out of the plan"),
        ("b0,a1", "noop", "needs the attention of layer 1, the first one left, to start"),
        ("b0-4", "noop", "without any block"),
        ("a9", "noop", "names layer 9"),
        ("a1", "onnx", "There is no format 'onnx'. Choose one of: removed, noop"),
    ],
)
def test_plans_that_a_format_has_no_words_for(folder, plan, form, says):
    assert says in refused(order_of(folder, plan, form))


@pytest.mark.parametrize(
    "name, form, says",
    [
        ("qwen3", "noop", "DeciLM is a Llama with gaps"),
        ("mistral", "noop", "sliding window"),
        ("gemma2", "llm-drop", "none for gemma2"),
    ],
)
def test_families_that_a_format_has_no_words_for(tmp_path, name, form, says):
    said = refused(order_of(saved(tmp_path / name, name), "a1", form))
    assert says in said and "zeroed" in said


def test_every_plan_of_drops_has_a_format(folder):
    for plan in ("a0", "a1", "m0", "b2", "a0,m1,b2", "b0-3"):
        assert fitting(understood(order_of(folder, plan, "zeroed"))), plan


@pytest.mark.parametrize(
    "name",
    ["model.layers.7.mlp.up_proj.weight", "model.layers.1.adapter.weight", "visual.patch.weight", "model.layers.1.mlp.x"],
)
def test_tensors_that_nobody_expects(folder, name):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    said = refused(order_of(folder, "b1", "removed"))
    assert f"has tensors that a llama of 5 layers does not have: {name}." in said


def test_quantised_weights_are_told(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.zeros(32, dtype=torch.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "is stored as I8" in refused(order_of(folder, "b1", "removed"))


def test_masks_that_older_versions_stored_are_left_out(tmp_path, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    folder = saved(tmp_path / "model", "gpt2")
    tensors = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    old |= {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8) for i in range(5)}
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    exported(folder, "b0,b3", "removed")
    written = set(load_file(own_exports / "out/model.safetensors"))
    assert "h.2.ln_1.weight" in written and not [
        name for name in written if name.startswith("h.3") or name.endswith(".attn.bias")
    ]


def test_shards_are_read_and_written(tmp_path, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "noop", quick(FORMATS["noop"]))
    monkeypatch.setattr("plans.export.files.shards.SHARD", 60_000)
    folder = saved(tmp_path / "model", "llama", shard="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    told = exported(folder, "a1,m2,b3", "noop")
    index = json.loads((told.folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2 and index["metadata"]["total_size"] == told.bytes
    assert all((told.folder / name).stat().st_size < 65_000 for name in index["weight_map"].values())


def test_values_are_rounded_to_what_the_checkpoint_is_stored_in(tmp_path, own_exports, monkeypatch):
    """SparseGPT changes weights in float32, the file holds bfloat16: both sides of the comparison have the rounded ones."""
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    folder = saved(tmp_path / "model", "llama")
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    told = exported(folder, "w:sparsegpt@0.5", "removed", dtype="float32")
    assert told.difference < 1e-4
    assert load_file(told.folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_is_and_where_it_runs(name):
    form = FORMATS[name]
    assert form.name == name and form.sentence.endswith(".") and form.expresses
    assert any(each.runs for each in form.runtimes) and all(each.how for each in form.runtimes)
    assert {"transformers", "vLLM", "llama.cpp"} <= {each.name for each in form.runtimes}


def test_a_place_that_cannot_be_made_is_told(folder, own_exports):
    own_exports.parent.mkdir(exist_ok=True)
    own_exports.write_text("a file")
    with pytest.raises(Refusal, match=r"folder for exports .* cannot be made"):
        export(order_of(folder, "b1", "removed"), Leases(), never)
    os.unlink(own_exports)


def test_what_a_killed_process_left_is_removed_at_the_next_export(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    dead = int(subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True).stdout)
    kept = [own_exports / f".out-{os.getpid()}-abc", own_exports / f".other-{dead}-abc", own_exports / f".out-{dead}-young"]
    gone = own_exports / f".out-{dead}-old"
    for path in (*kept, gone):
        path.mkdir(parents=True)
        (path / "model.safetensors").touch()
    for path in (*kept[:2], gone):
        os.utime(path, (0, 0))
    exported(folder, "b1", "removed")
    assert all(path.is_dir() for path in kept) and not gone.exists()


def test_exports_that_are_there_are_told(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    exported(folder, "b1", "removed")
    (own_exports / ".half-1-abc").mkdir()
    shutil.copy(own_exports / "out" / RECORD, own_exports / ".half-1-abc")
    (own_exports / "strange").mkdir()
    (own_exports / "strange" / RECORD).write_text("{}")
    [found] = exports()
    assert (found.folder.name, found.plan, found.form) == ("out", "b1", "removed") and found.bytes > 10_000


def test_nothing_is_exported_into_an_export(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    exported(folder, "b1", "removed")
    assert "is an export, and replacing it would remove" in refused(order_of(folder, "b2", "removed", "out/inside"))


def test_what_was_moved_aside_when_the_process_was_killed_comes_back(folder, own_exports, monkeypatch):
    monkeypatch.setitem(FORMATS, "removed", quick(FORMATS["removed"]))
    exported(folder, "b1", "removed")
    dead = int(subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True).stdout)
    aside = own_exports / f".out-{dead}-abc"
    aside.mkdir()
    (own_exports / "out").rename(aside / "old")
    os.utime(aside, (0, 0))
    with pytest.raises(Refusal, match="exists"):
        exported(folder, "b2", "removed")
    assert exports()[0].plan == "b1" and not aside.exists()


@pytest.mark.parametrize("name", ["~nobody-here/x", "a\0b"])
def test_a_name_that_is_no_folder_is_told(folder, name):
    assert "is not a valid folder name" in refused(order_of(folder, "b1", "removed", name))
