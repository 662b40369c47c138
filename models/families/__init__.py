"""Everything that differs from one architecture to another; nobody else asks which one it is."""

from models.families.experts import STACKED, between, is_router, stacked, transposed
from models.families.names import cache_argument, context, experts_per_token
from models.families.table import KNOWN, family_of
from models.families.wiring import Config, Family, Sublayer

__all__ = [
    "KNOWN",
    "STACKED",
    "Config",
    "Family",
    "Sublayer",
    "between",
    "cache_argument",
    "context",
    "experts_per_token",
    "family_of",
    "is_router",
    "stacked",
    "transposed",
]
