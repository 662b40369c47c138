"""Pruning weights: Wanda against the forward passes it cannot do without, and what SparseGPT takes."""

from collections.abc import Callable
from statistics import median

import torch

from benchmarks.timing import Line, in_turns, seconds
from models.linears import linears
from models.subject import Subject
from plans.cut import cut
from plans.weights.prune import prune
from plans.weights.sparsity import Sparsity
from texts.corpus import CorpusRef, read_corpus


def pruning(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """Wanda 50 % against two forward passes over its windows, without the head, and sorting each matrix once."""
    corpus = read_corpus(CorpusRef("python-docs", windows=windows), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)

    def pruned(method: str) -> Callable[[], None]:
        return lambda: prune(cut(subject), tokens, Sparsity(method, 0.5), {}, lambda *_: None)

    times = in_turns(
        rounds,
        {
            "forward": lambda: _forward(subject, tokens),
            "sorting": lambda: _sorting(subject),
            "Wanda 50 %": pruned("wanda"),
            "magnitude 50 %": pruned("magnitude"),
        },
    )
    repaired = seconds(pruned("sparsegpt"))  # once: it takes long, and has no target
    passes, sorting, wanda, magnitude = (median(times[name]) for name in ("forward", "sorting", "Wanda 50 %", "magnitude 50 %"))
    note = f"{wanda:.1f} s against {passes:.1f} s forward and {sorting:.1f} s sorting, {windows} windows of {tokens.shape[1]}"
    return [
        Line("Wanda 50 % ÷ (2 forward without head + sorting)", wanda / (2 * passes + sorting), most=1.0, note=note),
        Line("Wanda 50 % ÷ 2 forward without head", wanda / (2 * passes), note="stricter: choosing weights counts as well"),
        Line("magnitude 50 % ÷ sorting", magnitude / sorting, note=f"{magnitude:.1f} s"),
        Line("SparseGPT 50 % ÷ forward without head", repaired / passes, note=f"{repaired:.0f} s"),
    ]


@torch.inference_mode()
def _forward(subject: Subject, tokens: torch.Tensor) -> None:
    for window in tokens:
        subject.model.base_model(input_ids=window[None], use_cache=False)


@torch.inference_mode()
def _sorting(subject: Subject) -> None:
    """Every row of every matrix that Wanda prunes, once, ties in order."""
    for block in subject.model.get_submodule(subject.family.layers):
        for linear in linears(block, subject.family):
            linear.matrices.abs().sort(dim=-1, stable=True)
