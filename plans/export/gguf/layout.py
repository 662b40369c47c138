"""What a plan makes of the keys and tensors of a GGUF file; nothing is quantised again.

Whole blocks leave any architecture: their tensors are left out, the others are numbered anew, and each per-layer array is cut.
An attention or an MLP alone can leave a Llama, which becomes a ``deci`` file: llama.cpp builds Nemotron-NAS from it, whose
layers may have zero heads. Two traps: a layer without MLP (``feed_forward_length`` 0) loses its attention as well, so it keeps
an MLP of 32 neurons whose weights are zero; and layer 0 must have heads, so it keeps an output projection of zeros ("linear
attention": heads, but no key-value heads).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType

from plans.drops import Drops, dropped
from plans.export.gguf.source import blocks_in, listed, of_arch, value
from plans.operation import Shape
from plans.plan import Plan
from refusal import Refusal

DECI = "deci"
_ZERO_WIDTH = 32  # neurons of an MLP that stands where one was dropped
_LIKE_LLAMA = ("llama", DECI)
_ATTENTION = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
_MLP = ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
# Arrays whose length says nothing about layers, even where it is the number of blocks by chance.
_NOT_BY_LAYER = ("rope.dimension_sections", "classifier.output_labels")
# Architectures whose runtime tells one kind of layer from another by its place alone: every n-th is different.
_PERIODS = {"gemma2": 2, "gpt-oss": 2, "smollm3": 4, "cohere2": 4, "exaone4": 4, "llama4": 4, "gemma3n": 5, "gemma3": 6}
_PERIOD_KEYS = ("attention.sliding_window_pattern", "full_attention_interval", "interleave_moe_layer_step")
# What else ties a layer to its place, and cannot be moved with it.
_TIES = ("attention.shared_kv_layers", "moe_every_n_layers", "hash_layer_count")


@dataclass(frozen=True)
class Value:
    """What a key will say, and the types it is written as."""

    content: Any
    kind: GGUFValueType
    item: GGUFValueType | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor to write.

    Attributes
    ----------
    data : array
        As its bytes lie in the file; mapped, and read when it is written. Rows of quantised blocks are bytes.
    """

    name: str
    data: np.ndarray
    kind: GGMLQuantizationType


@dataclass(frozen=True)
class Layout:
    """A GGUF file to write: keys without ``general.architecture``, and tensors in order.

    Attributes
    ----------
    kept : tuple of int
        The number that each block has in the file it comes from.
    """

    arch: str
    keys: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    kept: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.data.nbytes for tensor in self.tensors)


def layout(reader: GGUFReader, plan: Plan) -> Layout:
    """The file that a plan makes of one.

    Raises
    ------
    Refusal
        The plan names a layer that is not there, or the format has no words for what would be left.
    """
    drops = dropped(plan)
    # Blocks that predict further tokens stand behind the layers; no plan names them, and they stay.
    plan.checked(Shape(blocks_in(reader) - (of_arch(reader, "nextn_predict_layers") or 0)))
    kept = tuple(i for i in range(blocks_in(reader)) if i not in drops.blocks)
    if not kept:
        raise Refusal("The plan removes every block, and llama.cpp runs no model without one. Keep a block.")
    arch = value(reader, "general.architecture")
    _check_places(reader, arch, kept)
    keys = _keys(reader, arch, kept)
    if not (drops.attention or drops.mlp):
        return Layout(arch, keys, tuple(_tensors(reader, kept, Drops())), kept)
    _check_sublayers(reader, arch)
    if drops.attention >= set(kept):
        raise Refusal("The plan removes every attention sublayer, and llama.cpp runs no model without one. Keep at least one.")
    keys = {f"{DECI}.{key.removeprefix(arch + '.')}" if key.startswith(f"{arch}.") else key: keys[key] for key in keys}
    return Layout(DECI, keys | _by_layer(reader, kept, drops), tuple(_tensors(reader, kept, drops)), kept)


def _check_places(reader: GGUFReader, arch: str, kept: tuple[int, ...]) -> None:
    """Refuse to move a layer to where the runtime would take it for one of another kind."""
    if len(kept) == blocks_in(reader):
        return
    tied = [key for key in _TIES if of_arch(reader, key)]
    if tied:
        raise Refusal(f"In this {arch} file layers depend on their position ({tied[0]}), so no block can be removed from it.")
    periods = {of_arch(reader, key) for key in _PERIOD_KEYS if not listed(reader, f"{arch}.{key}")} - {None}
    if reader.get_field(f"{arch}.{_PERIOD_KEYS[0]}") is None:
        periods |= {_PERIODS.get(arch, 1)}
    period = lcm(*(max(int(each), 1) for each in periods))
    if any(place % period != old % period for place, old in enumerate(kept)):
        raise Refusal(
            f"In this {arch} file one layer in {period} is of another kind, and the runtime identifies it by its position; "
            f"after this plan, layers would end up in the wrong positions. Remove blocks in runs of {period}, or the last ones."
        )


