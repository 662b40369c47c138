"""The values of a config.json, before transformers makes lists as long as they say."""

from typing import Any

from transformers import CONFIG_MAPPING

from refusal import Refusal

DEEPEST = 1000  # layers; the deepest models there are have some 130
# Whole numbers from 1 to these, under transformers' own names; architectures may have others for them.
_MOST = {
    "num_hidden_layers": DEEPEST,
    "hidden_size": 2**20,
    "intermediate_size": 2**24,
    "num_attention_heads": 2**14,
    "num_key_value_heads": 2**14,
    "head_dim": 2**14,
    "vocab_size": 2**27,
    "max_position_embeddings": 2**40,
    "num_experts": 2**14,
    "num_local_experts": 2**14,
    "n_routed_experts": 2**14,
    "num_experts_per_tok": 2**14,
    "moe_intermediate_size": 2**24,
}
_OBJECTS = ("text_config", "rope_scaling", "rope_parameters", "quantization_config", "auto_map", "attn_config")


def refuse_odd_config(raw: dict[str, Any]) -> None:
    """Refuse values of another kind than config.json has, and sizes that no model has.

    Raises
    ------
    Refusal
        Which value, and what it must be.
    """
    kind = raw.get("model_type")
    if kind is not None and not isinstance(kind, str):
        raise Refusal(f"model_type in config.json must be a string, not {_shown(kind)}.")
    names = raw.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise Refusal(
            f'architectures in config.json must be a list of names, such as ["LlamaForCausalLM"], not {_shown(names)}.'
        )
    for key in _OBJECTS:
        if raw.get(key) is not None and not isinstance(raw[key], dict):
            raise Refusal(f"{key} in config.json must be an object in braces or null, not {_shown(raw[key])}.")
    for key in ("dtype", "torch_dtype"):
        if raw.get(key) is not None and not isinstance(raw[key], str):
            raise Refusal(f"{key} in config.json must be the name of a dtype, such as bfloat16, not {_shown(raw[key])}.")
    if raw.get("transformers_weights") is not None:
        raise Refusal("config.json names weights of its own choice (transformers_weights). Call them model.safetensors.")
    _refuse_sizes(raw)
    if raw.get("text_config"):
        refuse_odd_config(raw["text_config"])


def _refuse_sizes(raw: dict[str, Any]) -> None:
    kind = raw.get("model_type")
    own = CONFIG_MAPPING[kind].attribute_map if kind in CONFIG_MAPPING else {}
    for name, most in _MOST.items():
        for key in {name, own.get(name, name)}:
            value = raw.get(key)
            if value is not None and (type(value) is not int or not 1 <= value <= most):  # a bool is a kind of int
                raise Refusal(f"{key} in config.json must be a whole number from 1 to {most:,}, not {_shown(value)}.")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
