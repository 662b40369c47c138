"""What a checkpoint lacks, as the plan that would drop it: it was pruned before it came here."""

from models.loading.gaps import gaps_in
from models.loading.sources import Source, here
from models.subject import ModelRef
from plans.drops import Drops
from plans.plan import Plan


def lacking(source: Source) -> Drops:
    """The sublayers that a checkpoint lacks, by its config; empty: it is whole.

    Raises
    ------
    Refusal
        The config cannot be read.
    """
    gaps = None if source.gguf else gaps_in(source.folder)
    return Drops() if gaps is None else Drops(gaps.attention, gaps.mlp)


def missing(ref: ModelRef) -> Plan:
    """What a model on this machine lacks, as a plan.

    Raises
    ------
    Refusal
        It is not on this machine, or its config cannot be read.
    """
    return Plan((lacking(here(ref.name, ref.revision)),))
