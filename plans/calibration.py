"""What a plan must learn from a text before it can be applied: pruned weights, and the basis of the keys.

Calibrated is what is there at that point: weights on the model with the drops, the basis on the model with drops and pruned
weights.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from models.keys import key_basis
from models.subject import Subject
from plans.cut import Calibrated, cut, plan_of
from plans.plan import Plan
from plans.weights.packed import pack, unpack
from plans.weights.prune import prune
from refusal import Progress, silent

__all__ = ["Calibrated", "Calibration", "calibrate", "calibrated", "plan_of"]


@dataclass(frozen=True)
class Calibration:
    """What was learned, in arrays that can be stored.

    Attributes
    ----------
    weights : dict
        By the name of a linear map in the dense model, see `plans.weights.packed.pack`; empty without sparsity.
    basis : dict of str to float32 array of shape (heads, head_dim, head_dim)
        By dense layer, rows by falling eigenvalue; empty without low-rank attention.
    """

    weights: dict[str, Any]
    basis: dict[str, np.ndarray]


def calibrate(subject: Subject, plan: Plan, tokens: torch.Tensor, progress: Progress = silent) -> Calibration:
    """Learn what ``plan`` needs from token ids of shape (windows, tokens)."""
    weights: dict[str, torch.Tensor] = {}
    basis: dict[int, torch.Tensor] = {}
    if plan.sparsity:
        weights = prune(cut(subject.model, subject.family, plan.drops), tokens, plan.sparsity, progress)
    if plan.keys:
        thinned = Calibrated(replace(plan, keys=None), weights, {})
        basis = key_basis(cut(subject.model, subject.family, thinned), tokens, progress)
    stored = pack(weights, plan.sparsity.method) if plan.sparsity else {}
    return Calibration(stored, {str(layer): rows.cpu().numpy() for layer, rows in basis.items()})


def calibrated(subject: Subject, plan: Plan, learned: Calibration) -> Calibrated:
    """The plan with what was learned for it."""
    basis = {int(layer): torch.from_numpy(rows).to(subject.device) for layer, rows in learned.basis.items()}
    return Calibrated(plan, unpack(learned.weights, subject.model), basis)
