"""What a format is: one way to write a pruned model down so that something else runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from models.families import Config, Family
from models.loading.sources import Source
from plans.drops import Drops
from plans.operation import Pieces
from plans.plan import Plan
from plans.weights import Weights
from refusal import Progress


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model on the disk, and the plan that it is to be written with; nothing of it is in memory.

    Attributes
    ----------
    config : PreTrainedConfig
        Of the dense model.
    learned : mapping of str to Pieces
        What operations of the plan learned, by their name; empty until it is time to write.
    computed : torch.dtype
        What it was learned in.
    gaps : Drops
        What the checkpoint lacked already; the plan has it, too.
    """

    source: Source
    config: Config
    family: Family
    plan: Plan
    learned: Mapping[str, Pieces] = field(default_factory=dict)
    computed: torch.dtype = torch.float32
    gaps: Drops = field(default_factory=Drops)

    @property
    def layers(self) -> int:
        """Number of blocks of the dense model."""
        return int(self.config.num_hidden_layers)


@dataclass(frozen=True)
class Runtime:
    """Something that runs models, and whether it runs this format: how, or why not."""

    name: str
    runs: bool
    how: str


# reads(folder, token ids (windows, tokens), dtype, device, progress) -> log-probabilities (windows, tokens, vocab), float32
Reads = Callable[[Path, Tensor, torch.dtype, str, Progress], Tensor]


def largest(found: Tensor, live: Tensor) -> float:
    """The largest difference of a log-probability, in nats."""
    return float((found.double() - live.double()).abs().max())


@dataclass(frozen=True)
class Format:
    """A row of `plans.export.registry.FORMATS`.

    Attributes
    ----------
    name, sentence : str
        For the shell, and what it writes.
    expresses : str
        Which plans it has words for.
    runtimes : tuple of Runtime
        Where it runs, and why not elsewhere.
    cannot : callable
        Why it has no words for a checkpoint's plan, in a sentence; empty: it has.
    size : callable
        Bytes that it will write; a Refusal if the files of the checkpoint cannot be taken as they are.
    write : callable
        ``write(checkpoint, folder, progress)`` fills an empty folder.
    reads : callable
        Reads such a folder in a fresh process.
    tolerance : mapping of torch.dtype to float
        Nats that it may differ by, by what it is computed in.
    companions : bool
        Tokenizer and generation config are written beside it.
    differs : callable
        How far what was read back and the live view are apart, in nats.
    differs_by : str
        What that is, in words before a number.
    or_else : str
        What else a difference can mean, to end a sentence.
    library : str
        What loads it, as model cards name it.
    """

    name: str
    sentence: str
    expresses: str
    runtimes: tuple[Runtime, ...]
    cannot: Callable[[Checkpoint], str]
    size: Callable[[Checkpoint], int]
    write: Callable[[Checkpoint, Path, Progress], None]
    reads: Reads
    tolerance: Mapping[torch.dtype, float]
    companions: bool = True
    differs: Callable[[Tensor, Tensor], float] = largest
    differs_by: str = "log-probabilities differ by up to"
    or_else: str = ""
    library: str = "transformers"


def unwritable(plan: Plan) -> str:
    """Why no format can express a plan: it does something that is neither in weights nor in a config; empty: it does not."""
    if not plan:
        return "The plan is empty, so there is nothing to export."
    others = [op for op in plan.operations if not isinstance(op, Drops | Weights)]
    if not others:
        return ""
    rest = Plan(tuple(op for op in plan.operations if op not in others))
    instead = f" Without it the plan is {rest}." if rest else ""
    return f"'{others[0]}' changes how the model computes rather than its weights, and no checkpoint can express that.{instead}"
