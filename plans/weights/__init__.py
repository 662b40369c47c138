"""Setting weights to zero inside the layers: ``w:magnitude@0.5``, ``w:wanda@2:4``, ``w:sparsegpt@0.5/mlp``."""

from plans.weights.operation import KIND, Weights

__all__ = ["KIND", "Weights"]
