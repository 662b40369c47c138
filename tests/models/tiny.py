"""Tiny random models of every family, with norms and biases randomised so that a wrong drop cannot hide."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

LAYERS = 5
_BASE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "num_local_experts": 4}
_SLIDING = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"]}
_MLA = {
    "kv_lora_rank": 16, "q_lora_rank": None, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "head_dim": 8, "num_key_value_heads": 4,
}  # fmt: skip

# name -> (model_type, what differs from _BASE). A family may stand here twice, once per variant of its wiring.
TINY: dict[str, tuple[str, dict]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": 6}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "gemma": ("gemma", {"head_dim": 8}),
    "gemma2": ("gemma2", {"head_dim": 8, **_SLIDING, "query_pre_attn_scalar": 8}),
    "gemma3_text": ("gemma3_text", {"head_dim": 8, **_SLIDING, "query_pre_attn_scalar": 8}),
    "gpt2": ("gpt2", {"n_inner": 48, "n_positions": 128}),
    "gpt2-scaled": ("gpt2", {"n_inner": 48, "n_positions": 128, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "phi": ("phi", {}),
    "phi3": ("phi3", {}),
    "falcon-7b": ("falcon", {"parallel_attn": True, "multi_query": True}),
    "falcon-40b": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-11b": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
    "falcon-rw": ("falcon", {"parallel_attn": False, "alibi": True, "bias": True}),
    "bloom": ("bloom", {}),
    "mpt": ("mpt", {"d_model": 32, "max_seq_len": 128, "expansion_ratio": 2}),
    "olmo": ("olmo", {}),
    "olmo2": ("olmo2", {}),
    "olmo3": ("olmo3", _SLIDING),
    "cohere": ("cohere", {}),
    "cohere2": ("cohere2", _SLIDING),
    "granite": ("granite", {"residual_multiplier": 0.4, "logits_scaling": 2.0}),
    "granitemoe": ("granitemoe", {**_ROUTED, "residual_multiplier": 0.4}),
    "glm": ("glm", {"head_dim": 8}),
    "glm4": ("glm4", {"head_dim": 8}),
    "starcoder2": ("starcoder2", {}),
    "gpt_oss": ("gpt_oss", {**_ROUTED, **_SLIDING, "head_dim": 8}),
    "mixtral": ("mixtral", _ROUTED),
    "qwen2_moe": ("qwen2_moe", {**_ROUTED, "shared_expert_intermediate_size": 24}),
    "qwen3_moe": ("qwen3_moe", {**_ROUTED, "head_dim": 8}),
    "olmoe": ("olmoe", _ROUTED),
    "deepseek_v2": ("deepseek_v2", _MLA),
    "deepseek_v3": ("deepseek_v3", _MLA | {"q_lora_rank": 16}),
    "stablelm": ("stablelm", {}),
    "stablelm-parallel": ("stablelm", {"use_parallel_residual": True}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 1, 0, 1, 0]}),
    "ministral": ("ministral", {"head_dim": 8, **_SLIDING}),
    "helium": ("helium", {"head_dim": 8}),
    "nemotron": ("nemotron", {}),
    "exaone4": ("exaone4", {"head_dim": 8, **_SLIDING}),
    "arcee": ("arcee", {}),
    "seed_oss": ("seed_oss", {"head_dim": 8}),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", {"head_dim": 8}),
    "ernie4_5": ("ernie4_5", {"head_dim": 8}),
}


def tiny_model(name: str, seed: int = 0, **other: int) -> PreTrainedModel:
    """A float32 model of 5 layers, width 32 and 97 tokens of vocabulary, whose sublayers all matter."""
    model_type, more = TINY[name]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **(_BASE | more | other))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    for key, weight in model.named_parameters():
        if weight.dim() == 1:
            weight.uniform_(-0.3, 0.3).add_(1.0 if key.endswith("weight") else 0.0)
        else:
            weight.normal_(0.0, 0.15)
    return model


def tokens(windows: int = 2, length: int = 12, seed: int = 1) -> torch.Tensor:
    """Random token ids of shape (windows, length), none of them special."""
    return torch.randint(3, 97, (windows, length), generator=torch.Generator().manual_seed(seed))
