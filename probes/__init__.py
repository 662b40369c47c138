"""Questions about a model: numbers in, a frozen result out. ``PROBES`` registers them."""

from probes.anatomy import ANATOMY, COST
from probes.base import Probe
from probes.choice import choice_subspace
from probes.deviation import fidelity, generation_drift, step_layers, transitions
from probes.generation import answers
from probes.keys import key_rank, low_rank_attention
from probes.redundancy import similarity
from probes.scan import drop_scan
from probes.search import search, stability
from probes.speed import speed
from probes.tasks import evaluate

_MODULES = (
    similarity, key_rank, low_rank_attention, transitions, generation_drift, step_layers, choice_subspace, fidelity, answers,
    drop_scan, search, stability, speed, evaluate,
)  # fmt: skip
PROBES: dict[str, Probe] = {module.PROBE.name: module.PROBE for module in _MODULES}
HIDDEN: dict[str, Probe] = {probe.name: probe for probe in (ANATOMY, COST)}  # asked by the way, without a page of their own
