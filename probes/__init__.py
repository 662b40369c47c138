"""Questions about a model: numbers in, a frozen result out."""

from probes.base import Probe
from probes.choice import choice_subspace
from probes.deviation import fidelity, generation_drift, transitions
from probes.keys import key_rank, low_rank_attention
from probes.redundancy import similarity

PROBES: tuple[Probe, ...] = (
    similarity.PROBE,
    key_rank.PROBE,
    low_rank_attention.PROBE,
    transitions.PROBE,
    generation_drift.PROBE,
    choice_subspace.PROBE,
    fidelity.PROBE,
)
