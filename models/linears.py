"""The linear maps inside a block, in whichever way a family keeps them: one by one, transposed, or stacked by expert."""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from models.families import STACKED, Family, is_router, stacked, transposed
from refusal import Refusal


@dataclass(frozen=True, eq=False)
class Linear:
    """One weight of a block: a linear map, or one kind of map of all experts.

    Attributes
    ----------
    name : str
        Inside the block: of the module, or of the parameter where experts are stacked.
    module : nn.Module
        What it is called through.
    parameter : str
        Its name in the module.
    transposed : bool
        Kept as (in, out).
    """

    name: str
    module: nn.Module
    parameter: str
    transposed: bool

    @property
    def weight(self) -> Tensor:
        """The parameter, as the model keeps it."""
        return getattr(self.module, self.parameter)

    @property
    def stacked(self) -> bool:
        """Whether it holds one map for each expert."""
        return self.weight.dim() == 3

    @property
    def matrices(self) -> Tensor:
        """The weight as (experts or 1, out, in), in the same memory."""
        weight = self.weight if self.stacked else self.weight[None]
        return weight.mT if self.transposed else weight

    def put(self, matrices: Tensor) -> None:
        """Give the module another weight, of the shape of `matrices`; the old one is not written to."""
        weight = matrices.mT if self.transposed else matrices
        self.put_weight((weight if self.stacked else weight[0]).to(self.weight).contiguous())

    def put_weight(self, weight: Tensor) -> None:
        """Give the module another weight, of the shape of `weight`."""
        parameter = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)
        setattr(self.module, self.parameter, parameter)


def linears(block: nn.Module, family: Family, modules: str = "all") -> list[Linear]:
    """The linear maps of a block that can be pruned: none of routers, norms or dropped sublayers.

    Parameters
    ----------
    modules : str
        ``all``, ``attention`` or ``mlp``.

    Raises
    ------
    Refusal
        Weights are quantised, lie outside the memory, or are stacked in a way that is not known.
    """
    named = {"attention": (family.attention,), "mlp": (family.mlp,), "all": (family.attention, family.mlp)}[modules]
    found: list[Linear] = []
    for sublayer in named:
        for name in (*sublayer.dead, sublayer.module):
            for inside, module in block.get_submodule(name).named_modules(prefix=name):
                found += _of(inside, module)
    return found


def refuse_offloaded(weight: Tensor) -> None:
    """Refuse weights that accelerate fetches when they are needed: there is nothing here to replace."""
    if weight.is_meta:
        raise Refusal(
            "Some weights of this model lie outside the memory it computes in, and only weights inside can be pruned. Load "
            "it on one device (cpu has the most memory), in bfloat16 if it is tight, or drop sublayers instead."
        )


def _of(name: str, module: nn.Module) -> list[Linear]:
    """What one module holds itself."""
    if is_router(name):
        return []
    experts, known = stacked(module)
    if isinstance(module, nn.Linear | Conv1D):
        found = [Linear(name, module, "weight", isinstance(module, Conv1D))]
    elif experts:
        if not known:
            raise Refusal(
                f"How {name} keeps the weights of its experts ({', '.join(experts)}) is not understood, so they cannot be "
                "pruned. Prune the attention alone: end the item with /attention, as in w:wanda@0.5/attention."
            )
        found = [Linear(f"{name}.{key}", module, key, transposed(module)) for key in STACKED]
    else:
        return []
    for linear in found:
        refuse_offloaded(linear.weight)
        if not linear.weight.is_floating_point() or linear.weight.element_size() < 2:
            raise Refusal(f"{name} is quantised, and only plain weights can be pruned. Load the model without quantisation.")
    return found
