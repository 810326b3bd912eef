"""SpanKL's span classifier (arXiv 2302.12200, section "Method")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.models.encoders.unpadded import missing_rows
from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.precision import autocast

PROJECTION = 50
"""Dimension of a type's start and end projections."""

_TILE = 32
"""Number of start words whose spans are scored by one matrix product."""

_LONG = 8192
"""The number of scores of one start word (all types) above which its spans are copied by slice, not by index."""

# Spans of a sentence of n words: (i, j) with i <= j < n, both inclusive, of at most ``width`` words (0: no limit).
# Their rows are sorted by start, then by end.


def span_count(length: int, width: int = 0) -> int:
    """Return the number of spans of a sentence of ``length`` words."""
    left = max(0, length - width) if width else 0  # starts whose widest span is cut by the limit
    return left * width + (length - left) * (length - left + 1) // 2


def span_index(start: int, end: int, length: int, width: int = 0) -> int:
    """Return the row of the span of words ``start .. end-1`` among the spans of its sentence."""
    return span_count(length, width) - span_count(length - start, width) + (end - 1 - start)


class SpanHead(GrowingHead):
    """A head with a logit for every span and type: z[i, j, e] = s_ie . e_je / sqrt(50) for words i <= j (inclusive).

    Each type has its own start and end projections of a word, with biases; there is no pooling and no other bias.
    Initial weights are Kaiming-normal, biases 0. Spans of more than ``width`` words are not scored (0: no limit, as in
    SpanKL).

    A ``prior`` p in (0, 1) adds log(p / (1 - p)) to each initial logit of a new type (0: no prior, as in SpanKL): the
    first coordinate of its projections starts as a constant in all words. Otherwise the first updates would learn
    little except that nearly no span is a mention.
    """

    def __init__(self, hidden_size: int, width: int = 0, prior: float = 0.0) -> None:
        super().__init__(hidden_size)
        self.width, self.prior = width, prior

    @property
    def n_columns(self) -> int:
        return len(self.types)

    def grow(self, types: Sequence[str], init: Init) -> None:
        rows = [
            nn.init.kaiming_normal_(torch.empty(2 * PROJECTION, self.hidden_size), generator=init(t)) for t in types
        ]
        weight = torch.stack(rows).view(-1, 2, PROJECTION, self.hidden_size)
        bias = torch.zeros(len(types), 2, PROJECTION)
        if self.prior:
            product = math.sqrt(PROJECTION) * math.log(self.prior / (1 - self.prior))
            weight[:, :, 0] = 0
            bias[:, 0, 0] = math.sqrt(abs(product))
            bias[:, 1, 0] = math.copysign(math.sqrt(abs(product)), product)
        self._add(types, weight.flatten(0, 2), bias.flatten())

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return span logits ``[spans, types]`` of the concatenated word vectors ``[sum(lengths), hidden]``.

        ``logits.T`` is contiguous.
        """
        extra = missing_rows(len(words))
        padded = F.pad(words, (0, 0, 0, extra)) if extra else words
        parts = torch.cat([block(padded) for block in self.blocks], dim=1)[: len(words)]
        with autocast(words.device, None):  # products this small gain no speed, and their errors would add up
            scores: Tensor = _Scores.apply(parts.view(len(words), len(self.types), 2, PROJECTION), lengths, self.width)
        return scores.T


class _Scores(torch.autograd.Function):
    """Logits ``[types, spans]`` of projections ``[words, types, 2, PROJECTION]``.

    A sentence is cut into tiles of ``_TILE`` start words and their possible end words. A tile is one matrix product per
    type, from which the spans are picked. Nothing is padded; only the projections are stored for the gradient.
    """

    @staticmethod
    def forward(ctx: Any, parts: Tensor, lengths: Sequence[int], width: int) -> Tensor:
        ctx.save_for_backward(parts)
        ctx.tiles, ctx.width = list(_tiles(lengths, width)), width
        logits = parts.new_empty(parts.shape[1], sum(span_count(n, width) for n in lengths), dtype=torch.float32)
        for rows, columns, spans, picked in ctx.tiles:
            starts, ends = _sides(parts, rows, columns)
            scores = torch.bmm(starts, ends.transpose(1, 2))
            if scores[:, 0].numel() > _LONG:
                for row, among in _rows(scores.shape[1], scores.shape[2], width):
                    logits[:, spans][:, among].copy_(scores[:, row, row:][:, : among.stop - among.start])
            else:
                torch.index_select(scores.flatten(1), 1, picked.to(scores.device), out=logits[:, spans])
        return logits.mul_(1 / math.sqrt(PROJECTION))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (parts,) = ctx.saved_tensors
        gradient, result = gradients[0], torch.zeros_like(parts)
        for rows, columns, spans, picked in ctx.tiles:
            starts, ends = _sides(parts, rows, columns)
            scores = starts.new_zeros(*starts.shape[:2], ends.shape[1])
            if scores[:, 0].numel() > _LONG:
                for row, among in _rows(scores.shape[1], scores.shape[2], ctx.width):
                    scores[:, row, row:][:, : among.stop - among.start].copy_(gradient[:, spans][:, among])
            else:
                scores.flatten(1).index_copy_(1, picked.to(scores.device), gradient[:, spans])
            scores.mul_(1 / math.sqrt(PROJECTION))
            result[rows, :, 0] = torch.bmm(scores, ends).transpose(0, 1)
            result[columns, :, 1] += torch.bmm(scores.transpose(1, 2), starts).transpose(0, 1)
        return result, None, None


def _sides(parts: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
    """Return start ``[types, rows, PROJECTION]`` and end projections ``[types, columns, PROJECTION]``."""
    return parts[rows, :, 0].transpose(0, 1).float(), parts[columns, :, 1].transpose(0, 1).float()


def _tiles(lengths: Sequence[int], width: int) -> Iterator[tuple[slice, slice, slice, Tensor]]:
    """Yield for each tile its start words, end words, spans, and the indices of the spans among its word pairs."""
    word = span = 0
    for length in lengths:
        for first in range(0, length, _TILE):
            height = min(_TILE, length - first)
            reach = min(length - first, height + width - 1) if width else length - first
            picked = _picked(height, reach, width)
            start = word + first
            yield (
                slice(start, start + height),
                slice(start, start + reach),
                slice(span, span + len(picked)),
                picked,
            )
            span += len(picked)
        word += length


def _rows(height: int, reach: int, width: int) -> Iterator[tuple[int, slice]]:
    """Yield each start word of a tile with the slice of its spans."""
    at = 0
    for row in range(height):
        n = min(reach - row, width or reach)
        yield row, slice(at, at + n)
        at += n


@lru_cache(maxsize=4096)
def _picked(height: int, reach: int, width: int) -> Tensor:
    """Return the word pairs that are spans, as flat indices of ``[height, reach]``; both axes begin at one word."""
    start, end = np.arange(height)[:, None], np.arange(reach)
    wanted = (end >= start) & (end - start < (width or reach))
    return torch.from_numpy(np.flatnonzero(wanted))
