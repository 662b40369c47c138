"""Scores of parts before they are dropped."""

from probes.glossary.entry import Entry

ENTRIES = (
    Entry(
        "Importance",
        ("importance*",),
        "How far a part changes the direction of the residual stream.",
        "1 − the mean over tokens of `cos(x, x + f(x))`: the stream before and after the part",
        "near 0 the part leaves the direction of the stream as it is, and is a candidate to drop",
        "what dropping it costs: parts act together, and a small change can carry what later layers need. Scan the drops.",
        "arXiv 2406.15786 (attention, MLP), 2403.03853 (block)",
    ),
    Entry(
        "Update norm",
        ("update norm*", "added length*"),
        "The norm of what a part adds, relative to the stream.",
        "the mean over tokens of `‖f(x)‖ / ‖x‖`",
        "below 0.1 the part adds little; above 1 it outweighs what came in",
        "importance: what is added along the stream changes its length only.",
        "arXiv 2505.13898",
    ),
    Entry(
        "Cosine of update and stream",
        ("turn*", "cosine(update*"),
        "Whether a part writes something new.",
        "the mean over tokens of `cos(f(x), x)`",
        "below 0 the part erases, near 0 it writes something new, above 0 it strengthens what is there",
        "how much it writes: see the update norm.",
        "arXiv 2505.13898",
    ),
    Entry(
        "Spearman ρ",
        ("spearman*",),
        "Whether a cheap score puts the drops into the order of their real cost.",
        "the correlation of the ranks by score and by measured KL, ties with their mean rank",
        "1 is the same order, 0 no relation, −1 the opposite order",
        "that the score finds the best plan: it ranks single drops, and a plan is several.",
    ),
    Entry(
        "Kendall τ",
        ("kendall*",),
        "The same question, by pairs.",
        "pairs of drops in the same order minus pairs in the opposite one, over all pairs, corrected for ties",
        "1 is the same order, 0 no relation; it is smaller than ρ for the same agreement",
        "that the order of the best few is right: all pairs count alike.",
    ),
    Entry(
        "Drops",
        ("drops",),
        "How many drops were ranked.",
        "attentions, MLPs or blocks of the model that can be dropped one at a time",
        "a correlation over few drops is uncertain",
        "drops in the plan.",
    ),
    Entry(
        "Layer",
        ("layer", "lowest layers", "head"),
        "A place in the model, not an amount.",
        "counted from 0, as in plans and charts",
        "as an address: `a7` is the attention of layer 7",
        "a rank or a score.",
    ),
)
