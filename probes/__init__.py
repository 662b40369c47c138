"""Questions about a model: numbers in, a frozen result out."""

from probes import fidelity, similarity
from probes.base import Probe

PROBES: tuple[Probe, ...] = (similarity.PROBE, fidelity.PROBE)
