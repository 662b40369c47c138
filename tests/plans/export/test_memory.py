"""A checkpoint larger than the memory is exported: no more than one new file is ever held."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig

from tests.conftest import tiny_tokenizer

ROOT = Path(__file__).parents[3]
SHARD = 50_000_000  # bytes of a new file
LAYERS, WIDTH, MIDDLE = 20, 1024, 4096
BOUND = 150_000_000

# Peaks of resident memory above what is there when everything is imported: of the export, and of the obvious way.
_SCRIPT = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file, save_file
from models.subject import ModelRef
from plans.export.export import Order, understood
from plans.export.files import shards
from plans.export.registry import FORMATS
from plans.plan import parse
from refusal import silent

def peak():
    # Not ru_maxrss: that begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])

source, target, shards.SHARD = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
checkpoint = understood(Order(ModelRef(str(source)), parse("b1,b3"), "removed", "out"))
size = FORMATS["removed"].size(checkpoint)
begin = peak()
FORMATS["removed"].write(checkpoint, target, silent)
streamed = peak() - begin
everything = {}
for file in sorted(source.glob("*.safetensors")):
    everything |= {name: tensor.clone() for name, tensor in load_file(file).items()}
save_file(everything, target / "naive.bin")
print(json.dumps({"size": size, "streamed": streamed, "naive": peak() - begin}))
"""


def sparse_checkpoint(folder):
    """A Llama of 1.3 GB in six files, all zeros, which take no room on the disk."""
    folder.mkdir()
    config = LlamaConfig(
        vocab_size=1000, hidden_size=WIDTH, intermediate_size=MIDDLE, num_hidden_layers=LAYERS, num_attention_heads=8,
        num_key_value_heads=8, architectures=["LlamaForCausalLM"], dtype="float32",
    )  # fmt: skip
    config.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    block = {f"self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
    block |= {"mlp.gate_proj.weight": (MIDDLE, WIDTH), "mlp.up_proj.weight": (MIDDLE, WIDTH)}
    block |= {"mlp.down_proj.weight": (WIDTH, MIDDLE), "input_layernorm.weight": (WIDTH,)}
    block |= {"post_attention_layernorm.weight": (WIDTH,)}
    fours = [range(first, first + 4) for first in range(0, LAYERS, 4)]
    groups = [{f"model.layers.{i}.{name}": shape for i in four for name, shape in block.items()} for four in fours]
    groups.append({"model.embed_tokens.weight": (1000, WIDTH), "lm_head.weight": (1000, WIDTH), "model.norm.weight": (WIDTH,)})
    where = {}
    for number, shapes in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors"
        sparse_file(folder / name, shapes)
        where |= dict.fromkeys(shapes, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def sparse_file(path, shapes):
    """A safetensors file of float32 zeros without any bytes of its own."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_is_bounded_by_a_new_file(tmp_path):
    source, target = sparse_checkpoint(tmp_path / "model"), tmp_path / "out"
    target.mkdir()
    words = [sys.executable, "-c", _SCRIPT, source, target, SHARD]
    told = json.loads(subprocess.check_output(list(map(str, words)), cwd=ROOT, text=True).splitlines()[-1])
    assert told["size"] > 1_200_000_000
    assert told["streamed"] < BOUND < told["naive"], told
    assert len(list(target.glob("model-*.safetensors"))) >= 20
    index = json.loads((target / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == told["size"] and set(index["weight_map"].values()) == {
        file.name for file in target.glob("model-*.safetensors")
    }
