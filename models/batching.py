"""How many windows go through a model at once: one by one on a CPU, on a GPU as many as fit beside what is kept of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.loading.memory import free_memory
from models.view import View

_KEPT = 500_000_000  # bytes that are kept of a batch at most; a block's own work takes as much again
_SHARE = 8  # of the free memory, one part in so many
_WORK = 16  # numbers in flight per number of the stream: a block's projections, and an MLP of about four widths three times
SCORE_BYTES = 40  # bytes per score of an attention that writes its scores down: in float32, sorted, masked and as weights
UNWRITTEN = ("sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")  # they write down no scores


def batches(
    tokens: Tensor, device: torch.device, window_bytes: int, equal: bool = False, done: int = 0
) -> Iterator[tuple[int, Tensor]]:
    """Windows in batches of about the same size, each with the number of its first window.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    device : torch.device
        Where the model is. A CPU is busy with one window, and its sums are faster while they stay in its cache.
    window_bytes : int
        What the caller keeps of one window until its batch is through, and at least `pass_bytes`.
    equal : bool
        Every batch has as many windows as the others, for who calls a block as it was called with the first batch.
    done : int
        So many windows are left out: they are through.

    Yields
    ------
    int, int64 tensor of shape (batch, tokens)
    """
    begin, tokens = done, tokens[done:]
    if not len(tokens):
        return
    size = min(batch_size(device, window_bytes), len(tokens))
    if equal:
        size = max(count for count in range(1, size + 1) if len(tokens) % count == 0)
    for batch in tokens.tensor_split(-(-len(tokens) // size)):
        yield begin, batch
        begin += len(batch)


def batch_size(device: torch.device, window_bytes: int) -> int:
    """Most windows in a batch, at least 1."""
    if device.type != "cuda":
        return 1
    return max(1, min(_KEPT, free_memory("cuda") // _SHARE) // window_bytes)


def pass_bytes(view: View, length: int) -> int:
    """About what a window of ``length`` tokens takes while it goes through a view, without its logits."""
    config = view.model.config.get_text_config(decoder=True)
    stream = _WORK * length * config.hidden_size * view.model.dtype.itemsize
    if config._attn_implementation in UNWRITTEN:
        return stream
    return stream + SCORE_BYTES * config.num_attention_heads * length**2


def step_text(begin: int, count: int, windows: int) -> str:
    """What a batch is called while it is measured: ``window 3 of 8``, or ``windows 3 to 5 of 8``."""
    which = f"window {begin + 1}" if count == 1 else f"windows {begin + 1} to {begin + count}"
    return f"{which} of {windows}"
