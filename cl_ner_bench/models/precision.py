"""The precision of matrix products."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which matrix products on ``device`` are computed in ``dtype`` (None: float32).

    Raises:
        RuntimeError: the device has no autocast.
    """
    kind = device.type
    if dtype is None and not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
