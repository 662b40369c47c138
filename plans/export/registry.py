"""FORMATS: every way to export a pruned model."""

from plans.export import gguf, llm_drop, noop, removed, zeroed
from plans.export.format import Checkpoint, Format
from refusal import Refusal

FORMATS: dict[str, Format] = {each.FORMAT.name: each.FORMAT for each in (removed, noop, llm_drop, zeroed, gguf)}


def format_named(name: str) -> Format:
    """The format of that name; a Refusal lists the names there are."""
    if name in FORMATS:
        return FORMATS[name]
    raise Refusal(f"There is no format '{name}'. Choose one of: {', '.join(FORMATS)}.")


def fitting(checkpoint: Checkpoint) -> list[str]:
    """Names of the formats that can express a checkpoint's plan."""
    return [name for name, form in FORMATS.items() if not form.cannot(checkpoint)]


def refuse_unfit(form: Format, checkpoint: Checkpoint) -> None:
    """Refuse a plan that a format has no words for, and name those that have."""
    why = form.cannot(checkpoint)
    if not why:
        return
    others = fitting(checkpoint)
    instead = f"Formats that can express it: {', '.join(others)}." if others else "No other format can either."
    raise Refusal(f"The format '{form.name}' cannot express '{checkpoint.plan}'. {why} {instead}")
