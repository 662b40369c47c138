"""What choosing keys by low-rank scores would save for each decoded token, counted and not measured.

One decoded token in one layer has ``heads`` queries and ``kv_heads`` keys and values for each of S cached tokens, of
``head_dim`` = d values each. Dense attention reads all keys and values, 2 · kv_heads · S · d values, and multiplies each query
with its S keys and its S weights with the values, 2 · heads · S · d multiply-adds. Loki (arXiv 2406.02542, §5) keeps the keys
rotated into their basis, so that scores in r = dims · d dimensions read kv_heads · S · r values; then only the k = top · S
chosen keys and values are read and multiplied, after a rotation of the new query and key by d · d multiply-adds per head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from plans.keys.choice import components


@dataclass(frozen=True)
class DecodeCost:
    """Attention over the cache for one decoded token, all layers together; projections and MLPs are not in it.

    Attributes
    ----------
    bytes, dense_bytes : int
        Read from the cache. For ``bytes`` the query heads that share keys are taken to choose different ones, as far as there
        are that many.
    least_bytes : int
        The same if they all choose the same keys; equal to ``bytes`` where no heads share keys.
    products, dense_products : int
        Multiply-adds.
    """

    bytes: int
    least_bytes: int
    dense_bytes: int
    products: int
    dense_products: int


def paper_ratio(dims: float, top: float) -> float:
    """Low-rank attention over dense attention as the paper has it, dims/2 + top: for one query head per key head.

    (S · dims · d + 2 · top · S · d) / (2 · S · d). Where query heads share a key head it is the share of multiply-adds, and
    of the bytes if all of them choose the same keys; see `read_ratio`.
    """
    return dims / 2 + top


def read_ratio(dims: float, top: float, heads: Sequence[int], kv_heads: Sequence[int], head_dim: Sequence[int]) -> float:
    """Bytes that low-rank attention reads from the cache over what dense attention reads, for long contexts.

    dims/2 + min(1, g · top), with g = heads / kv_heads: the query heads that share keys may all choose different ones, and no
    more than all keys are read. It leaves out the search for the best keys and everything but attention.

    Parameters
    ----------
    heads, kv_heads, head_dim : sequences of int, one per layer
    """
    shapes = list(zip(heads, kv_heads, head_dim, strict=True))
    read = sum(keys * size * (dims / 2 + min(1.0, queries / keys * top)) for queries, keys, size in shapes)
    return read / sum(keys * size for _, keys, size in shapes)


def decode_cost(
    dims: float,
    top: float,
    context: int,
    heads: Sequence[int],
    kv_heads: Sequence[int],
    head_dim: Sequence[int],
    value_bytes: int = 2,
) -> DecodeCost:
    """Bytes and multiply-adds of attention for one token decoded after ``context`` tokens.

    Parameters
    ----------
    context : int
        S, the cached tokens that a layer sees; a sliding window sees fewer than there are.
    heads, kv_heads, head_dim : sequences of int, one per layer
    value_bytes : int
        Of one cached number; 2 in bfloat16.

    Notes
    -----
    With g = heads / kv_heads queries per key head, the chosen keys to read per key head are between k (all queries agree) and
    min(S, g · k) (none do), so that with many queries per key little may be saved in bytes even where multiply-adds are.
    """
    kept = min(context, max(1, int(top * context + 1e-9)))
    most = least = dense = products = dense_products = 0
    for queries, keys, size in zip(heads, kv_heads, head_dim, strict=True):
        rank = components(dims, size)
        union = min(context, queries // keys * kept)
        dense += 2 * keys * context * size
        most += keys * (context * rank + 2 * union * size)
        least += keys * (context * rank + 2 * kept * size)
        dense_products += 2 * queries * context * size
        products += queries * (context * rank + 2 * kept * size) + (queries + keys) * size * size
    return DecodeCost(most * value_bytes, least * value_bytes, dense * value_bytes, products, dense_products)
