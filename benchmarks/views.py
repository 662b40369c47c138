"""Views: how soon there is one, and whether a pruned model is as fast as one that never had the dropped parts."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from benchmarks.handmade import empty_cache, without_attention
from benchmarks.timing import Line, Times, ratio, seconds, turn
from models.anatomy import anatomy
from models.subject import Subject
from plans.cost import cost
from plans.cut import cut
from plans.drops import dropped
from plans.plan import parse


def first_view(subject: Subject, rounds: int) -> list[Line]:
    """From the text of a plan to a view that can run."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        cut(subject, parse("a1,a7,m12,b20-23"))
        times.append((time.perf_counter() - begun) * 1e3)
    note = f"the first {times[0]:.0f} ms, the slowest {max(times):.0f} ms"
    return [Line("plan to first usable view", median(times), "ms", most=100, note=note)]


def counted(subject: Subject, rounds: int) -> list[Line]:
    """What a plan leaves, counted on a view that is made for it."""
    dense, times = anatomy(subject), []
    for _ in range(rounds):
        begun = time.perf_counter()
        cost(subject, parse("a1,a7,m12,b20-23,w:wanda@0.5"), dense)
        times.append((time.perf_counter() - begun) * 1e3)
    return [Line("what a plan leaves, counted", median(times), "ms", most=100, note=f"the slowest {max(times):.0f} ms")]


def half_the_attention(subject: Subject, prompt: int, steps: int, rounds: int) -> list[Line]:
    """Every second attention dropped: prefill and decode against dense and against the handmade model, a step in turn."""
    plan = parse(",".join(f"a{i}" for i in range(0, subject.layers, 2)))
    dense, view = cut(subject), cut(subject, plan)
    made = without_attention(subject.model, dropped(plan).attention)
    runs = {
        "dense": (dense.model, dense.cache),
        "half the attention": (view.model, view.cache),
        "never had it": (made, empty_cache),
    }
    tokens = torch.arange(prompt)[None] % 1000 + 100
    _same_logits(view.model, made, tokens)
    prefill: Times = {name: [] for name in runs}
    decode: Times = {name: [] for name in runs}
    for place in range(rounds + 1):
        writers = {name: _Writer(*run, tokens) for name, run in runs.items()}
        for step in range(steps + 1):
            for name in turn(writers, place + step):
                took = seconds(writers[name].step)
                if place:  # the first round is for the caches of the processor and the pools of threads
                    (decode if step else prefill)[name].append(took)
    lines = []
    for times, what in ((prefill, f"prefill of {prompt} tokens"), (decode, f"decode after {prompt} tokens, per token")):
        lines += [
            ratio(times, "dense", "half the attention", f"{what}: dense ÷ half the attention", least=1.0),
            ratio(times, "half the attention", "never had it", f"{what}: half ÷ a model that never had it", most=1.05),
        ]
    return lines


class _Writer:
    """A model continuing a prompt with a real cache: the first step reads the prompt, each later one a token."""

    def __init__(self, model: nn.Module, cache: Callable, tokens: torch.Tensor) -> None:
        self.model, self.cache, self.tokens = model, cache(), tokens

    @torch.inference_mode()
    def step(self) -> None:
        logits = self.model(input_ids=self.tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1).logits
        self.tokens = logits[:, -1:].argmax(-1)


@torch.inference_mode()
def _same_logits(one: nn.Module, other: nn.Module, tokens: torch.Tensor) -> None:
    """A comparison is fair only if both compute the same thing."""
    a, b = (model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits for model in (one, other))
    if not torch.equal(a, b):
        raise RuntimeError(f"The view and the handmade model differ by {(a - b).abs().max():.1e}; one of them is wrong.")
