"""The losses of an epoch, and when they are read: on a GPU each reading waits until all that was asked is computed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

READ_EVERY = 16
"""Updates between two readings on a device that computes on its own. A CPU has nothing to wait for: it reads each."""


class EpochLosses:
    """The losses of the updates of an epoch.

    Attributes:
        sums: of each loss, over the updates that were read.
        total: the sum of the losses of the update that was read last.
    """

    def __init__(self, device: torch.device, step: int, updates: int) -> None:
        """Begin an epoch of ``step`` behind so many ``updates`` of this step."""
        self.sums: dict[str, float] = defaultdict(float)
        self.total = math.nan
        self._every = 1 if device.type == "cpu" else READ_EVERY
        self._step, self._read = step, updates
        self._unread: list[Mapping[str, Tensor]] = []

    def add(self, losses: Mapping[str, Tensor]) -> bool:
        """Add the losses of an update (scalars), and read them if it is time to, the first ones at once. Return whether
        they were read.

        Raises:
            FloatingPointError: as ``read``.
        """
        self._unread.append(losses)
        if due := len(self._unread) == self._every or math.isnan(self.total):
            self.read()
        return due

    def read(self) -> None:
        """Read what was added since the last reading.

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
