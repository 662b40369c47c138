"""The operation ``k:``: attention to some keys only, chosen in some of their principal directions (Loki, arXiv 2406.02542)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.keys import key_basis
from models.view import View, place_of
from plans.keys.choice import switch_on
from plans.keys.shares import WHOLE, LowRank
from plans.operation import Field, Keep, Kind, Pieces, Shape
from refusal import Progress, Refusal

_ITEM = re.compile(rf"k:([\d.]+)/([\d.]+)(/{WHOLE})?")
_SHARES = ("0.5", "0.25", "0.125", "0.0625")


@dataclass(frozen=True)
class Keys:
    """Low-rank attention; with all keys attended to it changes nothing."""

    shares: LowRank
    name: ClassVar[str] = "keys"

    def __str__(self) -> str:
        return str(self.shares)

    def __bool__(self) -> bool:
        return self.shares.top < 1  # else all keys are attended to, however they were chosen

    def __or__(self, other: "Keys") -> "Keys":
        return other

    def __sub__(self, other: "Keys") -> "Keys | None":
        return None if self == other else self

    def checked(self, shape: Shape) -> None:
        """Refuse a family whose attention cannot be replaced."""
        if shape.attention_stays:
            raise Refusal(shape.attention_stays)

    def sentence(self, shape: Shape | None) -> str:
        """What attention looks at, in words."""
        return self.shares.sentence

    def basis(self) -> "Keys":
        """The directions of the keys do not depend on how many of them are used."""
        return Keys(LowRank(1, 0.5))

    def calibrates(self) -> bool:
        """The directions come from the text."""
        return True

    def learn(self, view: View, tokens: Tensor, known: Pieces, keep: Keep, progress: Progress) -> None:
        """The principal directions of each layer's keys, in one pass for all layers."""
        if all(str(layer) in known for layer in view.attentions):
            return
        for layer, rows in key_basis(view, tokens, progress).items():
            keep(str(layer), {"basis": rows.cpu().numpy()})

    def apply(self, view: View, learned: Pieces) -> View:
        """Switch the rule on, if there is an attention left."""
        if view.attentions:
            there = (layer for layer in view.attentions if str(layer) in learned)
            blocks = dict(zip(view.blocks, view.layers, strict=True))  # a split model has them on several devices
            basis = {layer: torch.from_numpy(learned[str(layer)]["basis"]).to(place_of(blocks[layer])) for layer in there}
            switch_on(view, basis, self.shares.dims, self.shares.top, whole=self.shares.whole)
        return view

    def touches(self, layer: int, part: str) -> bool:
        """Every attention chooses its keys."""
        return part == "attention"

    def reads(self) -> float:
        """Those that are chosen."""
        return self.shares.top

    def zeros(self, view: View) -> int:
        """None: the weights stay what they are."""
        return 0


def _parse(item: str) -> Keys | None:
    match = _ITEM.fullmatch(item)
    return Keys(LowRank(_share(match[1]), _share(match[2]), bool(match[3]))) if match else None


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refusal(f"'{text}' is not a number. Write a share such as 0.25.") from None


def _written(values: Mapping[str, str]) -> str:
    counted = "" if values["count"] == "row" else f"/{values['count']}"
    return "" if values["top"] == "all" else f"k:{values['dims']}/{values['top']}{counted}"


def _read(keys: Keys) -> dict[str, str]:
    count = WHOLE if keys.shares.whole else "row"
    return {"top": f"{keys.shares.top:g}", "dims": f"{keys.shares.dims:g}", "count": count}


_PERCENT = {share: f"{100 * float(share):g} %" for share in ("1", *_SHARES)}
KIND = Kind(
    "keys",
    "Attend to fewer keys",
    (
        ("k:0.25/0.5", "attention to half of the keys, chosen in a quarter of their dimensions"),
        (f"k:0.25/0.5/{WHOLE}", "the same, keys counted as Loki's code does"),
    ),
    _parse,
    fields=(
        Field(
            "top", "Attend to keys", ("all", *_SHARES), "all",
            "Low-rank attention (Loki): the share of the keys that each token attends to.", _PERCENT, width=140,
        ),
        Field(
            "dims", "chosen in dimensions", ("1", *_SHARES), "0.25",
            "The share of each key's principal directions by which the keys are chosen; the text that follows the measured "
            "windows gives the directions.", _PERCENT, width=180,
        ),
        Field(
            "count", "keys counted", ("row", WHOLE), "row",
            "Of the keys that each token sees, which is what decoding does; or, as Loki's code does, of the whole text's keys "
            "for every token, so that the first tokens attend to all they see.",
            {"row": "for each token", WHOLE: "as Loki’s code"}, width=170,
        ),
    ),
    written=_written,
    read=_read,
)  # fmt: skip
