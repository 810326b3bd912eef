"""Dropout whose masks are cheap to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 1 << 16


class Dropout:
    """A source of dropout masks, reseeded for each step of a run.

    On a CPU torch draws masks element by element, which takes a tenth of a training step. Here each element takes 16
    bits of a fast generator (SFC64), four elements per draw. ``p`` is rounded to 1/65536; kept values are scaled by the
    rounded ``p``, so the mean stays. On other devices torch's own dropout is used.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Restart the stream. Devices other than the CPU use torch's global stream instead."""
        self._bits = np.random.SFC64(seed)

    @property
    def state(self) -> list[int]:
        """The position of the stream; assign it to continue from there."""
        words: list[int] = self._bits.state["state"]["state"].tolist()
        return words

    @state.setter
    def state(self, words: list[int]) -> None:
        # Only whole 64-bit draws are used, so there is no buffered rest.
        state: Any = {"state": np.array(words, dtype=np.uint64)}
        self._bits.state = {"bit_generator": "SFC64", "state": state, "has_uint32": 0, "uinteger": 0}

    def draw_seed(self) -> int:
        """Return a seed for another ``Dropout``, so a recomputation (checkpointing) can repeat its draws."""
        return int(self._bits.random_raw())

    def __call__(self, values: Tensor, p: float) -> Tensor:
        """Return ``values`` (any shape) with a share ``p`` set to 0 and the others divided by 1 - p."""
        if p == 0:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, p)
        n, dropped = values.numel(), round(p * _STEPS)
        bits = self._bits.random_raw(-(-n // 4)).view(np.int16)[:n]
        # NumPy compares 16-bit numbers in half of torch's time.
        wide = np.float64 if values.dtype == torch.float64 else np.float32
        kept = np.multiply(bits >= dropped - _STEPS // 2, _STEPS / (_STEPS - dropped), dtype=wide)
        return values * torch.from_numpy(kept).view(values.shape).to(values.dtype)
