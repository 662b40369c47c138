"""What the formats for transformers share: a config.json, shards, and files that are written beside them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.loading.gaps import gaps_of
from models.loading.weight_files import read_json
from plans.export.files.pruned import Pruned
from plans.export.files.shards import Piece, size_of, write_shards
from plans.export.files.stored import Change, Stored, stored
from plans.export.format import Checkpoint
from plans.weights import Weights
from refusal import Progress, Refusal

# From a tensor of the dense checkpoint to its new name and what happens to it; None: it is left out.
Placed = Callable[[Stored], tuple[str, Change | None] | None]


@dataclass(frozen=True)
class Layout:
    """What a format makes of a checkpoint.

    Attributes
    ----------
    config : dict
        The whole config.json.
    placed : callable
        Where each tensor goes.
    files : mapping of str to str
        Other files by name.
    """

    config: dict[str, Any]
    placed: Placed
    files: dict[str, str] = field(default_factory=dict)


def raw_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config.json of the dense model as it is written.

    Raises
    ------
    Refusal
        The checkpoint is quantised.
    """
    raw = read_json(checkpoint.source.folder / "config.json")
    gaps = gaps_of(raw)
    raw = raw if gaps is None else gaps.config
    if raw.get("quantization_config"):
        raise Refusal(f"{checkpoint.source.name} is quantised, and no format here writes quantised weights.")
    return {key: value for key, value in raw.items() if key not in ("_name_or_path", "_model_name_or_path", "auto_map")}


def written_as(layout: Callable[[Checkpoint], Layout]) -> dict[str, Any]:
    """``size`` and ``write`` of a format, from what it makes of a checkpoint."""

    def size(checkpoint: Checkpoint) -> int:
        return size_of(_pieces(checkpoint, layout(checkpoint)))

    def write(checkpoint: Checkpoint, folder: Path, progress: Progress) -> None:
        made = layout(checkpoint)
        write_shards(_pieces(checkpoint, made), folder, progress)
        for name, text in ({"config.json": json.dumps(made.config, indent=2) + "\n"} | made.files).items():
            (folder / name).write_text(text, encoding="utf-8")

    return {"size": size, "write": write}


def _pieces(checkpoint: Checkpoint, layout: Layout) -> list[Piece]:
    pruned = _pruned(checkpoint)
    found = []
    for each in stored(checkpoint.source, checkpoint.config, checkpoint.family):
        place = layout.placed(each)
        if place is not None:
            name, change = place
            found.append(Piece(name, each, change or (pruned.change(each) if pruned else None)))
    return found


def _pruned(checkpoint: Checkpoint) -> Pruned | None:
    operation = checkpoint.plan.of(Weights)
    if operation is None or operation.name not in checkpoint.learned:
        return None
    return Pruned(checkpoint.family, checkpoint.learned[operation.name], checkpoint.computed)
