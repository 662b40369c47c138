"""Another attention in the place of a family's own, on a private view: a rule that is given the family's own to call.

Scaling, soft-cap, sinks and sliding window stay what they are, because they are bound in what the rule calls.
"""

import sys
from collections.abc import Callable

from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from models.view import View
from refusal import Refusal

_NAME = "by_rule"  # what transformers calls it

# attend(query, key, value, mask) -> (output, weights): the family's own attention, its scaling and sinks bound
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
# rule(attend, query, key, value, mask) -> (output, weights)
Rule = Callable[[Attend, Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def attend_by(view: View, rules: dict[int, Rule]) -> None:
    """Compute the attention of each dense layer index in ``rules``, which are all that are left, by its rule.

    Raises
    ------
    Refusal
        The family computes attention outside transformers' attention interface, or by multi-head latent attention.
    """
    modules = replaceable(view)
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, eager_mask)  # float masks of shape (windows, 1, queries, keys), never left out
    for layer, module in modules.items():
        module.attention_rule = rules[layer]
        module.config._attn_implementation = _NAME
    # Where the model makes the masks; `cut` copied it, so it is this view's own.
    view.model.config.get_text_config(decoder=True)._attn_implementation = _NAME


def replaceable(view: View) -> dict[int, nn.Module]:
    """The attentions that are left by dense layer index, if another one can be put in their place; else a Refusal."""
    if why := why_it_stays(view):
        raise Refusal(why)
    return _attentions(view)


def why_it_stays(view: View) -> str:
    """Why another attention cannot be put in the place of this family's own, in a sentence; empty: it can."""
    name = view.family.name
    for module in _attentions(view).values():
        if view.family.latent:
            return (
                f"The attention of {name} is latent (MLA): it keeps no keys per head, and its cache is of low rank by design. "
                "Choosing keys by low-rank scores is not defined here."
            )
        if not hasattr(sys.modules[type(module).__module__], "eager_attention_forward"):
            return (
                f"The attention of {name} does not go through transformers' attention interface, so another one cannot be put "
                "in its place. Low-rank attention is not available for this family."
            )
    return ""


def _attentions(view: View) -> dict[int, nn.Module]:
    blocks = zip(view.blocks, view.layers, strict=True)
    return {layer: block.get_submodule(view.family.attention.module) for layer, block in blocks if layer in view.attentions}


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: object
) -> tuple:
    own = sys.modules[type(module).__module__].eager_attention_forward
    return module.attention_rule(lambda *tensors: own(module, *tensors, **more), query, key, value, attention_mask)
