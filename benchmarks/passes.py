"""A prototype to compare with: one pass per target with plain hooks, which is how LLM-Drop's own code measures.

Written from the definition (arXiv 2406.15786, §3) for models shaped like Llama. It computes three mean cosines per layer and
nothing else: no matrices, no spread, no norms, nothing without position 0.
"""

import torch
from torch import Tensor, nn

Seen = dict[str, Tensor]


@torch.inference_mode()
def bare(model: nn.Module, windows: Tensor, last: bool) -> None:
    """Forward passes and nothing else; ``last``: the head sees the last position alone, as when a probe runs them."""
    for window in windows:
        model(input_ids=window[None], use_cache=False, logits_to_keep=1 if last else 0)


def three_passes(model: nn.Module, windows: Tensor) -> dict[str, list[float]]:
    """Mean cosine before and after each attention, MLP and block.

    Parameters
    ----------
    windows : int64 tensor of shape (windows, tokens)
    """
    return {target: _one_pass(model, windows, target) for target in ("attention", "mlp", "block")}


@torch.inference_mode()
def _one_pass(model: nn.Module, windows: Tensor, target: str) -> list[float]:
    cosines: list[list[Tensor]] = [[] for _ in model.model.layers]
    hooks = [hook for i, block in enumerate(model.model.layers) for hook in _hooks(block, target, cosines[i])]
    try:
        for window in windows:
            model(input_ids=window[None], use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(each).double().mean().item() for each in cosines]


def _hooks(block: nn.Module, target: str, cosines: list[Tensor]) -> list:
    """Two hooks: one keeps the stream as it goes in, the other compares it with the stream as it comes out."""
    seen: Seen = {}

    def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
        seen["stream"] = args[0] if args else kwargs["hidden_states"]

    def after(module: nn.Module, args: tuple, output: Tensor | tuple) -> None:
        added = output[0] if isinstance(output, tuple) else output
        stream = seen.pop("stream").float()
        end = added.float() if target == "block" else stream + added.float()
        cosines.append(torch.cosine_similarity(stream, end, dim=-1).flatten())

    entry, exit_ = {
        "attention": (block.input_layernorm, block.self_attn),
        "mlp": (block.post_attention_layernorm, block.mlp),
        "block": (block, block),
    }[target]
    return [entry.register_forward_pre_hook(before, with_kwargs=True), exit_.register_forward_hook(after)]
