"""Token ids that a tokenizer knows and a model does not: a sentence, where a GPU would end the whole process."""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from refusal import Refusal


def watch_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a model refuse ids beyond its embedding, if its tokenizer knows any.

    Such a tokenizer is common (a padding token was added and the embedding was not), and harmless as long as no text holds the
    token. Views are copied with the check.
    """
    embedding = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    if max(tokenizer.get_vocab().values(), default=0) < rows:
        return

    def check(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = args[0] if args else named["input"]
        if isinstance(ids, Tensor) and ids.numel() and (most := int(ids.max())) >= rows:
            raise Refusal(
                f"The text has the token {tokenizer.convert_ids_to_tokens(most)!r} ({most}), and the model's embedding has "
                f"{rows} rows: the tokenizer is not this model's, or tokens were added to it alone. Leave the token out."
            )

    embedding.register_forward_pre_hook(check, with_kwargs=True)
