"""SpanKL's span classifier (arXiv 2302.12200, section "Method")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from cl_ner_bench.models.heads import GrowingHead, Init
from cl_ner_bench.models.limits import SPAN_WORDS

PROJECTION = 50
"""Width of a type's start and end projections."""


class SpanHead(GrowingHead):
    """A logit for every span and type: z[i, j, e] = s_ie . e_je / sqrt(50) for words i <= j, both inclusive.

    Each type has its own projections of a word as a start and as an end. There is no width limit, no pooling and no
    bias besides the projections'. Weights start Kaiming-normal, biases at 0.
    """

    def grow(self, types: Sequence[str], init: Init) -> None:
        rows = [
            nn.init.kaiming_normal_(torch.empty(2 * PROJECTION, self.hidden_size), generator=init(t)) for t in types
        ]
        self._add(types, torch.cat(rows), torch.zeros(2 * PROJECTION * len(types)))

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        """Span logits ``[spans, types]`` of word vectors ``[sum(lengths), hidden]``.

        The spans of a sentence of n words are its n(n+1)/2 pairs in row-major order (by start, then end); sentences
        follow one another.
        """
        parts = torch.cat([block(words) for block in self.blocks], dim=1)
        sentences = parts.view(len(words), len(self.types), 2, PROJECTION).split(list(lengths))
        return torch.cat([_scores(torch.cat(sentences[run]), lengths[run]) for run in _runs(lengths)])


def _runs(lengths: Sequence[int]) -> Iterator[slice]:
    """Cut a batch so that no run holds more padded pairs of words than the longest sentence allowed has."""
    begin, longest = 0, 0
    for n, length in enumerate(lengths):
        longest = max(longest, length)
        if n > begin and (n + 1 - begin) * longest**2 > SPAN_WORDS**2:
            yield slice(begin, n)
            begin, longest = n, length
    yield slice(begin, len(lengths))


def _scores(parts: Tensor, lengths: Sequence[int]) -> Tensor:
    """Span logits ``[spans, types]`` of projections ``[sum(lengths), types, 2, PROJECTION]``."""
    starts, ends = parts.unbind(2)
    valid = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    padded = parts.new_zeros(2, *valid.shape, *starts.shape[1:])
    row, column = (index.to(parts.device) for index in valid.nonzero(as_tuple=True))
    padded[0, row, column], padded[1, row, column] = starts, ends
    scores = torch.einsum("bied,bjed->bije", padded[0], padded[1]) / math.sqrt(PROJECTION)
    pairs = torch.triu(valid[:, :, None] & valid[:, None, :])
    return scores[pairs.to(parts.device)]


def span_count(length: int) -> int:
    """How many spans a sentence of ``length`` words has."""
    return length * (length + 1) // 2


def span_index(start: int, end: int, length: int) -> int:
    """Row of the span of words ``start .. end-1`` among its sentence's spans."""
    return start * length - start * (start - 1) // 2 + (end - 1 - start)
