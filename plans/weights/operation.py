"""The operation ``w:``: a share of the weights of linear maps becomes zero, chosen by magnitude, Wanda or SparseGPT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.linears import linears
from models.view import View
from plans.operation import Field, Keep, Kind, Pieces, Shape
from plans.weights.packed import put
from plans.weights.prune import prune
from plans.weights.sparsity import METHODS, MODULES, Sparsity
from refusal import Progress, Refusal

_ITEM = re.compile(rf"w:({'|'.join(METHODS)})@([\d.]+|\d+:\d+)(?:/({'|'.join(MODULES)}))?")
_AMOUNTS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "2:4", "4:8", "1:4")


@dataclass(frozen=True)
class Weights:
    """Pruned weights."""

    sparsity: Sparsity
    name: ClassVar[str] = "weights"

    def __str__(self) -> str:
        return str(self.sparsity)

    def __or__(self, other: "Weights") -> "Weights":
        return other

    def __sub__(self, other: "Weights") -> "Weights | None":
        return None if self == other else self

    def checked(self, shape: Shape) -> None:
        """Every model has weights; what cannot be pruned is known when they are looked at."""

    def sentence(self, shape: Shape | None) -> str:
        """What is pruned, in words."""
        return self.sparsity.sentence

    def basis(self) -> "Weights":
        """All of it decides which weights go."""
        return self

    def calibrates(self) -> bool:
        """Magnitude looks at the weights alone."""
        return self.sparsity.method != "magnitude"

    def learn(self, view: View, tokens: Tensor, known: Pieces, keep: Keep, progress: Progress) -> None:
        """Prune block by block; what is kept of a block is which weights stay, and their values where they changed."""
        prune(view, tokens, self.sparsity, known, keep, progress)

    def apply(self, view: View, learned: Pieces) -> View:
        """Give the linear maps of each block their pruned weights."""
        if not len(learned):  # it would be the dense model under a pruned name
            raise Refusal(f"The plan {self} prunes weights, but nothing was learned for it: calibrate it again.")
        for place, layer in enumerate(view.blocks):
            if str(layer) in learned:
                put(linears(view.layers[place], view.family, self.sparsity.modules), learned[str(layer)], layer)
        return view

    def touches(self, layer: int, part: str) -> bool:
        """Whether its weights are pruned."""
        return self.sparsity.modules in ("all", part)

    def reads(self) -> float:
        """All of them."""
        return 1.0

    def zeros(self, view: View) -> int:
        """Counted by the rule, which is exact, so that nothing has to be learned for it."""
        maps = [linear.matrices.shape for block in view.layers for linear in linears(block, view.family, self.sparsity.modules)]
        return sum(count * self.sparsity.zeros(rows, width) for count, rows, width in maps)


def _parse(item: str) -> Weights | None:
    match = _ITEM.fullmatch(item)
    if match is None:
        return None
    method, amount, modules = match.groups()
    if ":" in amount:
        pruned, group = map(int, amount.split(":"))
        return Weights(Sparsity(method, pruned / max(group, 1), group, modules or "all"))
    try:
        return Weights(Sparsity(method, float(amount), modules=modules or "all"))
    except ValueError as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"'{amount}' is not a number. Write a share such as 0.25.") from None


def _written(values: Mapping[str, str]) -> str:
    return "" if values["method"] == "none" else f"w:{values['method']}@{values['amount']}/{values['modules']}"


def _read(weights: Weights) -> dict[str, str]:
    return {"method": weights.sparsity.method, "amount": weights.sparsity.amount, "modules": weights.sparsity.modules}


KIND = Kind(
    "weights",
    "Prune weights",
    (("w:wanda@0.5", "half of the weights to zero (magnitude, wanda, sparsegpt; 2:4; /attention, /mlp)"),),
    _parse,
    fields=(
        Field(
            "method", "Prune weights by", ("none", *METHODS), "none",
            "Sets weights inside the layers to zero. Wanda and SparseGPT look at the windows of the text that follow the "
            "measured ones. Zeros save time and memory only where the runtime has sparse kernels; PruneScope has none.",
            METHODS | {"magnitude": "Magnitude", "none": "None"},
        ),
        Field(
            "amount", "Share or N:M", _AMOUNTS, "0.5", "0.5 is half of the weights; 2:4 is two of every four inputs.", {},
            free=True, width=130,
        ),
        Field(
            "modules", "In", tuple(MODULES), "all", "Which linear maps are pruned.",
            {"all": "all layers' maps", "attention": "attention", "mlp": "MLP"},
        ),
    ),
    written=_written,
    read=_read,
)  # fmt: skip
