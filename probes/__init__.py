"""Questions about a model: numbers in, a frozen result out."""

from probes import (
    choice_subspace,
    fidelity,
    generation_drift,
    key_rank,
    low_rank_attention,
    similarity,
    transitions,
)
from probes.base import Probe

PROBES: tuple[Probe, ...] = (
    similarity.PROBE,
    key_rank.PROBE,
    low_rank_attention.PROBE,
    transitions.PROBE,
    generation_drift.PROBE,
    choice_subspace.PROBE,
    fidelity.PROBE,
)
