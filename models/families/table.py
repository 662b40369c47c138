"""The families there are, by the ``model_type`` of their config."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from models.families.wiring import Config, Family, Sublayer
from refusal import Refusal


def _family(attention_norms: str = "input_layernorm", mlp_norms: str = "post_attention_layernorm", **more: Any) -> Family:
    """The shape of Llama, with other norms; ``more`` are fields of `Family`."""
    attention = Sublayer("self_attn", norms=tuple(attention_norms.split()), returns_tuple=True)
    return Family("", attention, Sublayer("mlp", norms=tuple(mlp_norms.split())), **more)


def _sandwich(before: tuple[str, str], after: tuple[str, str]) -> Family:
    """Norms after the sublayers too: what is added is what comes out of the second norm."""
    attention = Sublayer("self_attn", after[0], tuple(filter(None, (before[0], after[0]))), returns_tuple=True)
    return Family("", attention, Sublayer("mlp", after[1], tuple(filter(None, (before[1], after[1])))))


_LLAMA = _family()
_SHARED_NORM = _family("", "", parallel=True)  # both sublayers read one norm, which must stay
_GEMMA = _sandwich(("input_layernorm", "pre_feedforward_layernorm"), ("post_attention_layernorm", "post_feedforward_layernorm"))
_POST_NORM = _sandwich(("", ""), ("post_attention_layernorm", "post_feedforward_layernorm"))
_GLM4 = _sandwich(("input_layernorm", "post_attention_layernorm"), ("post_self_attn_layernorm", "post_mlp_layernorm"))
_GRANITE = replace(_LLAMA, scale="residual_multiplier")
_LATENT = replace(_LLAMA, expands_keys="expand_kv")
_ROUTED_TUPLE = replace(_LLAMA, mlp=replace(_LLAMA.mlp, returns_tuple=True))

_GPT2 = Family(
    "",
    Sublayer("attn", norms=("ln_1",), returns_tuple=True),
    Sublayer("mlp", norms=("ln_2",)),
    layers="transformer.h",
    final_norm="transformer.ln_f",
)
_NEOX = Family(
    "",
    Sublayer("attention", norms=("input_layernorm",), returns_tuple=True),
    Sublayer("mlp", norms=("post_attention_layernorm",)),
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    head="embed_out",
)
_OPT = Family(
    "",
    Sublayer("self_attn", norms=("self_attn_layer_norm",), returns_tuple=True),
    Sublayer("fc2", norms=("final_layer_norm",), dead=("fc1", "activation_fn")),
    layers="model.decoder.layers",
    final_norm="model.decoder.final_layer_norm",
)
_FALCON = Family(
    "",
    Sublayer("self_attention", returns_tuple=True),
    Sublayer("mlp", overwritten=True),
    layers="transformer.h",
    final_norm="transformer.ln_f",
    distinct_keys="num_kv_heads",
)
_BLOOM = Family(
    "",
    Sublayer("self_attention", norms=("input_layernorm",), takes_residual=True, returns_tuple=True),
    Sublayer("mlp", norms=("post_attention_layernorm",), takes_residual=True),
    layers="transformer.h",
    final_norm="transformer.ln_f",
)
_MPT = Family(
    "",
    Sublayer("attn", norms=("norm_1",), returns_tuple=True),
    Sublayer("ffn", norms=("norm_2",), takes_residual=True),
    layers="transformer.blocks",
    final_norm="transformer.norm_f",
)


def _opt(config: Config) -> Family:
    if not config.do_layer_norm_before:
        raise Refusal(
            "This OPT normalises after each sublayer (as OPT-350m does): its residual stream passes through norms, so "
            "dropping a sublayer is not defined here. Use another size of OPT."
        )
    return _OPT


def _bloom(config: Config) -> Family:
    if config.apply_residual_connection_post_layernorm:
        raise Refusal("This BLOOM takes its residual after the norm, so dropping a sublayer is not defined here.")
    return _BLOOM


def _falcon(config: Config) -> Family:
    if config.new_decoder_architecture and config.num_ln_in_parallel_attn in (None, 2):
        attention, mlp = ("ln_attn",), ("ln_mlp",)
    elif config.parallel_attn or config.new_decoder_architecture:
        attention, mlp = (), ()
    else:
        attention, mlp = ("input_layernorm",), ("post_attention_layernorm",)
    parallel = config.parallel_attn or config.new_decoder_architecture
    norms = {"attention": replace(_FALCON.attention, norms=attention), "mlp": replace(_FALCON.mlp, norms=mlp)}
    return replace(_FALCON, parallel=parallel, **norms)


def _phi(config: Config) -> Family:
    return replace(_SHARED_NORM, final_norm="model.final_layernorm")


def _stablelm(config: Config) -> Family:
    return _SHARED_NORM if config.use_parallel_residual else _LLAMA


_TABLE: dict[str, Family | Callable[[Config], Family]] = {
    **dict.fromkeys(
        "llama mistral qwen2 qwen3 phi3 starcoder2 mixtral qwen3_moe qwen2_moe olmo olmoe smollm3 ministral glm helium "
        "nemotron arcee seed_oss hunyuan_v1_dense ernie4_5".split(),
        _LLAMA,
    ),
    **dict.fromkeys("deepseek_v2 deepseek_v3".split(), _LATENT),
    "gemma": replace(_LLAMA, begins_with_bos=True),
    **dict.fromkeys("gemma2 gemma3_text".split(), replace(_GEMMA, begins_with_bos=True)),
    **dict.fromkeys("olmo2 olmo3 exaone4".split(), _POST_NORM),
    "granite": _GRANITE,
    "granitemoe": replace(_GRANITE, mlp=replace(_LLAMA.mlp, module="block_sparse_moe")),
    **dict.fromkeys("cohere cohere2".split(), _SHARED_NORM),
    "glm4": _GLM4,
    "gpt_oss": _ROUTED_TUPLE,
    "gpt2": _GPT2,
    "gpt_neox": lambda config: replace(_NEOX, parallel=config.use_parallel_residual),
    "phi": _phi,
    "stablelm": _stablelm,
    "opt": _opt,
    "falcon": _falcon,
    "bloom": _bloom,
    "mpt": _MPT,
}

KNOWN: tuple[str, ...] = tuple(sorted(_TABLE))


def family_of(config: Config) -> Family:
    """The family of a text config.

    Raises
    ------
    Refusal
        The architecture, or this variant of it, is not known; guessing would give wrong numbers.
    """
    name = config.model_type
    if name not in _TABLE:
        raise Refusal(
            f"The architecture '{name}' is not supported yet, and guessing where it keeps its parts would give wrong "
            f"numbers. Supported: {', '.join(KNOWN)}."
        )
    row = _TABLE[name]
    return replace(row(config) if callable(row) else row, name=name)
