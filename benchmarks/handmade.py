"""A model that never had some of its attentions, built by hand: what a view has to be as fast as.

Nothing of models/view.py is used. The blocks are of transformers where they are whole, and of the class below where they
are not; the weights are those of the dense model, so that both read the same memory.
"""

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM


class MlpBlock(nn.Module):
    """A block of Llama that was never given an attention."""

    def __init__(self, norm: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = norm, mlp

    def forward(self, hidden_states: Tensor, **kwargs: object) -> Tensor:
        return hidden_states + self.mlp(self.norm(hidden_states))


def without_attention(dense: LlamaForCausalLM, layers: frozenset[int]) -> LlamaForCausalLM:
    """A new Llama with the dense weights and no attention in ``layers``."""
    with torch.device("meta"):  # no memory: the weights are put in below
        model = LlamaForCausalLM(dense.config)
    model.load_state_dict(dense.state_dict(), assign=True)
    model.tie_weights()
    model.model.rotary_emb = dense.model.rotary_emb  # its buffers are in no state dict
    blocks, kept = [], 0
    for i, block in enumerate(model.model.layers):
        if i in layers:
            blocks.append(MlpBlock(block.post_attention_layernorm, block.mlp))
        else:
            block.self_attn.layer_idx, kept = kept, kept + 1
            blocks.append(block)
    model.model.layers = nn.ModuleList(blocks)
    return model.eval().requires_grad_(False)


def empty_cache() -> DynamicCache:
    """A cache that grows a layer whenever an attention asks for one."""
    return DynamicCache()
