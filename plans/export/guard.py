"""The guard of an export: what is read back has to say what the live view of the plan says."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.linears import linears
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.export.format import Format
from plans.export.reread import logarithms
from plans.weights import Weights
from refusal import Progress, Refusal
from texts.corpus import CorpusRef, read_corpus

WINDOWS, LENGTH = 2, 64


@dataclass(frozen=True, eq=False)
class Live:
    """What the live view of a plan says.

    Attributes
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    logarithms : float32 tensor of shape (windows, tokens, vocab)
    dtype : torch.dtype
    device : str
        What it was computed in and on: cpu, cuda, mps or split.
    """

    tokens: Tensor
    logarithms: Tensor
    dtype: torch.dtype
    device: str


def live(subject: Subject, plan: Calibrated, text: CorpusRef, stored: torch.dtype) -> Live:
    """Run the plan's view on the first windows of a text.

    Parameters
    ----------
    stored : torch.dtype
        What the weights are stored in: values that a plan learned are rounded to it when they are written.
    """
    length = min(LENGTH, subject.context or LENGTH)
    corpus = read_corpus(CorpusRef(text.name, WINDOWS, length, text.bos), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)
    view = cut(subject, plan)
    weights = plan.plan.of(Weights)
    if weights is not None and stored.itemsize < subject.dtype.itemsize:
        for block in view.layers:
            for linear in linears(block, view.family, weights.sparsity.modules):
                linear.put_weight(linear.weight.to(stored).to(subject.dtype))
    said = torch.cat([logarithms(view.logits(window[None].to(subject.device))) for window in tokens])
    places = set(getattr(subject.model, "hf_device_map", None) or {})
    return Live(tokens, said, subject.dtype, "split" if len(places) > 1 else subject.device.type)


def difference(form: Format, folder: Path, live: Live, progress: Progress) -> float:
    """How far what was written and the live view are apart, in nats, as the format measures it.

    Raises
    ------
    Refusal
        It is more than rounding, or not a number.
    """
    found = form.reads(folder, live.tokens, live.dtype, live.device, progress)
    if found.shape != live.logarithms.shape:
        raise Refusal(
            f"The written checkpoint predicts an array of shape {list(found.shape)}, the live model "
            f"{list(live.logarithms.shape)}."
        )
    apart = form.differs(found, live.logarithms)
    allowed = form.tolerance[live.dtype]
    if not apart <= allowed:  # so that NaN is refused too
        raise Refusal(
            f"The written checkpoint does not reproduce the pruned model: {form.differs_by} {apart:.3g} nats, and rounding "
            f"explains {allowed:g}. Nothing was exported. The format '{form.name}' may not fit this model{form.or_else}."
        )
    return apart
