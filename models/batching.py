"""How many windows go through a model at once: one by one on a CPU, on a GPU as many as fit beside what is kept of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.loading.memory import free_memory

_KEPT = 500_000_000  # bytes that are kept of a batch at most; a block's own work takes as much again
_SHARE = 8  # of the free memory, one part in so many


def batches(tokens: Tensor, device: torch.device, window_bytes: int) -> Iterator[tuple[int, Tensor]]:
    """Windows in batches of about the same size, each with the number of its first window.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    device : torch.device
        Where the model is. A CPU is busy with one window, and its sums are faster while they stay in its cache.
    window_bytes : int
        What the caller keeps of one window until its batch is through.

    Yields
    ------
    int, int64 tensor of shape (batch, tokens)
    """
    size = 1
    if device.type == "cuda":
        size = max(1, min(_KEPT, free_memory("cuda") // _SHARE) // window_bytes)
    begin = 0
    for batch in tokens.tensor_split(-(-len(tokens) // size)):
        yield begin, batch
        begin += len(batch)
