"""What an export says of itself: a model card for people, a record for programs, and the files that belong to a model."""

import importlib.metadata
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.loading.bundled import NAME as BUNDLED
from models.loading.slices import MERGED
from models.loading.weight_files import TEXTS
from models.subject import ModelRef
from plans.drops import dropped
from plans.export.files.place import RECORD
from plans.export.format import Checkpoint, Format
from plans.operation import Shape
from refusal import plural
from texts.corpus import CorpusRef, text_digest

_LIBRARIES = ("torch", "transformers", "safetensors")
_OTHERS = ("LICENSE*", "NOTICE*")
_NOT_COPIED = ("config.json", RECORD, *MERGED)  # what would describe other blocks


@dataclass(frozen=True)
class Measured:
    """Numbers of the plan that are in the store: what was asked, of which text, and the answer's numbers by name."""

    title: str
    text: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class Provenance:
    """Where an export comes from.

    Attributes
    ----------
    ref : ModelRef
    fingerprint : str
        Of the dense model.
    learned_on : CorpusRef or None
        The windows that operations learned from.
    measured : sequence of Measured
    difference : float
        What the guard found, in nats.
    dtype : str
        What the guard computed in.
    """

    ref: ModelRef
    fingerprint: str
    learned_on: CorpusRef | None
    measured: Sequence[Measured]
    difference: float
    dtype: str


def copy_companions(source: Path, folder: Path) -> None:
    """Tokenizer, chat template, generation config and licence; what is there already stays."""
    for path in sorted({path for pattern in (*TEXTS, *_OTHERS) for path in source.glob(pattern)}):
        wanted = path.is_file() and path.suffix != ".py" and not path.name.endswith(".index.json")
        if wanted and path.name not in _NOT_COPIED and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


def write_card(folder: Path, form: Format, checkpoint: Checkpoint, origin: Provenance) -> None:
    """Write README.md and the record."""
    record = _record(form, checkpoint, origin)
    (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(form, checkpoint, origin, record), encoding="utf-8")


def _record(form: Format, checkpoint: Checkpoint, origin: Provenance) -> dict[str, Any]:
    text = origin.learned_on
    return {
        "format": form.name,
        "plan": str(checkpoint.plan),
        "says": checkpoint.plan.sentence(Shape(checkpoint.layers)),
        "layers": checkpoint.layers,
        "drop_attention": sorted(dropped(checkpoint.plan).no_attention),
        "drop_mlp": sorted(dropped(checkpoint.plan).no_mlp),
        "model": {"name": _name(origin.ref), "revision": origin.ref.revision, "fingerprint": origin.fingerprint},
        "learned_on": None if text is None else asdict(text) | {"name": Path(text.name).name, "digest": text_digest(text.name)},
        "measured": [asdict(each) for each in origin.measured],
        "checked": {"difference_in_nats": origin.difference, "says": form.differs_by, "dtype": origin.dtype},
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _card(form: Format, checkpoint: Checkpoint, origin: Provenance, record: dict[str, Any]) -> str:
    name = record["model"]["name"]
    lines = ["---", f"library_name: {form.library}", "tags: [pruned, prunescope]"]
    lines += [f"base_model: {json.dumps(name)}"] if _on_hub(origin.ref) else []
    lines += ["---", "", f"# {name}, pruned: {_short(record['plan'])}", "", form.sentence, ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in _facts(checkpoint, origin, record))]
    lines += ["", "## Where it runs", "", "| | | |", "|---|---|---|"]
    lines += [f"| {each.name} | {'yes' if each.runs else 'no'} | {each.how} |" for each in form.runtimes]
    lines += ["", "## Check", "", _check(form, origin), ""]
    if origin.measured:
        lines += ["## Measured", "", "| question | text | | |", "|---|---|---|---|"]
        lines += [
            f"| {each.title} | {each.text} | {key} | {value:.6g} |"
            for each in origin.measured
            for key, value in each.numbers.items()
        ]
        lines += [""]
    return "\n".join(lines)


def _facts(checkpoint: Checkpoint, origin: Provenance, record: dict[str, Any]) -> list[tuple[str, str]]:
    text = record["learned_on"]
    learned = text and (
        f"{plural(text['windows'], 'window')} of {plural(text['length'], 'token')} of {text['name']}, after the first "
        f"{text['skip']}; sha256 of the text {text['digest']}"
    )
    facts = [
        ("dense model", record["model"]["name"] + (f", revision {origin.ref.revision}" if origin.ref.revision else "")),
        ("its fingerprint", f"`{origin.fingerprint}`"),
        ("architecture", f"{checkpoint.family.name}, {checkpoint.layers} layers before pruning"),
        ("plan", f"`{record['plan']}`"),
        ("what it does", record["says"]),
        ("learned from", learned or ""),
        ("format", f"`{record['format']}`"),
        ("versions", ", ".join(f"{key} {value}" for key, value in record["versions"].items())),
        ("exported", record["created"]),
    ]
    return [(key, value) for key, value in facts if value]


def _check(form: Format, origin: Provenance) -> str:
    return (
        "Before this folder was given its name, it was read back in a fresh process and compared with the pruned "
        f"model in memory, computed in {origin.dtype}: {form.differs_by} {origin.difference:.3g} nats."
    )


def _on_hub(ref: ModelRef) -> bool:
    return ref.name != BUNDLED and not Path(ref.name).expanduser().exists()


def _name(ref: ModelRef) -> str:
    """How the model is called; of a folder its last name, because paths of one machine mean nothing on another."""
    return ref.name if ref.name == BUNDLED or _on_hub(ref) else Path(ref.name).expanduser().resolve().name


def _short(plan: str) -> str:
    return plan if len(plan) <= 60 else plan[:57] + "…"
