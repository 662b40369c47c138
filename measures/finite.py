"""Numbers that are none are refused before anybody reads what was computed from them."""

import torch
from torch import Tensor

from refusal import Refusal

_SO = "nothing can be measured"


def finite(values: Tensor) -> Tensor:
    """Whether no value is NaN or infinite: a bool tensor without axes, where the values are, so that nobody waits for it.

    Either would reach the minimum or the maximum, which are found without any more memory and ten times as fast as
    ``isfinite().all()``.
    """
    if not values.numel():
        return torch.ones((), dtype=torch.bool, device=values.device)
    return torch.stack(torch.aminmax(values)).isfinite().all()


class FiniteCheck:
    """Looks at tensors as they come and refuses later, because asking a GPU for one bool waits for all of its work.

    A check of a window or a batch has one answer, however many tensors were looked at.
    """

    def __init__(self) -> None:
        self._found: list[tuple[str, Tensor]] = []

    def look(self, what: str, *tensors: Tensor) -> None:
        """Look at some tensors; ``what`` they hold is the plural subject of a sentence: "The dense model's logits"."""
        self._found += [(what, finite(values)) for values in tensors]

    def refuse(self, so: str = _SO) -> None:
        """Let only finite numbers through, and forget them.

        Parameters
        ----------
        so : str
            What cannot be done then.

        Raises
        ------
        Refusal
            A value was NaN or infinite; the sentence names the first such tensor.
        """
        found, self._found = self._found, []
        if not found:
            return
        device = found[0][1].device  # a split model has some on other devices
        if bool(torch.stack([fine.to(device) for _, fine in found]).all()):
            return
        what = next(name for name, fine in found if not fine)
        raise Refusal(
            f"{what} contain NaN or infinite values, so {so}. Load the model in float32 or bfloat16: many models overflow in "
            "float16."
        )


def refuse_nonsense(what: str, *tensors: Tensor, so: str = _SO) -> None:
    """Let only finite numbers through, now: `FiniteCheck` of these tensors alone.

    Raises
    ------
    Refusal
        A value is NaN or infinite.
    """
    check = FiniteCheck()
    check.look(what, *tensors)
    check.refuse(so)
