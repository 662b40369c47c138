"""What a plan leaves of a model, counted on the view that it makes and not predicted beside it."""

import math
from dataclasses import dataclass

from models.anatomy import Anatomy, size_of, weights_of, work_of_view
from models.subject import Subject
from plans.cut import cut
from plans.operation import Shape
from plans.plan import Plan


@dataclass(frozen=True)
class Cost:
    """A model that was cut, in numbers.

    Attributes
    ----------
    parameters, bytes : int
        Of the weights that are there, each once.
    zeros : int
        How many of these parameters are zero because they were pruned; they take memory and work like others.
    cache_bytes : int
        Key-value cache per token of context.
    multiply_adds : int
        Per token, of the weights.
    """

    parameters: int
    zeros: int
    bytes: int
    cache_bytes: int
    multiply_adds: int


def shape_of(anatomy: Anatomy) -> Shape:
    """What plans are checked against."""
    return Shape(anatomy.layers, anatomy.attention_stays)


def cost(subject: Subject, plan: Plan, anatomy: Anatomy) -> Cost:
    """Count a plan; what it would have to learn from a text is not needed for that.

    Raises
    ------
    Refusal
        The model cannot be cut so.
    """
    plan.checked(shape_of(anatomy))
    view = cut(subject, plan.at_once)
    parameters, size = size_of(weights_of([view.model]))
    by_layer = anatomy.cache_by_layer
    return Cost(
        parameters=parameters,
        zeros=sum(operation.zeros(view) for operation in plan.operations),
        bytes=size,
        cache_bytes=sum(by_layer[layer] for layer in view.attentions),
        multiply_adds=work_of_view(view),
    )


def kept(dense: Anatomy, left: Cost, plan: Plan) -> dict[str, float]:
    """What a plan keeps of each thing that can be saved, as shares of the dense model.

    Returns
    -------
    dict of str to float
        ``parameters``; ``nonzero``, those of them that no pruning made zero; ``bytes`` of the weights; ``cache``, bytes of keys
        and values per token; ``keys``, the keys that one decoded token attends to.
    """
    cache = left.cache_bytes / max(1, dense.cache_bytes)
    return {
        "parameters": left.parameters / dense.parameters,
        "nonzero": (left.parameters - left.zeros) / dense.parameters,
        "bytes": left.bytes / dense.bytes,
        "cache": cache,
        "keys": cache * math.prod(operation.reads() for operation in plan.operations),
    }
