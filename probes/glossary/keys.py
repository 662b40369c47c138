"""Dimensions that keys use, and attention in some of them."""

from probes.glossary.entry import Entry

_LOKI = "arXiv 2406.02542 (Loki)"

ENTRIES = (
    Entry(
        "Effective rank",
        ("effective rank*",),
        "A number of dimensions without a threshold.",
        "`exp(−Σ pᵢ ln pᵢ)`, pᵢ the share of the variance in principal direction i",
        "between 1 and the head dimension; low: few directions carry the keys",
        "the number of directions that explain 90 %: that is the rank.",
    ),
    Entry(
        "Participation ratio",
        ("participation ratio*",),
        "A number of dimensions that large directions dominate.",
        "`(Σ λᵢ)² / Σ λᵢ²`, λᵢ the eigenvalues of the keys' covariance",
        "between 1 and the head dimension; it is never above the effective rank",
        "that the rest can be left out: small directions may still decide which key is attended to.",
    ),
    Entry(
        "Rank of keys",
        ("rank", "rank *", "before rotation", "values", "without first token*", "without position 0*", "exclud*"),
        "How many principal directions the keys (or values) of a head need.",
        "the smallest number of leading eigenvalues of the covariance that sum to 90 % (or 80, 95, 99 %) of its trace",
        "far below the head dimension, keys can be chosen in fewer dimensions. Rotation by position raises it",
        "that attention is unharmed in so many dimensions: measure it on the grid below. With fewer keys than dimensions it "
        "describes the text alone.",
        _LOKI,
    ),
    Entry(
        "Read from the cache",
        ("read from the cache",),
        "Bytes of keys and values read to decode one token.",
        "for each head d_f of every key, then keys and values of the k_f chosen ones; summed over layers",
        "less is better where decoding waits for memory, as it does with long contexts",
        "time: nothing is timed here, and a fast kernel is needed to get it.",
        _LOKI,
    ),
    Entry(
        "Keys and recall",
        ("recall*", "captured*"),
        "Whether low-rank scores find the keys that exact ones would choose.",
        "the share of the best k keys that are among the chosen, and the attention that the chosen ones hold",
        "1 finds all; captured attention near that of the best keys is what counts",
        "the damage to predictions: see KL and perplexity of the cell.",
        _LOKI,
    ),
)
