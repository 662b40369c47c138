"""A comparison that stays: which prompts, which models and plans, how answers are written. Its link finds it again.

It lies beside the answers and not among them, for the same reason as notes on plans: nobody could compute it again.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from cache.codec import CodecError, decode, encode
from cache.keys import key as key_of
from cache.store import Store
from models.subject import ModelRef
from plans.plan import parse
from probes.base import from_dict
from probes.generation.answers import AnswersParams
from probes.question import Question
from refusal import Refusal
from settings import data_directory
from texts.corpus import CorpusRef

MOST = 4  # plans beside the dense model
_AT = " @ "  # between a plan and the model it is of
_TITLE = 80  # characters


@dataclass(frozen=True)
class Column:
    """One model with one plan; the plan's text is empty for the dense model."""

    model: ModelRef
    plan: str = ""

    @property
    def name(self) -> str:
        """What it is called within one comparison."""
        return f"{self.plan or 'dense'}{_AT}{self.model.name}"


@dataclass(frozen=True)
class Comparison:
    """What is compared; the first column is the dense model that the others are compared with.

    Attributes
    ----------
    columns : tuple of Column
    corpus : CorpusRef
        The text that plans learn from, where they learn.
    title, by : str
        What it is called, and who made it; neither changes what it is.
    """

    columns: tuple[Column, ...]
    params: AnswersParams
    corpus: CorpusRef
    title: str = ""
    by: str = ""
    created: float = 0.0

    def __post_init__(self) -> None:
        if len(self.columns) < 2:
            raise Refusal("There is nothing to compare the dense model with. Write a plan such as a25, or another model.")
        if len(self.columns) > MOST + 1:
            raise Refusal(f"{len(self.columns) - 1} plans are too many to read side by side. Write at most {MOST}.")
        if len(set(self.columns)) < len(self.columns):
            raise Refusal("Two of the columns are the same. Write each plan once.")
        if len(self.title) > _TITLE:
            raise Refusal(f"The title has {len(self.title):,} characters. Write at most {_TITLE}.")

    @cached_property
    def id(self) -> str:
        """Of its content: the same comparison has the same link, whoever makes it."""
        return key_of({"comparison": json.dumps(asdict(replace(self, title="", by="", created=0.0)), sort_keys=True)})[:20]

    @property
    def names(self) -> list[str]:
        """Of the columns, without the model where all are of one."""
        one = len({column.model.name for column in self.columns}) == 1
        return [column.plan or "dense" if one else column.name for column in self.columns]

    @property
    def questions(self) -> list[Question]:
        """One for each column."""
        return [Question("answers", each.model, self.corpus, each.plan, asdict(self.params)) for each in self.columns]


def columns_of(text: str, model: ModelRef) -> tuple[Column, ...]:
    """The dense model, and a column for each line: a plan, ``plan @ model``, or ``@ model`` for another dense model.

    Parameters
    ----------
    model : ModelRef
        The one in the sidebar. Another one is taken at the same precision and on the same device.

    Raises
    ------
    Refusal
        A plan cannot be read.
    """
    found = [Column(model)]
    for line in filter(None, map(str.strip, text.splitlines())):
        plan, at, name = line.rpartition("@") if "@" in line else (line, "", "")
        # A plan may hold an @ of its own, as in w:wanda@0.5: a model's stands alone.
        if at and not (plan == "" or plan.endswith(" ")):
            plan, name = line, ""
        given = model if not name.strip() else replace(model, name=name.strip(), revision=None)
        found.append(Column(given, str(parse("" if plan.strip() == "dense" else plan.strip()))))
    return tuple(found)


def open_comparisons() -> Store:
    """Where comparisons are kept, in the data directory."""
    return Store(data_directory() / "comparisons")


def keep(store: Store, comparison: Comparison) -> str:
    """Keep a comparison, if it is a new one; returns its `Comparison.id`."""
    if not store.has(comparison.id):
        made = replace(comparison, created=comparison.created or time.time())
        store.put(comparison.id, encode({"comparison": asdict(made)}), {"title": made.title, "by": made.by})
    return comparison.id


def found(store: Store, identifier: str) -> Comparison:
    """The comparison of a link.

    Raises
    ------
    Refusal
        There is none.
    """
    row = store.read(identifier, hit=False) if identifier else None
    if row is None:
        raise Refusal("There is no comparison with this name here. It may have been made on another server, or been forgotten.")
    try:
        return _comparison(decode(row.payload)["comparison"])
    except (CodecError, KeyError, TypeError, Refusal) as error:
        raise Refusal("This comparison was damaged and cannot be read.") from error


def _comparison(given: dict[str, Any]) -> Comparison:
    columns = tuple(from_dict(Column, each) for each in given["columns"])
    for each in columns:
        parse(each.plan)
    return from_dict(Comparison, given | {"columns": columns})
