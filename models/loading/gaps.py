"""Checkpoints that lack sublayers (DeciLM or Nemotron-NAS, LLM-Drop, slices): a dense config, and what is missing of it.

No code that comes with them is run: their configs say everything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.loading.checks.config import refuse_odd_config
from models.loading.checks.words import in_words
from models.loading.slices import deepened, kept_blocks
from models.loading.weight_files import read_json
from refusal import Refusal

_STEP = 256  # DeciLM rounds the width of an MLP up to a multiple of this
_SAME = "PruneScope opens such a model only where all layers that are there have the same shape."


@dataclass(frozen=True)
class Gaps:
    """A config.json without its gaps.

    Attributes
    ----------
    config : dict
        Of the dense model.
    attention, mlp : frozenset of int
        Layers that lack that sublayer.
    blocks : tuple of int
        Dense index of each block in the files; empty: they are numbered so already.
    """

    config: dict[str, Any]
    attention: frozenset[int]
    mlp: frozenset[int]
    blocks: tuple[int, ...] = ()


def gaps_in(folder: Path) -> Gaps | None:
    """What a model's folder says is missing of it; None: it is whole.

    Raises
    ------
    Refusal
        As `gaps_of`; or a value is of another kind than config.json has, or a size that no model has.
    """
    raw = read_json(folder / "config.json")
    refuse_odd_config(raw)
    found = gaps_of(raw)
    if found is not None:
        refuse_odd_config(found.config)
        return found
    slices = kept_blocks(folder)
    with in_words(str(folder)):
        config = None if slices is None else deepened(raw, *slices)
    if config is None:
        return None
    kept, layers = slices
    gone = frozenset(range(layers)) - frozenset(kept)
    return Gaps(config, gone, gone, kept) if gone else None


def gaps_of(raw: dict[str, Any]) -> Gaps | None:
    """What a config.json says is missing; None: it is the config of a whole model.

    Raises
    ------
    Refusal
        It cannot be read, or the layers that are there differ in shape.
    """
    if "block_configs" in raw:
        return _decilm(raw)
    if "drop_attn_list" in raw or "drop_mlp_list" in raw:
        return _llm_drop(raw)
    return None


def _llm_drop(raw: dict[str, Any]) -> Gaps:
    layers = raw.get("num_hidden_layers")
    if type(layers) is not int:
        raise Refusal("config.json lists dropped layers, but does not say how many there are (num_hidden_layers).")
    missing = [_indices(raw.get(key), layers, key) for key in ("drop_attn_list", "drop_mlp_list")]
    config = {key: value for key, value in raw.items() if key not in ("drop_attn_list", "drop_mlp_list", "auto_map")}
    return Gaps(config, *missing)


def _indices(given: Any, layers: int, key: str) -> frozenset[int]:
    """Layer indices from a list of them, or from a list of a boolean per layer, which LLM-Drop's config classes hold."""
    given = given or []
    if isinstance(given, list) and given and all(isinstance(each, bool) for each in given) and len(given) == layers:
        return frozenset(i for i, each in enumerate(given) if each)
    # bool is a kind of int, so [False, True, …] would pass for the indices 0 and 1.
    if isinstance(given, list) and all(type(each) is int and 0 <= each < layers for each in given):
        return frozenset(given)
    raise Refusal(
        f"{key} in config.json must list layer indices from 0 to {layers - 1}, or true or false for each of {layers} layers."
    )


def _decilm(raw: dict[str, Any]) -> Gaps:
    blocks = raw["block_configs"]
    try:
        parts = {name: [block[name] for block in blocks] for name in ("attention", "ffn")}
        missing = {name: frozenset(i for i, part in enumerate(each) if part["no_op"]) for name, each in parts.items()}
        linear = [i for each in parts.values() for i, part in enumerate(each) if part.get("replace_with_linear")]
        heads = {part["n_heads_in_group"] for part in parts["attention"] if not part["no_op"]}
        widths = {_width(part, int(raw["hidden_size"])) for part in parts["ffn"] if not part["no_op"]}
        groups = int(raw["num_attention_heads"]) // (next(iter(heads)) if heads else 1)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Refusal(f"block_configs in config.json cannot be read ({type(error).__name__}: {error}).") from error
    if linear:
        raise Refusal(f"Layer {linear[0]} of this DeciLM has a linear map in the place of a sublayer. {_SAME}")
    if len(heads) > 1 or len(widths) > 1:
        raise Refusal(f"The layers of this DeciLM differ in heads or width. {_SAME}")
    config = {key: value for key, value in raw.items() if key not in ("block_configs", "auto_map")} | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": len(blocks),
        "num_key_value_heads": groups,
        "intermediate_size": (widths or {_STEP}).pop(),
    }
    return Gaps(config, missing["attention"], missing["ffn"])


def _width(part: dict[str, Any], hidden: int) -> int:
    """The intermediate size of an MLP."""
    if part.get("ffn_mult") is None:
        return int(part["intermediate_size"])
    return -(-int(2 * part["ffn_mult"] * hidden / 3) // _STEP) * _STEP
