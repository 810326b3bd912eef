"""From the CPU to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on ``device``.

    To a GPU it goes from pinned memory: the CPU need not wait, and what is asked afterwards is computed behind it.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
