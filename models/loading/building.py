"""Models are built one at a time, and the other threads do not notice.

While transformers builds one, it sets torch's default dtype and replaces functions of its own, for the whole process: a second
model built meanwhile would be made of two precisions, and whatever computes would make its tensors in the wrong one. Only the
building is at stake, which takes no memory and less than a second; weights may be read side by side.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, modeling_utils

_ONE = threading.RLock()  # a model may build another one inside
_COPIES = (torch.tensor, torch.as_tensor, torch.asarray)  # they take the dtype of what they are given, where it has one
_MAKES = {
    torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.arange, torch.range, torch.linspace, torch.logspace,
    torch.rand, torch.randn, torch.empty_strided, torch.empty_permuted, torch.scalar_tensor, *_COPIES,
}  # fmt: skip


class _Default(TorchFunctionMode):
    """A default dtype for the thread that enters it; `torch.set_default_dtype` is for all of them."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if func not in _MAKES or kwargs.get("dtype") is not None or made.dtype != torch.get_default_dtype():
            return made
        if func in _COPIES and hasattr(args[0] if args else kwargs.get("data"), "dtype"):
            return made
        return func(*args, **kwargs | {"dtype": self._dtype})


@contextmanager
def _apart(dtype: torch.dtype, name: str | None = None) -> Iterator[None]:
    """What transformers enters while it builds, before all else that it changes for the process."""
    with _ONE, _Default(dtype):
        yield


def loaded(folder: Path, **options: Any) -> tuple[PreTrainedModel, dict]:
    """`AutoModelForCausalLM.from_pretrained` with its loading info, next to other threads."""
    modeling_utils.local_torch_dtype = _apart
    return AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)


def skeleton(config: PreTrainedConfig, trusted: bool = False) -> PreTrainedModel:
    """The model that a config describes, with shapes and names and without memory; next to other threads."""
    modeling_utils.local_torch_dtype = _apart
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=trusted)