def _keys(reader: GGUFReader, arch: str, kept: tuple[int, ...]) -> dict[str, Value]:
    """The keys of the file with every number and array about blocks cut."""
    count, keys = blocks_in(reader), {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # the writer's own
        if len(field.types) > 2:
            raise Refusal(f"The key {name} of the GGUF file holds arrays in an array, which cannot be written again.")
        content, short = field.contents(), name.removeprefix(f"{arch}.")
        if listed(reader, name):
            if not content:
                continue  # cannot be written, and says nothing
            if short != name and len(content) == count and short not in _NOT_BY_LAYER:
                content = [content[i] for i in kept]
        elif short == "block_count":
            content = len(kept)
        elif short == "leading_dense_block_count":
            content = sum(i < content for i in kept)
        keys[name] = Value(content, field.types[0], field.types[1] if field.types[1:] else None)
    return keys


def _tensors(reader: GGUFReader, kept: tuple[int, ...], drops: Drops) -> list[Tensor]:
    """What is left, numbered anew, with zeros where the format wants something to stand."""
    places, width, tensors = {old: new for new, old in enumerate(kept)}, of_arch(reader, "embedding_length"), []
    for tensor in reader.tensors:
        name = tensor.name
        if name.startswith("blk."):
            _, number, rest = name.split(".", 2)
            old, part = int(number), rest.split(".")[0]
            norm_stays = part == "ffn_norm" or (part == "attn_norm" and places.get(old) == 0)
            gone = (old in drops.attention and part in _ATTENTION) or (old in drops.mlp and part in _MLP)
            if old not in places or (gone and not norm_stays):
                continue
            name = f"blk.{places[old]}.{rest}"
        tensors.append(Tensor(name, tensor.data, tensor.tensor_type))
    for old in sorted(drops.mlp):
        shapes = {"gate": (_ZERO_WIDTH, width), "up": (_ZERO_WIDTH, width), "down": (width, _ZERO_WIDTH)}
        tensors += [_zeros(f"blk.{places[old]}.ffn_{part}.weight", shape) for part, shape in shapes.items()]
    if kept[0] in drops.attention:
        tensors.append(_zeros("blk.0.attn_output.weight", (width, width)))
    return tensors


def _zeros(name: str, shape: tuple[int, int]) -> Tensor:
    return Tensor(name, np.zeros(shape, np.float16), GGMLQuantizationType.F16)


def _check_sublayers(reader: GGUFReader, arch: str) -> None:
    """Refuse what a deci file has no words for."""
    parts = sorted({tensor.name.split(".")[2] for tensor in reader.tensors if tensor.name.startswith("blk.")})
    strange = [part for part in parts if part not in (*_ATTENTION, *_MLP)]
    if arch not in _LIKE_LLAMA or strange:
        why = f"this one is {arch}" if arch not in _LIKE_LLAMA else f"this one has {strange[0]} as well"
        raise Refusal(
            f"In a GGUF file only Llama-like models can lose an attention or an MLP alone, and {why}. Remove whole blocks "
            "(b7), which every architecture can, or export with `zeroed` for transformers."
        )


def _by_layer(reader: GGUFReader, kept: tuple[int, ...], drops: Drops) -> dict[str, Value]:
    """Heads and widths as one number a layer."""
    heads, widths = of_arch(reader, "attention.head_count"), of_arch(reader, "feed_forward_length")
    grouped = of_arch(reader, "attention.head_count_kv") or heads
    heads, grouped, widths = ([n[i] if isinstance(n, list) else n for i in kept] for n in (heads, grouped, widths))
    for place, old in enumerate(kept):
        if old in drops.attention:
            grouped[place] = 0
            heads[place] = heads[place] if place == 0 else 0
        if old in drops.mlp:
            widths[place] = _ZERO_WIDTH
    named = {"attention.head_count": heads, "attention.head_count_kv": grouped, "feed_forward_length": widths}
    return {f"{DECI}.{key}": Value(row, GGUFValueType.ARRAY, GGUFValueType.UINT32) for key, row in named.items()}
