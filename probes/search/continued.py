"""Plans on what the dense model writes itself: a drop that hardly changes how a text is read may change what is written."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.head import Head, last_states
from models.subject import Subject
from plans.cut import cut
from plans.plan import Plan
from probes.scan.damage import Reference
from refusal import Progress, Refusal, silent


def continued(subject: Subject, tokens: Tensor, plans: Sequence[Plan], new: int, progress: Progress = silent) -> np.ndarray:
    """KL(dense‖plan) in nats per token on the dense model's own continuation of each window.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
        What is continued, greedily.
    new : int
        Tokens that are written; 0: nothing is done.

    Returns
    -------
    float64 array of shape (plans, windows), or (plans, 0)

    Raises
    ------
    Refusal
        Windows and continuation are longer than the model's context.
    """
    if not new:
        return np.empty((len(plans), 0))
    given = tokens.shape[1]
    if subject.context is not None and given + new > subject.context:
        raise Refusal(
            f"A window of {given} tokens and {new} new ones do not fit the model, which reads at most {subject.context}."
        )
    head, found = Head(subject), np.empty((len(plans), len(tokens)))
    for i, window in enumerate(tokens):
        progress(i, len(tokens), f"continuing window {i + 1} of {len(tokens)}")
        text = _written(subject, window, new)
        dense = last_states(cut(subject), text[None])[0, given - 1 : -1]
        reference = Reference(head, dense, text[given:])
        for k, plan in enumerate(plans):
            states = last_states(cut(subject, plan), text[None])[0, given - 1 : -1]
            found[k, i] = reference.measured([states])[0, 0]
    return found


@torch.inference_mode()
def _written(subject: Subject, window: Tensor, new: int) -> Tensor:
    """The window and so many tokens that the dense model finds likeliest: (tokens + new,)."""
    view = cut(subject)
    cache, text = view.cache(), window[None]
    unread = text
    for _ in range(new):
        unread = view.logits(unread if cache is not None else text, cache, last=True)[:, -1:].argmax(-1).to(window.device)
        text = torch.cat([text, unread], 1)
    return text[0]
