"""Measure everything and say which targets are kept; the exit code is 0 either way, because machines differ."""

import argparse

import torch
import transformers

from benchmarks import answers, drop_scan, fidelity, key_rank, live, loading, low_rank, similarity, sparsity, transitions, views
from models.loading.load import load
from models.subject import ModelRef
from texts.corpus import CorpusRef, read_corpus


def main() -> None:
    """Print one line per number."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats: a look, not a measurement")
    quick = parser.parse_args().quick
    rounds, windows = (2, 1) if quick else (5, 8)
    subject = load(ModelRef(dtype="float32", device="cpu"))
    corpus = read_corpus(CorpusRef("python-docs", windows=1), subject.tokenizer, subject.context)
    print(
        f"bundled model, {subject.layers} layers, float32 · {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()} · torch {torch.__version__}, transformers {transformers.__version__} · "
        f"medians of {rounds} rounds, [quartiles of single turns]\n"
    )
    for lines in (
        lambda: views.first_view(subject, 5 * rounds),
        lambda: views.counted(subject, 5 * rounds),
        lambda: answers.known_answer(subject, 5 * rounds),
        lambda: views.half_the_attention(subject, 512, 8 if quick else 32, rounds),
        lambda: loading.half_precision(subject, torch.from_numpy(corpus.tokens), rounds),
        lambda: loading.bundled_model(1 if quick else 3),
        lambda: similarity.memory(1 if quick else 3),
        lambda: similarity.speed(subject, windows, rounds),
        lambda: fidelity.second_plan(subject, min(windows, 4), rounds),
        lambda: live.first_token(subject, torch.from_numpy(corpus.tokens)[0], rounds),
        lambda: key_rank.speed(subject, windows, rounds),
        lambda: key_rank.eigen(subject, rounds),
        lambda: low_rank.forward(subject, 512, rounds),
        lambda: transitions.speed(subject, min(windows, 4), rounds),
        lambda: drop_scan.shared_beginning(subject, 1, min(rounds, 3)),
        lambda: sparsity.pruning(subject, min(windows, 4), min(rounds, 3)),
    ):
        print(*lines(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
