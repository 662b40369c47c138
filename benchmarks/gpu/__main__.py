"""Measure both shapes and print a Markdown table, as it stands in docs/performance.md."""

import argparse
import gc
from statistics import median

import torch
import transformers

from benchmarks.gpu import works
from benchmarks.gpu.clock import finish, peak, side_by_side
from benchmarks.gpu.shapes import DEVICE, SHAPES, corpus, llama, weight_bytes
from benchmarks.timing import Times
from models.subject import Subject
from plans.cut import cut
from plans.plan import parse

_PLAN = parse("a1")
_NEEDS = {"8B": 20e9, "1B": 5e9}  # bytes: weights and what works on them


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--windows", type=int, default=8, help="windows of 512 tokens")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each work; medians are reported")
    asked = parser.parse_args()
    columns = {shape: _column(shape, asked.windows, asked.rounds) for shape in SHAPES}
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU, a toy of each shape: these are no results"
    print(
        f"{name} · torch {torch.__version__}, transformers {transformers.__version__} · Llama shapes, random weights, "
        f"bfloat16 · {asked.windows} windows of 512 tokens, medians of {asked.rounds} rounds\n"
    )
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    for row in next(each for each in columns.values() if each):
        print(f"| {row} |", " | ".join(column.get(row, "no room") for column in columns.values()), "|")


def _column(shape: str, windows: int, rounds: int) -> dict[str, str]:
    """The numbers of one shape by row; empty where the device is too small for it."""
    if DEVICE.type == "cuda" and torch.cuda.mem_get_info()[0] < _NEEDS[shape]:
        return {}
    subject = llama(shape)
    column = _ratios(subject, windows, rounds) | _views(subject, rounds) | _decoding(subject, rounds) | _peaks(subject, windows)
    del subject
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
    return column


def _ratios(subject: Subject, windows: int, rounds: int) -> dict[str, str]:
    text = corpus(subject, windows)
    tokens, dense, view = works.on_device(subject, text), cut(subject), cut(subject, _PLAN)
    times = side_by_side(
        rounds,
        {
            "together": works.forward(dense, tokens, together=True),
            "together, last logits": works.forward(dense, tokens, last=True, together=True),
            "alone": works.forward(dense, tokens),
            "of the view": works.forward(view, tokens),
            "similarity": works.similarity(subject, text),
            "fidelity": works.second_fidelity(subject, text, _PLAN),
            "key_rank": works.key_rank(subject, text),
            "transitions": works.transitions(subject, text, _PLAN),
        },
    )
    return {
        "forward, one window": f"{median(times['alone']) / windows * 1e3:.1f} ms",
        "forward in batches, per window": f"{median(times['together']) / windows * 1e3:.1f} ms",
        "similarity ÷ forward in the same batches": _ratio(times, "similarity", "together"),
        "the same without the head's work": _ratio(times, "similarity", "together, last logits"),
        "fidelity of the second plan ÷ forward of its view": _ratio(times, "fidelity", "of the view"),
        "key_rank ÷ forward": _ratio(times, "key_rank", "alone"),
        "transitions, last tokens ÷ forward": _ratio(times, "transitions", "alone"),
    }


def _views(subject: Subject, rounds: int) -> dict[str, str]:
    times = side_by_side(4 * rounds, {"view": works.made(subject, works.half_the_attentions(subject))})
    return {"plan to view": f"{median(times['view']) * 1e3:.0f} ms"}


def _decoding(subject: Subject, rounds: int, steps: int = 64) -> dict[str, str]:
    """Tokens a second after a prompt of 512, dense and with half of the attentions dropped, in turns."""
    prompt = works.on_device(subject, corpus(subject, 1))
    views = {"dense": cut(subject), "half of the attentions dropped": cut(subject, works.half_the_attentions(subject))}
    both = side_by_side(rounds, {name: lambda view=view: works.written(view, prompt, steps) for name, view in views.items()})
    prefill = side_by_side(rounds, {name: lambda view=view: works.written(view, prompt, 1) for name, view in views.items()})
    speeds = {name: (steps - 1) / (median(both[name]) - median(prefill[name])) for name in views}
    rows = {f"tokens/s, {name}": f"{speed:.1f}" for name, speed in speeds.items()}
    return rows | {"the same as a ratio": f"{speeds['half of the attentions dropped'] / speeds['dense']:.2f}"}


def _peaks(subject: Subject, windows: int) -> dict[str, str]:
    text = corpus(subject, windows)
    weights = weight_bytes(subject)
    tokens = works.on_device(subject, text)
    asked = {
        "forward": works.forward(cut(subject), tokens),
        "similarity": works.similarity(subject, text),
        "fidelity": works.second_fidelity(subject, text, _PLAN),
        "key_rank": works.key_rank(subject, text),
        "transitions": works.transitions(subject, text, _PLAN),
    }
    rows = {"weights": f"{weights / 1e9:.2f} GB"}
    for name, work in asked.items():
        finish()
        rows[f"peak memory beside the weights, {name}"] = f"{max(0, peak(work) - weights) / 1e9:.2f} GB"
    return rows


def _ratio(times: Times, one: str, other: str) -> str:
    return f"{median(times[one]) / median(times[other]):.2f}"


if __name__ == "__main__":
    main()
