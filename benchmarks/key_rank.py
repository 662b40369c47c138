"""The key rank probe: its time against a bare forward pass, and what the eigenvalues cost after it."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from benchmarks.timing import Line, in_turns, ratio, spoken
from models.corpus import Corpus, CorpusRef, cut
from models.covariance import components, eigenvalues
from models.load import Subject
from models.plan import Plan
from probes.key_rank import PROBE, KeyRankParams


def speed(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """One pass with all moments and eigenvalues, and a bare forward pass over the same windows."""
    corpus = cut(CorpusRef(windows=windows), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)

    @torch.inference_mode()
    def bare() -> None:
        """As much of the model as the probe runs: the head sees the last position alone."""
        for window in tokens:
            subject.model(input_ids=window[None], use_cache=False, logits_to_keep=1)

    @torch.inference_mode()
    def bare_with_logits() -> None:
        for window in tokens:
            subject.model(input_ids=window[None], use_cache=False)

    _same_numbers(subject, corpus)
    times = in_turns(
        rounds,
        {
            "bare forward, last logits": bare,
            "bare forward, all logits": bare_with_logits,
            "key_rank": lambda: PROBE.run(subject, corpus, Plan(), KeyRankParams()),
        },
    )
    return [
        ratio(times, "key_rank", "bare forward, all logits", most=1.25),  # the model as it is called
        ratio(times, "key_rank", "bare forward, last logits"),  # stricter: the head's work left out, as the probe does
    ]


def eigen(subject: Subject, rounds: int) -> list[Line]:
    """Eigenvalues and eigenvectors of one covariance per key-value head: the bundled model's, and those of a large one."""
    config = subject.config
    heads = config.num_hidden_layers * config.num_key_value_heads
    small, large = _covariances(heads, config.hidden_size // config.num_attention_heads), _covariances(80 * 8, 128)
    times = in_turns(
        rounds,
        {
            "small values": lambda: eigenvalues(small),
            "small vectors": lambda: components(small),
            "large values": lambda: eigenvalues(large),
            "large vectors": lambda: components(large),
        },
    )
    return [
        Line(
            f"eigenvalues of all {heads} heads of {small.shape[-1]} dimensions",
            sorted(times["small values"])[rounds // 2],
            "s",
            most=2.0,
            note=f"with vectors {spoken(times['small vectors'])}",
        ),
        Line(
            "eigenvalues of 80 layers × 8 heads of 128 dimensions",
            sorted(times["large values"])[rounds // 2],
            "s",
            note=f"with vectors {spoken(times['large vectors'])}",
        ),
    ]


def _covariances(heads: int, width: int) -> torch.Tensor:
    keys = torch.randn(heads, 2 * width, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return keys.mT @ keys


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
