"""The losses of an epoch. On a GPU they are read rarely, because each reading waits for all queued work."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

READ_EVERY = 16
"""Updates between two readings on a GPU. On a CPU, every update is read, because there is nothing to wait for."""


class EpochLosses:
    """The losses of the updates of an epoch.

    Attributes:
        sums: for each loss, the sum over the updates that were read.
        total: the sum of the losses of the update that was read last.
    """

    def __init__(self, device: torch.device, step: int, updates: int) -> None:
        """Begin an epoch of ``step``, after ``updates`` updates of this step."""
        self.sums: dict[str, float] = defaultdict(float)
        self.total = math.nan
        self._every = 1 if device.type == "cpu" else READ_EVERY
        self._step, self._read = step, updates
        self._unread: list[Mapping[str, Tensor]] = []

    def add(self, losses: Mapping[str, Tensor]) -> bool:
        """Add the losses of an update (scalars), and return True if they were read now. The first losses always are.

        Raises:
            FloatingPointError: the loss of an update is not finite.
        """
        self._unread.append(losses)
        if due := len(self._unread) == self._every or math.isnan(self.total):
            self.read()
        return due

    def read(self) -> None:
        """Read the losses added since the last reading.

        Raises:
            FloatingPointError: the loss of an update is not finite.
        """
        if not self._unread:
            return
        values = iter(torch.stack([value for losses in self._unread for value in losses.values()]).cpu().tolist())
        for losses in self._unread:
            self._read += 1
            read = {name: next(values) for name in losses}
            self.total = sum(read.values())
            if not math.isfinite(self.total):
                raise FloatingPointError(f"loss is {self.total} in step {self._step}, update {self._read}: {read}")
            for name, value in read.items():
                self.sums[name] += value
        self._unread.clear()
