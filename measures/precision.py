"""Which precision to compute in: never less than float32, and float64 only where the device has it."""

import torch
from torch import Tensor

# How far apart numbers may be that are the same by two ways of computing, over the largest of them: more is not rounding.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 1e-2}


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened to float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def float64_device(device: torch.device) -> torch.device:
    """Where to compute in float64: on the device itself, or on the CPU for Apple's GPUs, which have none."""
    return torch.device("cpu") if device.type == "mps" else device
