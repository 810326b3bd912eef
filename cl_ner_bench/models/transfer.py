"""From the CPU to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on ``device``.

    A copy to a GPU goes from pinned memory, so the CPU does not wait for it; work queued later runs after it.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
