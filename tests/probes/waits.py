"""What would make the host wait for a device, counted on a CPU, where nothing waits."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# `item` stands in inference mode for `_local_scalar_dense`, and `is_nonzero` for that of a bool.
READS = {
    f"aten::{name}"
    for name in (
        "_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "nonzero_numpy", "argwhere", "bincount",
        "masked_select", "_unique2", "unique_dim", "unique_consecutive",
    )
}  # fmt: skip
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}  # by bool: its places are looked for
FETCHES = {Tensor.cpu, Tensor.tolist, Tensor.numpy}


class Waits:
    """Counts operations whose result the host needs at once: reads of one value, and copies of whole tensors to the host.

    Attributes
    ----------
    reads : int
        ``item``, ``bool``, ``equal`` and everything whose shape depends on the values.
    fetches : int
        ``cpu``, ``tolist`` and ``numpy``, whatever they are called on; those of what is on the host already count as well.
    """

    def __init__(self) -> None:
        self.reads = self.fetches = 0
        self._modes = (_Reads(self), _Fetches(self))

    def __enter__(self) -> "Waits":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*raised)


class _Reads(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split(".")[0]
        masked = name in INDEXED and any(each is not None and each.dtype == torch.bool for each in args[1])
        self._waits.reads += masked or name in READS
        return func(*args, **(kwargs or {}))


class _Fetches(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self._waits.fetches += func in FETCHES
        return func(*args, **(kwargs or {}))
