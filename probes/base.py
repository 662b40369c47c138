"""What a probe is: a question with a name, parameters and a frozen result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from refusal import Refusal


@dataclass(frozen=True)
class NoParams:
    """For probes that take none."""


@dataclass(frozen=True)
class Probe:
    """One kind of question.

    Attributes
    ----------
    name, title : str
        For the shell and for people.
    version : int
        Raised whenever a number changes, so that old answers are not found any more.
    params, result : type
        Frozen dataclasses; every parameter has a default.
    run : callable
        ``run(subject, corpus, plan, params, progress) -> result``.
    takes_plan : bool
        Whether the answer depends on a plan; if not, a plan given is not part of the question. ``run`` is given the
        plan calibrated if it has to be.
    takes_corpus : bool
        Whether the answer depends on the corpus; if not, ``run`` is given None.
    texts : tuple of str
        Parameters that name a text, so that the answer belongs to its content and not to its name.
    contents : dict of str to callable
        Parameters that name something else, with what gives the digest of its content; empty: nothing.
    builtin : dict of str to str
        Parameters that stand for something built in where they are empty or missing, with its digest.
    applies_plan : bool
        ``run`` needs the plan with what it learned; if not, the plan is looked at alone.
    dense_side : callable or None
        ``dense_side(subject, tokens, kept)`` makes what ``run`` takes as ``dense``: the dense model's side of the comparison,
        whose pieces are kept for the next plan. ``tokens`` is None where the probe takes no corpus.
    by_machine : callable or None
        ``by_machine(params)``: whether the answer holds times or memory, so that it belongs to the machine and the device where
        it was measured.
    libraries : tuple of str
        Optional packages that answers depend on, beside those of every probe.
    remembers : int
        Version of what ``run`` keeps about this model and text beside its answer, whatever the parameters: it is handed a
        mapping as ``memory``. 0: nothing.
    keeps_sums : bool
        ``run`` keeps what it has summed up so far, in what it is handed as ``interim``, and goes on from there.
    writes : tuple of str
        Parameters that are numbers of tokens to write after a text, which the operator may limit.
    holds : callable
        ``holds(params)``: tokens that are in the model at once beside those of a window of the text.
    """

    name: str
    title: str
    version: int
    params: type
    result: type
    run: Callable[..., Any]
    takes_plan: bool
    takes_corpus: bool = True
    texts: tuple[str, ...] = ()
    contents: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    builtin: Mapping[str, str] = field(default_factory=dict)
    applies_plan: bool = True
    dense_side: Callable[..., Any] | None = None
    by_machine: Callable[[Any], bool] | None = None
    libraries: tuple[str, ...] = ()
    remembers: int = 0
    keeps_sums: bool = False
    writes: tuple[str, ...] = ()
    holds: Callable[[Any], int] = lambda params: 0

    @property
    def keeps_dense(self) -> bool:
        """Whether the dense side is kept for the next plan."""
        return self.dense_side is not None


def read_params(probe: Probe, given: dict[str, Any]) -> Any:
    """The probe's parameters with the given ones put in, texts converted to the field's type.

    Raises
    ------
    Refusal
        A name is not a parameter of this probe, or a value does not fit its type.
    """
    hints = get_type_hints(probe.params)
    known = {field.name for field in fields(probe.params)}
    for name in given:
        if name not in known:
            options = ", ".join(sorted(known)) or "none"
            raise Refusal(f"The probe '{probe.name}' has no parameter '{name}'. It has: {options}.")
    try:
        return probe.params(**{name: _fit(value, hints[name]) for name, value in given.items()})
    except Refusal:  # it says already what does not fit
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Refusal(f"A parameter of '{probe.name}' does not fit: {error}.") from error


def _fit(value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"'{value}' is neither true nor false")
        return value.lower() == "true"
    return kind(value)


def as_dict(result: Any) -> dict[str, Any]:
    """A result's fields by name, nested results as dictionaries, arrays as they are."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: as_dict(value) if is_dataclass(value) else value for name, value in values.items()}


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `as_dict`.

    Raises
    ------
    TypeError
        The values are not the fields of such a result, or not of their types.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is made of fields, not of {type(values).__name__}")
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints or not (is_dataclass(hints[name]) or _is(value, hints[name])):
            raise TypeError(f"{name} of {kind.__name__} does not fit")
    return kind(
        **{name: from_dict(hints[name], value) if is_dataclass(hints[name]) else value for name, value in values.items()}
    )


def _is(value: Any, hint: Any) -> bool:
    """Whether a value that was read back is of a type, and the elements of a list are of theirs."""
    kind, inside = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_is(value, each) for each in inside)
    if kind is Any:
        return True
    if kind in (int, float):  # a float that is whole may have been written without its point
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if kind in (list, tuple):  # tuples come back as lists
        each = inside[0] if inside else Any
        same = kind is list or inside[1:] == (...,)
        return isinstance(value, list | tuple) and (not same or all(_is(element, each) for element in value))
    return isinstance(value, kind)
