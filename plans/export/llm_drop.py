"""The format ``llm-drop``: lists of dropped sublayers in the config, as LLM-Drop's own model classes read them.

References
----------
arXiv 2406.15786; the code of CASE-Lab-UMD/LLM-Drop.
"""

from models.families.checkpoints import sublayer_of
from plans.drops import Drops, dropped
from plans.export.files.folder import Layout, raw_config, written_as
from plans.export.files.old_config import spelled_out
from plans.export.files.stored import Change, Stored
from plans.export.format import Checkpoint, Format, Runtime, unwritable
from plans.export.reread import TOLERANCE, reread

# The classes that LLM-Drop's files define, by family.
_CLASSES = {"llama": "Llama", "mistral": "Mistral"}


def _cannot(checkpoint: Checkpoint) -> str:
    if why := unwritable(checkpoint.plan):
        return why
    if checkpoint.family.name not in _CLASSES:
        return f"LLM-Drop has model classes for {' and '.join(_CLASSES)}, and none for {checkpoint.family.name}."
    return "" if checkpoint.plan.of(Drops) else "The plan drops nothing, so there are no lists to write."


def _layout(checkpoint: Checkpoint) -> Layout:
    drops, family = dropped(checkpoint.plan), checkpoint.family
    files, stem = family.name, _CLASSES[family.name]

    def placed(each: Stored) -> tuple[str, Change | None] | None:
        gone = each.layer is not None and drops.touches(each.layer, sublayer_of(family, each.inside))
        return None if gone else (each.name, None)

    lists = {
        # Indices, not booleans: one of LLM-Drop's config classes takes a list of booleans for the indices 0 and 1.
        "drop_attn_list": sorted(drops.no_attention),
        "drop_mlp_list": sorted(drops.no_mlp),
        "auto_map": {
            "AutoConfig": f"configuration_dropped_{files}.{stem}Config",
            "AutoModelForCausalLM": f"modeling_dropped_{files}.{stem}ForCausalLM",
        },
    }
    return Layout(spelled_out(raw_config(checkpoint)) | lists, placed)


FORMAT = Format(
    name="llm-drop",
    sentence="Lists of dropped sublayers in the config, for LLM-Drop's model classes; dropped weights are left out.",
    expresses=f"a, m, b and w:, of {' and '.join(_CLASSES)}",
    runtimes=(
        Runtime(
            "LLM-Drop",
            True,
            "copy configuration_dropped_*.py and modeling_dropped_*.py of its src/llmtuner/compression/prune/models into the "
            "folder, and load with trust_remote_code and the transformers version that LLM-Drop asks for",
        ),
        Runtime("PruneScope", True, "reads the lists"),
        Runtime("transformers", False, "alone it ignores the lists and fills in the missing weights at random"),
        Runtime("vLLM", False, "it knows no such lists"),
        Runtime("llama.cpp", False, "its converter knows no such lists"),
    ),
    cannot=_cannot,
    **written_as(_layout),
    reads=reread("gaps"),
    tolerance=TOLERANCE,
)
