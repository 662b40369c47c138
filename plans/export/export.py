"""A plan of a model on the disk as a checkpoint that others load, guarded; a job or a shell runs it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.families import family_of
from models.lease import Leases
from models.loading.gaps import gaps_in
from models.loading.memory import free_memory
from models.loading.pretrained import config_of
from models.loading.sources import here
from models.subject import ModelRef, Subject
from plans.cut import Calibrated
from plans.export.card import Measured, Provenance, copy_companions, write_card
from plans.export.files.place import destination, refuse_full, whole
from plans.export.files.stored import stored, stored_dtype
from plans.export.format import Checkpoint
from plans.export.guard import Live, difference, live
from plans.export.opened import lacking
from plans.export.registry import format_named, refuse_unfit
from plans.operation import Pieces, Shape
from plans.plan import Plan
from refusal import Progress, Refusal, silent
from texts.corpus import CorpusRef

Learn = Callable[[Subject, Progress], Mapping[str, Pieces]]


@dataclass(frozen=True)
class Order:
    """What is to be exported.

    Attributes
    ----------
    ref : ModelRef
        All its files are on this machine.
    form : str
        Name of a format.
    folder : str
        Inside the export folder.
    text : CorpusRef
        Its first windows are what the guard compares on; what follows the measured windows is what operations learn from.
    overwrite : bool
        An earlier export of that name may be replaced.
    """

    ref: ModelRef
    plan: Plan
    form: str
    folder: str
    text: CorpusRef = field(default_factory=CorpusRef)
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written: where, how many bytes, the difference that the guard found, in nats and in words, and the seconds."""

    folder: Path
    bytes: int
    difference: float
    seconds: float
    differs_by: str = ""

    def __str__(self) -> str:
        return (
            f"{self.folder} holds {self.bytes:,} bytes of weights. It was read back and compared with the pruned "
            f"model: {self.differs_by} {self.difference:.3g} nats."
        )


def export(
    order: Order, leases: Leases, learn: Learn, measured: Sequence[Measured] = (), progress: Progress = silent
) -> Exported:
    """Export a plan, or leave nothing behind.

    Parameters
    ----------
    leases : Leases
        Lends the model for the plan's learning and for the guard; writing does not need it.
    learn : callable
        ``learn(subject, progress)`` gives what the operations of the plan learned, by their names.
    measured : sequence of Measured
        Numbers of the plan for the model card.
    progress : Progress
        What it raises cancels the export.

    Raises
    ------
    Refusal
        The format has no words for the plan, the disk is too small, the folder may not be written, the checkpoint is not
        understood, or what was written does not reproduce the pruned model.
    """
    begun = time.perf_counter()
    form = format_named(order.form)
    checkpoint = understood(order)
    refuse_unfit(form, checkpoint)
    target = destination(order.folder, order.overwrite)
    if target == checkpoint.source.folder.resolve():
        raise Refusal("The export would replace the model that it is made from. Give another name.")
    size = form.size(checkpoint)
    refuse_full(target, size)
    checkpoint, said, fingerprint = _asked(order, checkpoint, leases, learn, progress)
    with whole(target, order.overwrite) as folder:
        form.write(checkpoint, folder, progress)
        if form.companions:
            copy_companions(checkpoint.source.folder, folder)
        found = difference(form, folder, said, progress)
        learned_on = order.text.following if order.plan.learning else None
        dtype = str(said.dtype).removeprefix("torch.")
        write_card(folder, form, checkpoint, Provenance(order.ref, fingerprint, learned_on, measured, found, dtype))
    return Exported(target, size, found, time.perf_counter() - begun, form.differs_by)


def understood(order: Order) -> Checkpoint:
    """A model on the disk with the plan, checked as far as that goes without the model."""
    source = here(order.ref.name, order.ref.revision)
    config = config_of(source)
    gaps = lacking(source)
    if not source.gguf and (found := gaps_in(source.folder)) and found.blocks:
        raise Refusal(
            f"{order.ref.name} is a slice of a deeper model, with its blocks renumbered. Export from that model, with the plan "
            f"{order.plan | Plan((gaps,))}."
        )
    checkpoint = Checkpoint(source, config, family_of(config), order.plan | Plan((gaps,)), gaps=gaps)
    order.plan.checked(Shape(checkpoint.layers))
    return checkpoint


def _asked(
    order: Order, checkpoint: Checkpoint, leases: Leases, learn: Learn, progress: Progress
) -> tuple[Checkpoint, Live, str]:
    """The checkpoint with what the plan learned, and what the live view says; afterwards the model is not needed."""
    with leases.lease(order.ref, progress) as subject:
        learned = dict(learn(subject, progress)) if order.plan.learning else {}
        progress(0, 0, "asking the pruned model")
        said = live(subject, Calibrated(order.plan, learned), order.text, _dtype(checkpoint, subject))
        ready = replace(checkpoint, learned=learned, computed=subject.dtype)
        weights, fingerprint = sum(each.nbytes for each in subject.model.parameters()), subject.fingerprint
    if weights > free_memory("cuda" if said.device == "cuda" else "cpu"):
        leases.release(fingerprint)  # the fresh process needs as much again
    return ready, said, fingerprint


def _dtype(checkpoint: Checkpoint, subject: Subject) -> torch.dtype:
    """What the weights are stored in."""
    if checkpoint.source.gguf:
        return subject.dtype
    return stored_dtype(stored(checkpoint.source, checkpoint.config, checkpoint.family))
