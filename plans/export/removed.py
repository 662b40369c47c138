"""The format ``removed``: whole blocks are gone, and what is left is a plain model of the same family."""

from models.families.checkpoints import kept_layers
from plans.drops import dropped
from plans.export.files.folder import Layout, raw_config, written_as
from plans.export.files.stored import Change, Stored
from plans.export.format import Checkpoint, Format, Runtime, unwritable
from plans.export.reread import TOLERANCE, reread
from refusal import Refusal


def _cannot(checkpoint: Checkpoint) -> str:
    drops = dropped(checkpoint.plan)
    if why := unwritable(checkpoint.plan):
        return why
    if drops.attention or drops.mlp:
        return "A plain model has both sublayers in each of its blocks, so only whole blocks can be removed."
    if len(drops.blocks) == checkpoint.layers:
        return "Other tools cannot load a model without any block."
    try:
        kept_layers(checkpoint.config, _kept(checkpoint))
    except Refusal as refused:
        return str(refused)
    return ""


def _kept(checkpoint: Checkpoint) -> list[int]:
    return [i for i in range(checkpoint.layers) if i not in dropped(checkpoint.plan).blocks]


def _layout(checkpoint: Checkpoint) -> Layout:
    places = {layer: place for place, layer in enumerate(_kept(checkpoint))}

    def placed(each: Stored) -> tuple[str, Change | None] | None:
        if each.layer is None:
            return each.name, None
        return (each.at(places[each.layer]), None) if each.layer in places else None

    return Layout(raw_config(checkpoint) | kept_layers(checkpoint.config, list(places)), placed)


FORMAT = Format(
    name="removed",
    sentence="The blocks that are left, renumbered, as a plain model of the same family.",
    expresses="b (whole blocks, but not all of them) and w:",
    runtimes=(
        Runtime("transformers", True, "AutoModelForCausalLM, as any model of the family"),
        Runtime("vLLM", True, "as any model of the family"),
        Runtime("SGLang", True, "as any model of the family"),
        Runtime("llama.cpp", True, "after convert_hf_to_gguf.py, where llama.cpp knows the family"),
    ),
    cannot=_cannot,
    **written_as(_layout),
    reads=reread("stock"),
    tolerance=TOLERANCE,
)
