"""One thing, many names: what configs and attentions call what every architecture has."""

import inspect
from collections.abc import Callable
from typing import Any

from models.families.wiring import Config

# What forward methods call the key-value cache: since transformers 5.24, before it, and in the oldest attentions of it.
CACHE = ("cache", "past_key_values", "layer_past")
# What configs call the longest context.
CONTEXT = ("max_position_embeddings", "max_seq_len")
# What configs call the number of experts that a token is sent to.
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "experts_per_token", "moe_topk")


def cache_argument(forward: Callable[..., Any]) -> str:
    """The name under which a forward method takes the cache."""
    taken = inspect.signature(forward).parameters  # looks through decorators
    return next(name for name in CACHE if name in taken)


def context(config: Config) -> int | None:
    """Most tokens in a row; None: no limit is known."""
    return _first(config, CONTEXT)


def experts_per_token(config: Config) -> int:
    """How many experts each token is sent to; 1 for a model without experts."""
    return _first(config, EXPERTS_PER_TOKEN) or 1


def _first(config: Config, names: tuple[str, ...]) -> int | None:
    return next((value for name in names if (value := getattr(config, name, None))), None)
