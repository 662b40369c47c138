"""Config of a Llama whose layers may lack their attention or their MLP (DeciLM, Nemotron-NAS); for vLLM, which has the model.

This file travels inside exported folders. Loading it takes ``trust_remote_code``, and it does nothing but read the config.
"""

from transformers import LlamaConfig


class Part(dict):
    """A JSON object whose values are attributes, too: vLLM reads them so, and config.json keeps them as they are."""

    def __getattr__(self, name):
        """A value by its key."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class DeciLMConfig(LlamaConfig):
    """A Llama config with a block config for each layer."""

    model_type = "nemotron-nas"

    def __init__(self, block_configs=None, num_key_value_heads=None, intermediate_size=None, **others):
        """As LlamaConfig, but heads and width are told layer by layer.

        The values for all layers are those of the first layer that has the part, because tools ask for them.
        """
        blocks = [Part(attention=Part(each["attention"]), ffn=Part(each["ffn"])) for each in block_configs or []]
        heads = others.get("num_attention_heads", 32)
        groups = [each.attention.n_heads_in_group for each in blocks if not each.attention.no_op]
        kept = num_key_value_heads or heads // (groups[0] if groups else 1)
        super().__init__(num_key_value_heads=kept, intermediate_size=intermediate_size or 11008, **others)
        self.block_configs = blocks
