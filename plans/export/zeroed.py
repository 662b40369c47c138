"""The format ``zeroed``: the last linear map of each dropped sublayer is zero, so that it adds nothing. Nothing is faster."""

import torch

from models.families.checkpoints import is_output, sublayer_of
from plans.drops import Drops, dropped
from plans.export.files.folder import Layout, raw_config, written_as
from plans.export.files.stored import Change, Stored
from plans.export.format import Checkpoint, Format, Runtime, unwritable
from plans.export.reread import TOLERANCE, reread


def _cannot(checkpoint: Checkpoint) -> str:
    if why := unwritable(checkpoint.plan):
        return why
    if checkpoint.gaps:
        return f"The checkpoint lacks the weights of {checkpoint.gaps}, so there is nothing to set to zero."
    return "" if checkpoint.plan.of(Drops) else "The plan drops nothing, so no projection has to be zero."


def _layout(checkpoint: Checkpoint) -> Layout:
    drops, family = dropped(checkpoint.plan), checkpoint.family

    def placed(each: Stored) -> tuple[str, Change | None]:
        gone = each.layer is not None and drops.touches(each.layer, sublayer_of(family, each.inside))
        gone = gone and sublayer_of(family, each.inside) != "shared" and is_output(each.inside)
        return each.name, (torch.zeros_like if gone else None)

    return Layout(raw_config(checkpoint), placed)


_NO_GAIN = "same logits; no faster and no smaller, because zeros are multiplied like other weights"
FORMAT = Format(
    name="zeroed",
    sentence="The whole model with zeros where sublayers were dropped: the same logits everywhere, and no speed-up.",
    expresses="a, m, b and w:, of every family",
    runtimes=(
        Runtime("transformers", True, _NO_GAIN),
        Runtime("vLLM", True, _NO_GAIN),
        Runtime("SGLang", True, _NO_GAIN),
        Runtime("llama.cpp", True, f"after convert_hf_to_gguf.py; {_NO_GAIN}"),
    ),
    cannot=_cannot,
    **written_as(_layout),
    reads=reread("stock"),
    tolerance=TOLERANCE,
)
