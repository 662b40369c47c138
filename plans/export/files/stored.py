"""The tensors of a safetensors checkpoint, told by their headers alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from models.families import Config, Family
from models.families.checkpoints import block_pattern, is_derived, is_expert_name
from models.loading.building import skeleton
from models.loading.sources import Source
from refusal import Refusal

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stored:
    """One tensor of a checkpoint.

    Attributes
    ----------
    file : Path
    name : str
        In that file.
    dtype : torch.dtype
    shape : tuple of int
    prefix : str
        Of a tensor inside a block, what stands before the layer index.
    layer : int or None
        Dense layer index; None: outside the blocks.
    inside : str
        The name inside the block; outside the blocks empty.
    """

    file: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    prefix: str = ""
    layer: int | None = None
    inside: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize

    def at(self, layer: int) -> str:
        """Its name in another layer."""
        return f"{self.prefix}{layer}.{self.inside}"


def stored(source: Source, config: Config, family: Family) -> list[Stored]:
    """Every weight of a checkpoint, file by file; what loaders compute themselves is left out.

    Raises
    ------
    Refusal
        The weights are pickled, packed or quantised, or there are tensors that the architecture does not have.
    """
    if source.gguf:
        raise Refusal(
            f"{source.name} is a GGUF file, and this format is written from safetensors. Export it as GGUF, or load the "
            "model from its safetensors folder."
        )
    files = source.files
    if any(file.suffix != ".safetensors" for file in files):
        raise Refusal(f"The weights of {source.name} are pickled. Save them as safetensors first.")
    found = [each for file in files for each in _of_file(file, block_pattern(family))]
    _refuse_strangers(source.name, found, config, family)
    return found


def stored_dtype(tensors: list[Stored]) -> torch.dtype:
    """The dtype of most of the weights."""
    sizes: dict[torch.dtype, int] = {}
    for each in tensors:
        sizes[each.dtype] = sizes.get(each.dtype, 0) + prod(each.shape)
    return max(sizes, key=sizes.__getitem__)


def _of_file(file: Path, block: object) -> Iterator[Stored]:
    # Not "pt", which maps the file so that all of it counts as memory to come: refused where it is larger than the machine.
    with safe_open(file, framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - a safe_open is not a dict
            if is_derived(name):
                continue
            part = tensors.get_slice(name)
            dtype = DTYPES.get(part.get_dtype())
            if dtype is None:
                raise Refusal(
                    f"{name} is stored as {part.get_dtype()}, so this checkpoint is quantised, and no format here writes "
                    "quantised weights. Load an unquantised copy of the model."
                )
            place = block.fullmatch(name)
            where = (place[1], int(place[2]), place[3]) if place else ()
            yield Stored(file, name, dtype, tuple(part.get_shape()), *where)


def _refuse_strangers(model: str, found: list[Stored], config: Config, family: Family) -> None:
    """Refuse tensors that the architecture does not have: to leave them out would be a guess, and to keep them too."""
    known = set(skeleton(config).state_dict())
    block, base = block_pattern(family), f"{family.layers.partition('.')[0]}."
    places = [place for name in known if (place := block.fullmatch(name))]
    inside = {place[3] for place in places}
    outside = known | {name.removeprefix(base) for name in known} | {f"{family.head}.weight", "lm_head.weight"}
    strangers = [each.name for each in found if not _expected(each, config.num_hidden_layers, inside, outside)]
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise Refusal(
            f"{model} has tensors that a {family.name} of {config.num_hidden_layers} layers does not have: {strangers[0]}"
            f"{more}. Whether they belong to what is exported cannot be known. Save the model again with `save_pretrained`."
        )


def _expected(each: Stored, layers: int, inside: set[str], outside: set[str]) -> bool:
    if each.layer is None:
        return each.name in outside
    return each.layer < layers and (each.inside in inside or is_expert_name(each.inside))
