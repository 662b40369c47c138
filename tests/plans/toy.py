"""An operation that no other file knows of: ``s:0.5/mlp`` scales the weights that MLPs, or attentions, end with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.linears import linears
from models.stream import watch
from models.view import View
from plans.operation import Field, Keep, Kind, Pieces, Shape
from refusal import Progress, Refusal

_ITEM = re.compile(r"s:([\d.]+)/(attention|mlp)")


@dataclass(frozen=True)
class Scale:
    """Smaller addends; scaled by 1 they are what they are."""

    share: float
    part: str
    name: ClassVar[str] = "toy"

    def __str__(self) -> str:
        return f"s:{self.share:g}/{self.part}"

    def __bool__(self) -> bool:
        return self.share != 1

    def __or__(self, other: "Scale") -> "Scale":
        return other

    def __sub__(self, other: "Scale") -> "Scale | None":
        return None if self == other else self

    def checked(self, shape: Shape) -> None:
        """Refuse models that are too deep for a toy."""
        if shape.layers > 9:
            raise Refusal(f"A toy is not for {shape.layers} layers.")

    def sentence(self, shape: Shape | None) -> str:
        """What is scaled, in words."""
        return f"scales what {self.part} adds by {self.share:g}"

    def basis(self) -> "Scale":
        """The means do not depend on the share."""
        return Scale(0.5, self.part)

    def calibrates(self) -> bool:
        """The means come from the text."""
        return True

    def learn(self, view: View, tokens: Tensor, known: Pieces, keep: Keep, progress: Progress) -> None:
        """The mean of what each layer adds."""
        if all(str(layer) in known for layer in view.blocks):
            return
        sums = dict.fromkeys(view.blocks, 0.0)

        def visit(place: int, before: Tensor, attention: Tensor, mlp: Tensor, after: Tensor) -> None:
            sums[view.blocks[place]] += (attention if self.part == "attention" else mlp).double().mean().item()

        watch(view, visit)
        for i, window in enumerate(tokens):
            progress(i, len(tokens), f"window {i + 1}")
            view.logits(window[None])
        for layer, total in sums.items():
            keep(str(layer), {"mean": total / len(tokens)})

    def apply(self, view: View, learned: Pieces) -> View:
        """Replace the last weight of each sublayer that is left, and of all its experts."""
        for layer, block in zip(view.blocks, view.layers, strict=True):
            found = linears(block, view.family, self.part)
            if found and "mean" in learned[str(layer)]:
                found[-1].put(found[-1].matrices * self.share)
        return view

    def touches(self, layer: int, part: str) -> bool:
        """Whether it is of the part that is scaled."""
        return part == self.part

    def reads(self) -> float:
        """All of them."""
        return 1.0

    def zeros(self, view: View) -> int:
        """None."""
        return 0


def _parse(item: str) -> Scale | None:
    match = _ITEM.fullmatch(item)
    if match and not 0 < float(match[1]) <= 1:
        raise Refusal(f"A scale of {match[1]} is none. Write it as s:0.5/mlp.")
    return Scale(float(match[1]), match[2]) if match else None


def _written(values: Mapping[str, str]) -> str:
    return "" if values["share"] == "1" else f"s:{values['share']}/{values['part']}"


def _read(scale: Scale) -> dict[str, str]:
    return {"share": f"{scale.share:g}", "part": scale.part}


KIND = Kind(
    "toy",
    "Scale addends",
    (("s:0.5/mlp", "what MLPs add, halved"),),
    _parse,
    fields=(
        Field("share", "Scale by", ("1", "0.5", "0.25"), "1", "What is added is multiplied by it.", {}, free=True),
        Field("part", "What", ("attention", "mlp"), "mlp", "Of which sublayers.", {"mlp": "MLP"}),
    ),
    written=_written,
    read=_read,
)
