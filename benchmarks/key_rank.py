"""The key rank probe: its time against a bare forward pass, and what the eigenvalues cost after it."""

from statistics import median

import numpy as np
import torch
from sklearn.decomposition import PCA

from benchmarks.passes import bare
from benchmarks.timing import Line, in_turns, ratio
from models.subject import Subject
from plans.plan import Plan
from probes.keys.key_rank import PROBE, KeyRankParams, result_of
from probes.keys.key_sums import KeySums
from texts.corpus import Corpus, CorpusRef, read_corpus


def speed(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """One pass with all moments and eigenvalues, and a bare forward pass over the same windows."""
    corpus = read_corpus(CorpusRef("python-docs", windows=windows), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)

    _same_numbers(subject, corpus)
    times = in_turns(
        rounds,
        {
            "bare forward, last logits": lambda: bare(subject.model, tokens, True),
            "bare forward, all logits": lambda: bare(subject.model, tokens, False),
            "key_rank": lambda: PROBE.run(subject, corpus, Plan(), KeyRankParams()),
        },
    )
    return [
        ratio(times, "key_rank", "bare forward, all logits", most=1.25),  # the model as it is called
        ratio(times, "key_rank", "bare forward, last logits"),  # stricter: the head's work left out, as the probe does
    ]


def eigen(subject: Subject, rounds: int) -> list[Line]:
    """All eigenvalues and eigenvectors that the probe asks for: the bundled model's, and those of one with 80 layers.

    The large model is measured on a tenth of its layers. Its forward pass is not run: by its multiply-adds it takes as many
    times longer than the bundled model's as it has more weights, 70 against 0.13 billion.
    """
    config, tokens = subject.config, torch.zeros(1, 512, dtype=torch.long)
    own = _sums(config.num_hidden_layers, config.num_key_value_heads, config.num_attention_heads, 64)
    large = _sums(8, 8, 64, 128)
    times = in_turns(
        rounds,
        {
            "forward": lambda: subject.model.base_model(input_ids=tokens, use_cache=False),
            "own": lambda: _decomposed(own),
            "large": lambda: _decomposed(large),
        },
    )
    forward, small, tenth = (median(times[name]) for name in ("forward", "own", "large"))
    pass_of_large = 8 * forward * 70e9 / subject.model.num_parameters()
    return [
        Line(
            "eigen-decompositions of key_rank, bundled model", small, "s", most=2.0, note=f"{config.num_hidden_layers} layers"
        ),
        Line(
            "eigen-decompositions ÷ forward pass of 8 × 512 tokens, 80 × 8 × 128",
            10 * tenth / pass_of_large,
            most=0.25,
            note=f"{10 * tenth:.1f} s for 640 key heads and 5120 query heads, against an estimated {pass_of_large:.0f} s",
        ),
    ]


def _sums(layers: int, heads: int, query_heads: int, width: int) -> KeySums:
    dice, sums, count = torch.Generator().manual_seed(0), KeySums(2 * width), 4 * width
    for layer in range(layers):
        states = {name: torch.randn(count, heads, width, generator=dice) for name in ("pre", "post", "value")}
        sums.add(layer, states | {"query": torch.randn(count, query_heads, width, generator=dice)})
    sums.seen = count
    sums.finish()
    return sums


def _decomposed(sums: KeySums) -> None:
    one, two = ({name: halves[i] for name, halves in sums.halves.items()} for i in (0, 1))
    result_of(sums, one, two, 0.9, "", lambda: None)


@torch.inference_mode()
def _same_numbers(subject: Subject, corpus: Corpus) -> None:
    """A fast pass is worth something only if it is right: scikit-learn on the keys of the cache says whether it is."""
    window = Corpus(corpus.ref, corpus.tokens[:1], corpus.digest)
    ours = PROBE.run(subject, window, Plan(), KeyRankParams()).spectra_post
    layers = subject.model(input_ids=torch.from_numpy(window.tokens), use_cache=True).past_key_values.layers
    for layer in (0, len(layers) // 2, len(layers) - 1):
        theirs = [PCA().fit(keys.double().numpy()).explained_variance_ratio_ for keys in layers[layer].keys[0]]
        if (apart := np.abs(ours[layer] - theirs).max()) > 1e-4:
            raise RuntimeError(f"The probe and scikit-learn disagree by {apart:.1e} in layer {layer}; one of them is wrong.")
