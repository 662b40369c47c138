"""The format ``noop``: a Llama some of whose layers lack their attention or their MLP, as DeciLM and Nemotron-NAS.

References
----------
DeciLM and Nemotron-NAS (Puzzle, arXiv 2411.19146); vLLM's model file ``nemotron_nas.py``.
"""

from pathlib import Path
from typing import Any

from models.families.checkpoints import sublayer_of
from plans.drops import Drops, dropped
from plans.export.files.folder import Layout, raw_config, written_as
from plans.export.files.old_config import spelled_out
from plans.export.files.stored import Change, Stored
from plans.export.format import Checkpoint, Format, Runtime, unwritable
from plans.export.reread import TOLERANCE, reread

_CODE = "configuration_decilm.py"  # vLLM has the model class and no config class
_STEP = 256  # DeciLM's readers round the width of an MLP up to a multiple of this


def _cannot(checkpoint: Checkpoint) -> str:
    if why := unwritable(checkpoint.plan):
        return why
    if not checkpoint.plan.of(Drops):
        return "The plan drops nothing, so no layer lacks anything."
    return _not_llama(checkpoint) or _no_first_attention(checkpoint)


def _not_llama(checkpoint: Checkpoint) -> str:
    """Why DeciLM, which is a Llama, cannot be this model; empty: it can."""
    name, config = checkpoint.family.name, checkpoint.config
    if name not in ("llama", "mistral"):
        return f"DeciLM is a Llama with gaps, but {name} computes something else."
    if getattr(config, "sliding_window", None):
        return "DeciLM sees the whole context, but this model has a sliding window."
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"vLLM's DeciLM uses the silu activation, but this model uses {config.hidden_act}."
    return ""


def _no_first_attention(checkpoint: Checkpoint) -> str:
    """Why vLLM cannot begin to run what is left; empty: it can."""
    drops = dropped(checkpoint.plan)
    left = [i for i in range(checkpoint.layers) if i not in drops.blocks]
    if not left:
        return "Other tools cannot load a model without any block."
    if left[0] in drops.attention:
        first = "layer 0" if left[0] == 0 else f"layer {left[0]}, the first one left,"
        return f"vLLM's DeciLM needs the attention of {first} to start. Keep a{left[0]} out of the plan."
    return ""


def _layout(checkpoint: Checkpoint) -> Layout:
    drops, family = dropped(checkpoint.plan), checkpoint.family

    def placed(each: Stored) -> tuple[str, Change | None] | None:
        whole = each.layer is not None and each.layer in drops.blocks
        gone = whole or (each.layer is not None and drops.touches(each.layer, sublayer_of(family, each.inside)))
        return None if gone else (each.name, None)

    code = Path(__file__).with_name(_CODE).read_text(encoding="utf-8")
    return Layout(_config(checkpoint), placed, {_CODE: code})


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    drops, config = dropped(checkpoint.plan), checkpoint.config
    group = config.num_attention_heads // config.num_key_value_heads
    width = _width(config.intermediate_size, config.hidden_size)
    blocks = [
        {
            "attention": _part(i in drops.no_attention, {"n_heads_in_group": group}),
            "ffn": _part(i in drops.no_mlp, width),
        }
        for i in range(checkpoint.layers)
    ]
    return spelled_out(raw_config(checkpoint)) | {
        "architectures": ["DeciLMForCausalLM"],
        "model_type": "nemotron-nas",
        "auto_map": {"AutoConfig": f"{_CODE.removesuffix('.py')}.DeciLMConfig"},
        "num_key_value_heads": None,
        "intermediate_size": None,
        "attention_bias": bool(getattr(config, "attention_bias", False)),
        "mlp_bias": bool(getattr(config, "mlp_bias", False)),
        "block_configs": blocks,
    }


def _part(gone: bool, sizes: dict[str, Any]) -> dict[str, Any]:
    return {**(dict.fromkeys(sizes) if gone else sizes), "no_op": gone, "replace_with_linear": False}


def _width(intermediate: int, hidden: int) -> dict[str, Any]:
    """The width of an MLP as DeciLM's readers take it: as ``ffn_mult``, where their rounding gives the same width back."""
    ratio = 1.5 * intermediate / hidden
    back = -(-int(2 * ratio * hidden / 3) // _STEP) * _STEP
    return {"ffn_mult": ratio} if back == intermediate else {"intermediate_size": intermediate}


FORMAT = Format(
    name="noop",
    sentence="A DeciLM (Nemotron-NAS): layers lack their attention or their MLP, whose weights are left out.",
    expresses="a, m, b and w:, of llama, and of mistral without a sliding window; not the attention of the first layer left",
    runtimes=(
        Runtime("vLLM", True, "with --trust-remote-code, for the config file that is written beside the weights"),
        Runtime("PruneScope", True, "reads block_configs"),
        Runtime("SGLang", True, "where the width of the MLP is a multiple of 256; not tested"),
        Runtime("llama.cpp", True, "after convert_hf_to_gguf.py, where the width of the MLP is a multiple of 256; not tested"),
        Runtime("transformers", False, "it has no DeciLM, and no layer without attention or MLP"),
    ),
    cannot=_cannot,
    **written_as(_layout),
    reads=reread("gaps"),
    tolerance=TOLERANCE,
)
