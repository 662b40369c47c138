"""What differs by architecture in a checkpoint on the disk: names of tensors, and what a config says layer by layer."""

import re
from typing import Any

from models.families.experts import STACKED
from models.families.wiring import Config, Family
from refusal import Refusal

# What a checkpoint calls the MLP where the model calls it otherwise.
_ALIASES = ("block_sparse_moe",)
_OUTPUT = re.compile(
    r"(?:.*\.)?(?:o_proj|out_proj|c_proj|dense|dense_4h_to_h|down_proj|fc2|w2|output_linear)(?:\.weight|\.bias|_bias)?"
)
# Experts one by one, and stacked under Granite's names; models hold them stacked under the names of `STACKED`.
_EXPERT = re.compile(r"(?:.*\.)?experts\.(\d+)\.(?:(gate_proj|w1)|(up_proj|w3)|(down_proj|w2))\.weight")
_GRANITE = {"input_linear.weight": STACKED[0], "output_linear.weight": STACKED[1]}
_ROUTER = re.compile(r"(?:gate|router\.layer)\.weight")
# Masks and frequencies that older versions stored; every loader makes them itself.
_DERIVED = re.compile(r"(?:.*\.)?(?:rotary_emb\.inv_freq|(?:attn|attention)\.(?:bias|masked_bias))")


def block_pattern(family: Family) -> re.Pattern[str]:
    """Matches names of tensors in blocks: prefix, layer index, name inside. The base model's prefix may be missing."""
    base, _, rest = family.layers.partition(".")
    return re.compile(rf"((?:{re.escape(base)}\.)?{re.escape(rest)}\.)(\d+)\.(.+)")


def is_derived(name: str) -> bool:
    """Whether a stored tensor is no weight but something that loaders compute."""
    return _DERIVED.fullmatch(name) is not None


def sublayer_of(family: Family, inside: str) -> str:
    """``attention``, ``mlp``, or ``shared``: which sublayer a tensor inside a block goes with."""
    top = inside.partition(".")[0]
    for name, sublayer in (("attention", family.attention), ("mlp", family.mlp)):
        if top in (sublayer.module, *sublayer.norms, *sublayer.dead):
            return name
    return "mlp" if top in _ALIASES else "shared"


def is_output(inside: str) -> bool:
    """Whether a tensor belongs to the last linear map of its sublayer: with all of these at zero it adds nothing."""
    return _OUTPUT.fullmatch(inside) is not None


def is_expert_name(inside: str) -> bool:
    """Whether a tensor inside a block has a name that only checkpoints with experts use, so that no parameter is called so."""
    _, _, below = inside.partition(".")
    return bool(_EXPERT.fullmatch(below) or below in _GRANITE or _ROUTER.fullmatch(below))


def linear_of(family: Family, inside: str) -> tuple[str, tuple[Any, ...]]:
    """Which linear map of a model a stored tensor is.

    Returns
    -------
    str, tuple
        The name of the map inside its block, as `models.linears` has it, and which part of its weight is stored: empty for all
        of it, else ``(expert, "first" or "second" half of the rows, or "all")``.
    """
    stem = f"{family.mlp.module}.experts"
    if found := _EXPERT.fullmatch(inside):
        part = "first" if found[2] else "second" if found[3] else "all"
        return f"{stem}.{STACKED[part == 'all']}", (int(found[1]), part)
    top, _, below = inside.partition(".")
    if top in _ALIASES and below in _GRANITE:
        return f"{stem}.{_GRANITE[below]}", ()
    return inside.removesuffix(".weight"), ()


def layer_count_key(config: Config) -> str:
    """What the config.json of this architecture calls its number of layers."""
    return getattr(config, "attribute_map", {}).get("num_hidden_layers", "num_hidden_layers")


def kept_layers(config: Config, kept: list[int]) -> dict[str, Any]:
    """What a config.json has to say so that a plain model of this architecture is made of some of the layers.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the dense model, with all that it derives from what its file says.
    kept : list of int
        Dense layer indices, ascending.

    Raises
    ------
    Refusal
        The architecture gives layers a meaning by their number that a config cannot keep.
    """
    count = config.num_hidden_layers
    if getattr(config, "scale_attn_by_inverse_layer_idx", False) and kept != list(range(len(kept))):
        raise Refusal(
            "This model scales attention by the number of its layer (scale_attn_by_inverse_layer_idx), so layers cannot take "
            "the place of others. Remove the last blocks only, or take the format 'zeroed'."
        )
    # Derived lists have to be spelled out: derived again, the i-th layer would get the type of another one.
    lists = {key: value for key, value in vars(config).items() if "layer" in key and isinstance(value, list)}
    said = {key: [value[i] for i in kept] for key, value in lists.items() if len(value) == count and key != "mlp_only_layers"}
    if (dense := getattr(config, "first_k_dense_replace", None)) is not None:
        said["first_k_dense_replace"] = sum(i < dense for i in kept)
    if (step := getattr(config, "decoder_sparse_step", None)) is not None:
        routed = [(i + 1) % step == 0 and i not in (config.mlp_only_layers or []) for i in kept]
        said |= {"decoder_sparse_step": 1, "mlp_only_layers": [place for place, each in enumerate(routed) if not each]}
    return said | {layer_count_key(config): len(kept)}
