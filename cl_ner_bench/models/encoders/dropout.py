"""Dropout whose masks are cheap to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 1 << 16


class Dropout:
    """A source of dropout masks, seeded anew for each step of a run.

    On a CPU torch draws a mask element by element, which takes a tenth of a training step. Here 16 bits of a fast
    counter-free generator (SFC64) decide on an element, four of them to a draw; ``p`` is rounded to 1/65536, and what
    stays is scaled by the rounded ``p``, so that the mean is kept. On other devices it is torch's own dropout.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the stream named by ``seed``. On devices other than the CPU, torch's global stream is used."""
        self._bits = np.random.SFC64(seed)

    @property
    def state(self) -> list[int]:
        """Where the stream stands; assign it to go on from there."""
        words: list[int] = self._bits.state["state"]["state"].tolist()
        return words

    @state.setter
    def state(self, words: list[int]) -> None:
        # Only whole draws of 64 bits are taken: nothing of a draw is left over.
        state: Any = {"state": np.array(words, dtype=np.uint64)}
        self._bits.state = {"bit_generator": "SFC64", "state": state, "has_uint32": 0, "uinteger": 0}

    def draw_seed(self) -> int:
        """A seed for a source of its own: what is computed twice (checkpointing) can draw the same twice."""
        return int(self._bits.random_raw())

    def __call__(self, values: Tensor, p: float) -> Tensor:
        """``values`` with a share ``p`` of them set to 0 and the others divided by 1 - p; any shape."""
        if p == 0:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, p)
        n, dropped = values.numel(), round(p * _STEPS)
        bits = torch.from_numpy(self._bits.random_raw(-(-n // 4)).view(np.int16))[:n]
        kept = (bits >= dropped - _STEPS // 2).to(values.dtype).mul_(_STEPS / (_STEPS - dropped))
        return values * kept.view(values.shape)
