"""The precision of matrix products."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which matrix products on ``device`` are computed in ``dtype``; in float32 where it is None.

    Raises:
        RuntimeError: the device computes in no other precision than float32.
    """
    if dtype is None and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
