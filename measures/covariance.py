"""Running sums of vectors, and the principal components that follow from them; the vectors themselves are never kept."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# Below this share of the second moment, variance is the rounding of float32 models: the vectors are constant.
_NOISE = 1e-12


class Moments:
    """Count, sum and sum of outer products of vectors, per head, in float64.

    Memory is heads × width² numbers, however many vectors are added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None
        self._outer: Tensor | None = None

    def add(self, vectors: Tensor) -> None:
        """Add vectors of shape (heads, tokens, width), float64."""
        if self._sum is None:
            heads, _, width = vectors.shape
            self._sum = vectors.new_zeros(heads, width)
            self._outer = vectors.new_zeros(heads, width, width)
        elif self._sum.device != vectors.device:  # it was restored
            self._sum, self._outer = self._sum.to(vectors.device), self._outer.to(vectors.device)
        self.count += vectors.shape[1]
        self._sum += vectors.sum(1)
        self._outer.baddbmm_(vectors.mT, vectors)

    def state(self) -> dict[str, Any]:
        """Count and sums, for `restored`."""
        return {"count": self.count, "sum": self._sum.cpu().numpy(), "outer": self._outer.cpu().numpy()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Moments":
        """Those of a `state`, to go on with."""
        out = cls()
        out.count = int(state["count"])
        out._sum, out._outer = (torch.from_numpy(np.array(state[name], dtype=np.float64)) for name in ("sum", "outer"))
        return out

    def __add__(self, other: "Moments") -> "Moments":
        """What both have seen."""
        return self._joined(other, 1)

    def __sub__(self, other: "Moments") -> "Moments":
        """What is left without what ``other`` has seen of it."""
        return self._joined(other, -1)

    def _joined(self, other: "Moments", sign: int) -> "Moments":
        out = Moments()
        out.count = self.count + sign * other.count
        out._sum, out._outer = self._sum + sign * other._sum, self._outer + sign * other._outer
        return out

    @property
    def sum(self) -> Tensor:
        """Sum of all vectors, float64 (heads, width). NaN and infinity never leave a sum again."""
        return self._sum

    def covariance(self) -> Tensor:
        """Centred, divided by n − 1: float64 (heads, width, width) on the CPU; zero where the vectors are constant."""
        total, outer = self._sum.cpu(), self._outer.cpu()
        centred = (outer - total.unsqueeze(-1) * total.unsqueeze(-2) / self.count) / max(1, self.count - 1)
        variance, size = (m.diagonal(dim1=-2, dim2=-1).sum(-1) for m in (centred, outer / self.count))
        return torch.where((variance > _NOISE * size)[:, None, None], centred, 0.0)

    def second_moment(self) -> Tensor:
        """Uncentred, divided by n: float64 (heads, width, width) on the CPU."""
        return self._outer.cpu() / self.count


def variances(sums: dict[int, Moments]) -> Tensor:
    """Traces of the covariances by layer, (layers, heads)."""
    return torch.stack([sums[layer].covariance().diagonal(dim1=-2, dim2=-1).sum(-1) for layer in sorted(sums)])


def components(covariance: Tensor) -> Tensor:
    """Eigenvectors as rows, by falling eigenvalue; the largest component of each is positive, so that they are unique.

    Parameters
    ----------
    covariance : float64 tensor of shape (…, width, width)

    Returns
    -------
    float64 tensor of shape (…, width, width)
    """
    rows = torch.linalg.eigh(covariance).eigenvectors.flip(-1).mT
    largest = rows.gather(-1, rows.abs().argmax(-1, keepdim=True))
    return rows * largest.sign()


def eigenvalues(covariance: Tensor) -> Tensor:
    """Falling, none below 0: float64 (…, width)."""
    return torch.linalg.eigvalsh(covariance).flip(-1).clamp_min(0)
