"""Write the GGUF file that a plan makes of another one.

No weight is quantised again: what is left are the same bytes. Tensors are copied one at a time, so memory is bounded by the
largest of them.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.utility import size_label

from models.loading.weight_files import digest
from plans.drops import Drops
from plans.export.gguf.layout import Layout, Value, layout
from plans.export.gguf.source import opened, value
from plans.operation import Shape
from plans.plan import Plan
from plans.weights import Weights
from refusal import Progress, Refusal, silent

Check = Callable[[Path], None]


def refusal(plan: Plan) -> str:
    """Why no GGUF file can express a plan, in a sentence; empty: it depends on the file."""
    if not plan:
        return "The plan is empty, so there is nothing to export."
    if plan.of(Weights):
        return (
            f"'{plan.of(Weights)}' changes single weights, and a GGUF file holds them quantised in blocks, which would have "
            "to be quantised again; this export never does that. Export with `removed` or `zeroed`, and convert that folder "
            "with llama.cpp's convert_hf_to_gguf.py."
        )
    others = [str(op) for op in plan.operations if not isinstance(op, Drops)]
    return f"'{others[0]}' changes how attention is computed, and llama.cpp has no such attention." if others else ""


def write(source: Path, plan: Plan, target: Path, progress: Progress = silent, check: Check | None = None) -> None:
    """Rewrite a GGUF file as a plan makes it; the target is there when all went well, and else as it was before.

    Parameters
    ----------
    check : callable, optional
        Is given the written file before it takes its name; what it raises cancels the export.

    Raises
    ------
    Refusal
        A GGUF file cannot express the plan, the source cannot be read, or the disk has no room.
    """
    if why := refusal(plan):
        raise Refusal(why)
    reader = opened(source)
    made = layout(reader, plan)
    free = shutil.disk_usage(target.parent).free
    if made.size > free:
        raise Refusal(f"The file will have {made.size / 1e9:.3g} GB, and {target.parent} has {free / 1e9:.3g} GB free.")
    keys = provenance(reader, source, plan, made, progress)
    partial = target.with_name(f"{target.name}.{uuid4().hex}")
    try:
        _filled(partial, made, keys, progress)
        if check is not None:
            check(partial)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def provenance(reader: GGUFReader, source: Path, plan: Plan, made: Layout, progress: Progress = silent) -> dict[str, Value]:
    """What the file says of where it comes from, in keys of its own and in its name."""
    before = value(reader, "prunescope.plan")
    own = {
        "prunescope.plan": str(plan),
        "prunescope.sentence": plan.sentence(Shape(max(made.kept) + 1)),
        "prunescope.source": value(reader, "general.name") or source.name,
        "prunescope.source.sha256": digest(source, progress),
        **({"prunescope.source.plan": before} if before else {}),
    }
    keys = {key: Value(text, GGUFValueType.STRING) for key, text in own.items()}
    keys["prunescope.blocks"] = Value(list(made.kept), GGUFValueType.ARRAY, GGUFValueType.UINT32)
    keys["general.name"] = Value(f"{own['prunescope.source']} without {plan}", GGUFValueType.STRING)
    return keys


def _filled(path: Path, made: Layout, keys: dict[str, Value], progress: Progress) -> None:
    writer = GGUFWriter(path, made.arch)
    try:
        for key, each in (made.keys | keys).items():
            writer.add_key_value(key, each.content, each.kind, each.item)
        if "general.alignment" in made.keys:
            writer.data_alignment = made.keys["general.alignment"].content
        for tensor in made.tensors:
            writer.add_tensor_info(tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, tensor.kind)
        if "general.size_label" in made.keys:  # it names the number of parameters, which is another one now
            _relabel(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done = 0
        for tensor in made.tensors:
            progress(done, made.size, f"writing {tensor.name}")
            writer.write_tensor_data(tensor.data)
            done += tensor.data.nbytes
    finally:
        writer.close()


def _relabel(writer: GGUFWriter) -> None:
    total, shared, expert, experts = writer.get_total_parameter_count()
    writer.kv_data[0]["general.size_label"].value = size_label(total, shared, expert, experts)
