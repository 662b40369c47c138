"""What is measured on a GPU, as calls without arguments: bare passes, and each probe over the same windows."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.batching import batches, pass_bytes
from models.head import last_states
from models.subject import Subject
from models.view import View
from plans.cut import cut
from plans.plan import Plan, parse
from probes import PROBES
from probes.base import NoParams
from probes.deviation.dense import DenseSide
from texts.corpus import Corpus

Work = Callable[[], object]


def half_the_attentions(subject: Subject) -> Plan:
    """Every second attention dropped."""
    return parse(",".join(f"a{layer}" for layer in range(0, subject.layers, 2)))


def on_device(subject: Subject, corpus: Corpus) -> Tensor:
    """The windows where the model wants them."""
    return torch.from_numpy(corpus.tokens).to(subject.device)


def forward(view: View, tokens: Tensor, last: bool = False, together: bool = False) -> Work:
    """Bare passes, one by one, or in the batches that similarity makes; ``last``: the head sees the last position alone."""
    kept = (len(view.blocks) + 1) * tokens.shape[1] * view.dense_config.hidden_size * view.model.dtype.itemsize
    parts = [batch for _, batch in batches(tokens, tokens.device, kept)] if together else list(tokens[:, None])

    def work() -> None:
        for part in parts:
            view.logits(part, last=last)

    return work


def similarity(subject: Subject, corpus: Corpus) -> Work:
    """The similarity probe."""
    return lambda: PROBES["similarity"].run(subject, corpus, Plan(), NoParams())


def key_rank(subject: Subject, corpus: Corpus) -> Work:
    """The key rank probe, eigenvalues included."""
    probe = PROBES["key_rank"]
    return lambda: probe.run(subject, corpus, Plan(), probe.params())


def transitions(subject: Subject, corpus: Corpus, plan: Plan) -> Work:
    """The transitions probe on the last tokens."""
    probe = PROBES["transitions"]
    return lambda: probe.run(subject, corpus, plan, probe.params())


def second_fidelity(subject: Subject, corpus: Corpus, plan: Plan) -> Work:
    """The fidelity of a plan whose dense side was kept by an earlier one."""
    probe, tokens = PROBES["fidelity"], on_device(subject, corpus)
    kept = DenseSide(subject, tokens)
    for window in range(len(tokens)):
        kept.states(window)
    return lambda: probe.run(subject, corpus, plan, NoParams(), dense=kept)


def states_alone(view: View, tokens: Tensor) -> Work:
    """The passes of a view up to its head, in the batches that fidelity makes."""
    parts = [batch for _, batch in batches(tokens, tokens.device, pass_bytes(view, tokens.shape[1]))]
    return lambda: [last_states(view, batch) for batch in parts]


@torch.inference_mode()
def written(view: View, prompt: Tensor, steps: int) -> None:
    """Greedy tokens after a prompt (1, tokens), with the cache; nothing leaves the device between them."""
    cache, unread = view.cache(), prompt
    for _ in range(steps):
        unread = view.logits(unread, cache, last=True)[:, -1].argmax(-1, keepdim=True)


def made(subject: Subject, plan: Plan) -> Work:
    """From a plan to its view."""
    return lambda: cut(subject, plan)
