"""Conversion between concatenated windows (without padding) and padded groups of windows for attention."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_ner_bench.models.transfer import moved

_GROUP_COST = 32
"""The fixed cost of a group, in padded sub-tokens, when windows are grouped by length."""

_ROWS = 64


def missing_rows(rows: int) -> int:
    """Return the number of rows to add to ``rows``: up to the next multiple of 64 under bf16 on a CPU, otherwise 0.

    oneDNN compiles and keeps a kernel for each new size of a bf16 product, which took a tenth of a training step and,
    over a long step, a gigabyte. In float32 the added rows would cost up to a seventh of an update of 8 sentences.
    """
    return -rows % _ROWS if torch.is_autocast_enabled("cpu") else 0


class Groups:
    """Groups of windows of similar length, which need little padding.

    Attributes (one entry per group):
        shapes: (windows, longest).
        real: 0/1 ``[windows, longest]``; 0 is padding.
        masks: 0 and -inf for attention; None if nothing is padded.
    """

    def __init__(self, windows: Sequence[int], device: torch.device) -> None:
        starts = list(itertools.accumulate(windows, initial=0))
        order = sorted(range(len(windows)), key=lambda i: windows[i])
        self._windows = list(windows)
        self._members: list[list[int]] = []  # the windows of each group
        self.shapes: list[tuple[int, int]] = []
        self.real: list[Tensor] = []
        self.masks: list[Tensor | None] = []
        taken: list[np.ndarray] = []
        padded = np.empty(starts[-1], dtype=np.int64)  # the position of each sub-token among the padded ones
        rows = 0
        for group in length_groups([windows[i] for i in order]):
            self._members.append(order[group])
            lengths = np.array([windows[i] for i in order[group]])
            first = np.array([starts[i] for i in order[group]])
            place = np.arange(lengths[-1])
            real = place < lengths[:, None]
            here = first[:, None] + np.minimum(place, lengths[:, None] - 1)
            taken.append(here.ravel())
            padded[here[real]] = rows + np.flatnonzero(real)
            rows += real.size
            self.shapes.append(real.shape)
            self.real.append(moved(torch.from_numpy(real), device))
            blocked = torch.zeros(real.shape, device=device).masked_fill_(~self.real[-1], float("-inf"))
            self.masks.append(None if real.all() else blocked[:, None, None])
        self.taken = moved(torch.from_numpy(np.concatenate(taken)), device)
        self.padded = moved(torch.from_numpy(padded), device)

    def pad(self, values: Tensor) -> list[Tensor]:
        """Return ``[sub-tokens, n]`` as one ``[windows, longest, n]`` per group."""
        moved: Tensor = _Pad.apply(values, self.taken, self.padded)
        parts = moved.split([windows * longest for windows, longest in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def unpad(self, values: Sequence[Tensor]) -> Tensor:
        """Return ``[sub-tokens, n]`` from one ``[windows * longest, n]`` per group."""
        result: Tensor = _Unpad.apply(torch.cat(list(values)), self.taken, self.padded)
        return result

    def cropped(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return ``[heads, n, n]`` of each window from one ``[windows, heads, longest, longest]`` per group."""
        found: dict[int, Tensor] = {}
        for members, group in zip(self._members, maps, strict=True):
            for i, values in zip(members, group, strict=True):
                n = self._windows[i]
                found[i] = values[:, :n, :n]
        return [found[i] for i in range(len(self._windows))]


class _Pad(torch.autograd.Function):
    """Row look-up whose gradient is a look-up, too: padding has no gradient, and each row is used once."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, taken: Tensor, padded: Tensor) -> Tensor:
        ctx.padded = padded
        return values.index_select(0, taken)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0].index_select(0, ctx.padded), None, None


class _Unpad(torch.autograd.Function):
    """The inverse of ``_Pad``; padding gets a gradient of 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, taken: Tensor, padded: Tensor) -> Tensor:
        ctx.taken, ctx.padded = taken, padded
        return values.index_select(0, padded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        if len(ctx.taken) == len(ctx.padded):
            return gradient.index_select(0, ctx.taken), None, None
        zeros = gradient.new_zeros(len(ctx.taken), gradient.shape[1])
        return zeros.index_copy_(0, ctx.padded, gradient), None, None


def length_groups(lengths: Sequence[int]) -> list[slice]:
    """Split ascending ``lengths`` into runs with the least padding plus fixed cost per run (dynamic programming)."""
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first n, where its last run starts
    for n in range(1, len(lengths) + 1):
        best.append(min((best[a][0] + (n - a) * lengths[n - 1] + _GROUP_COST, a) for a in range(n)))
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][1])
    return [slice(a, b) for b, a in itertools.pairwise(cuts)][::-1]
