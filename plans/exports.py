"""A plan in the words of other tools, with layer ranges that cannot be misread."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from models.loading import bundled
from models.subject import ModelRef
from plans.drops import Drops, dropped
from plans.operation import Shape
from plans.plan import Plan
from texts.corpus import CorpusRef


@dataclass(frozen=True)
class Given:
    """What is written down: a plan of a model with so many layers, and the text that it is measured on and learns from.

    ``dtype`` is what the model computes in, as torch calls it.
    """

    ref: ModelRef
    layers: int
    plan: Plan
    corpus: CorpusRef
    dtype: str = "bfloat16"


Write = Callable[[Given], str | None]


@dataclass(frozen=True)
class Format:
    """One way to write a plan down; ``write`` gives None for a plan that the format has no words for."""

    what: str
    cannot: str
    file: str
    language: str
    write: Write


def _own(given: Given) -> str:
    ref, layers, plan = given.ref, given.layers, given.plan
    return json.dumps(
        {
            "model": ref.name, "revision": ref.revision, "layers": layers, "plan": str(plan),
            "drop_attention": sorted(dropped(plan).no_attention), "drop_mlp": sorted(dropped(plan).no_mlp),
            "operations": {op.name: {"text": str(op), **asdict(op)} for op in plan.without(Drops.name).operations},
            "says": plan.sentence(Shape(layers)),
        },
        indent=1, ensure_ascii=False,
    )  # fmt: skip


def _llm_drop(given: Given) -> str | None:
    """Lists of indices: a list of booleans is misread by one of its config classes."""
    plan = given.plan
    if plan.without(Drops.name):
        return None
    lists = {"drop_attn_list": sorted(dropped(plan).no_attention), "drop_mlp_list": sorted(dropped(plan).no_mlp)}
    return json.dumps(lists, indent=1)


def kept_ranges(layers: int, plan: Plan) -> list[tuple[int, int]]:
    """Half-open ranges of the blocks that stay."""
    ranges: list[tuple[int, int]] = []
    for i in (i for i in range(layers) if i not in dropped(plan).blocks):
        if ranges and ranges[-1][1] == i:
            ranges[-1] = (ranges[-1][0], i + 1)
        else:
            ranges.append((i, i + 1))
    return ranges


def _blocks_alone(layers: int, plan: Plan) -> bool:
    """Whether all a plan does is to remove whole blocks, and not all of them."""
    drops = dropped(plan)
    return not (drops.attention or drops.mlp or plan.without(Drops.name)) and len(drops.blocks) < layers


def _mergekit(given: Given) -> str | None:
    ref, layers, plan = given.ref, given.layers, given.plan
    if not _blocks_alone(layers, plan):
        return None
    lines = [f"# {plan.sentence(Shape(layers))}; mergekit's ranges end before their second number"]
    name, remark = _for_mergekit(ref)
    lines += [f"# {remark}", "slices:"] if remark else ["slices:"]
    for begin, end in kept_ranges(layers, plan):
        lines += ["  - sources:", f"      - model: {json.dumps(name)}", f"        layer_range: [{begin}, {end}]"]
    return "\n".join([*lines, "merge_method: passthrough", f"dtype: {given.dtype}", ""])


def _for_mergekit(ref: ModelRef) -> tuple[str, str]:
    """What mergekit can load in the place of a model, and what a person has to know or do about it."""
    if ref.name == bundled.NAME:
        return bundled.ORIGIN, f"the bundled model is a 4-bit copy of {bundled.ORIGIN}, whose weights differ a little"
    if ref.name.endswith(".gguf"):
        return ref.name, "mergekit reads no GGUF files: write the folder or hub id of the model that this file was made from"
    folder = Path(ref.name).expanduser()
    if folder.is_dir():
        return str(folder.resolve()), "a folder on this machine; write where it is on the one that runs mergekit"
    return (f"{ref.name}@{ref.revision}" if ref.revision else ref.name), ""


def _llama_cpp(given: Given) -> str | None:
    if not _blocks_alone(given.layers, given.plan):
        return None
    return f"llama-quantize --prune-layers {','.join(map(str, sorted(dropped(given.plan).blocks)))} in.gguf out.gguf COPY\n"


def _shell(given: Given) -> str:
    """All that the answer depends on: with other windows a plan that learns becomes another model."""
    ref, text = given.ref, given.corpus
    words = ["python", "-m", "probes", "fidelity", "--model", ref.name]
    words += ["--revision", ref.revision] if ref.revision else []
    words += [word for name in ("dtype", "device") if (value := getattr(ref, name)) != "auto" for word in (f"--{name}", value)]
    words += [
        "--corpus",
        text.name,
        "--windows",
        str(text.windows),
        "--length",
        str(text.length),
        *(["--bos"] if text.bos else []),
    ]
    return shlex.join([*words, "--plan", str(given.plan), "--json", "plan.json"]) + "\n"


_BLOCKS_ONLY = "It can only remove whole blocks, and not all of them; this plan does more than that."
_DROPS_ONLY = "It can only drop sublayers; this plan does more than that."
FORMATS: dict[str, Format] = {
    "PruneScope": Format("The plan with every index spelled out, from 0.", "", "plan.json", "json", _own),
    "Shell": Format("Measure the same plan without the app.", "", "measure.sh", "bash", _shell),
    "mergekit": Format("A passthrough merge that keeps the other blocks.", _BLOCKS_ONLY, "mergekit.yaml", "yaml", _mergekit),
    "LLM-Drop": Format("Entries for its config.json.", _DROPS_ONLY, "llm_drop.json", "json", _llm_drop),
    "llama.cpp": Format("Removes the blocks from a GGUF file.", _BLOCKS_ONLY, "prune.sh", "bash", _llama_cpp),
}
