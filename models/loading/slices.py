"""Models that are slices of a deeper one: plain checkpoints, of which a file beside them says which blocks they are.

That file is the record of our own exports, or the config that mergekit writes beside what it merged. Without one, nobody can
tell a slice from a shallow model, and it is opened as that.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from transformers import CONFIG_MAPPING

from models.families import Family
from models.families.checkpoints import block_pattern, layer_count_key
from models.loading.checks.config import DEEPEST
from models.loading.weight_files import headers
from refusal import Refusal
from texts.files import read_bytes

RECORD, MERGED = "prunescope.json", ("mergekit_config.yml", "mergekit_config.yaml")
_LONGEST = 2 * 10**5  # bytes of either file: YAML is read slowly
_BY_NUMBER = ("first_k_dense_replace", "scale_attn_by_inverse_layer_idx")


class _NoAliases(yaml.SafeLoader):
    """Without aliases, of which a few lines unfold to billions."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def kept_blocks(folder: Path) -> tuple[tuple[int, ...], int] | None:
    """The dense index of each block of a checkpoint, and how many there were; None: nothing says that it is a slice."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError, yaml.YAMLError):
        return _recorded(folder) if (folder / RECORD).is_file() else _merged(folder)
    return None  # a file that cannot be read says nothing


def _recorded(folder: Path) -> tuple[tuple[int, ...], int] | None:
    record = json.loads(read_bytes(folder / RECORD, _LONGEST))
    if record["format"] != "removed":
        return None
    gone, layers = set(record["drop_attention"]) & set(record["drop_mlp"]), int(record["layers"])
    return (tuple(i for i in range(layers) if i not in gone), layers) if layers <= DEEPEST else None


def _merged(folder: Path) -> tuple[tuple[int, ...], int] | None:
    """From a passthrough of one model whose ranges rise; the blocks after the last of them are unknown."""
    path = next((folder / name for name in MERGED if (folder / name).is_file()), None)
    if path is None:
        return None
    said = yaml.load(read_bytes(path, _LONGEST), _NoAliases)
    sources = [source for each in said["slices"] for source in each["sources"]]
    one = len({str(source["model"]) for source in sources}) == 1 and all(len(each["sources"]) == 1 for each in said["slices"])
    if said["merge_method"] != "passthrough" or not one:
        return None
    ranges = [tuple(map(int, source["layer_range"])) for source in sources]
    if not all(0 <= place <= DEEPEST for each in ranges for place in each) or len(ranges) > DEEPEST:
        return None
    kept = tuple(i for each in ranges for i in range(*each))
    rising = all(a < b for a, b in pairwise(kept))
    return (kept, kept[-1] + 1) if kept and rising else None


def deepened(raw: dict[str, Any], kept: tuple[int, ...], layers: int) -> dict[str, Any] | None:
    """The config.json of the deeper model; None: it gives layers a meaning by their number, or is not that of these blocks.

    Lists with an entry for each layer are spelled out, so that each block keeps its own; a missing block has its neighbour's.
    """
    kind = raw.get("model_type")
    if kind not in CONFIG_MAPPING:
        return None
    config = CONFIG_MAPPING[kind].from_dict(dict(raw))
    key = layer_count_key(config)
    by_number = any(raw.get(name) for name in _BY_NUMBER) or raw.get("decoder_sparse_step", 1) != 1
    if raw.get(key) != len(kept) or by_number:
        return None
    places = [max((place for place, i in enumerate(kept) if i <= layer), default=0) for layer in range(layers)]
    lists = {name: value for name, value in vars(config).items() if "layer" in name and isinstance(value, list)}
    indices = {name: [kept[i] for i in value] for name, value in lists.items() if name == "mlp_only_layers"}
    longer = {name: [value[place] for place in places] for name, value in lists.items() if len(value) == len(kept)} | indices
    return {**raw, **longer, key: layers}


def renamed(rest: str, kept: tuple[int, ...]) -> dict[str, str]:
    """How transformers renames tensors of the file, for blocks at ``rest``, such as ``layers``.

    Renamings follow each other. From the last block on, no new number is one that a later rule looks for.
    """
    return {rf"(?<!\w){rest}\.{i}\.": f"{rest}.{kept[i]}." for i in reversed(range(len(kept))) if kept[i] != i}


def refuse_surplus(files: Iterable[Path], family: Family, kept: tuple[int, ...]) -> None:
    """Refuse blocks that there should not be: renamed, others would take their place without a word."""
    for file in (each for each in files if each.suffix == ".safetensors"):
        for name in headers(file):
            place = block_pattern(family).fullmatch(name)
            if place and int(place[2]) >= len(kept):
                raise Refusal(f"{file.name} has a tensor {name}, but the model has {len(kept)} blocks. Save the model again.")
