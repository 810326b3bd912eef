"""Linear heads on random features of words, and of a span's first and last word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.heads.tag import TagHead

_CHUNK = 1 << 14
"""Spans whose features are held at a time."""


class RandomTagHead(TagHead):
    """A tag head on ReLU(R h)."""

    random: Tensor

    def __init__(self, hidden_size: int, features: int) -> None:
        super().__init__(features)
        # Not stored: a new learner with the same seed draws the same values.
        self.register_buffer("random", torch.randn(features, hidden_size) / hidden_size**0.5, persistent=False)

    def features(self, words: Tensor) -> Tensor:
        """Return the features ``[words, features]`` of word vectors."""
        return F.relu(words @ self.random.T)

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        return super().forward(self.features(words), lengths)


class RandomSpanHead(GrowingHead):
    """A linear head on ReLU(R [h_start; h_end]) of each span, in the order of spans of ``SpanHead``."""

    random: Tensor

    def __init__(self, hidden_size: int, features: int, width: int) -> None:
        super().__init__(features)
        self.width = width
        # Not stored: a new learner with the same seed draws the same values.
        self.register_buffer("random", torch.randn(2, features, hidden_size) / hidden_size**0.5, persistent=False)

    @property
    def n_columns(self) -> int:
        return len(self.types)

    def grow(self, types: Sequence[str], init: Init) -> None:
        self._add(types, torch.zeros(len(types), self.hidden_size), torch.full((len(types),), -1.0))

    def ends(self, lengths: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the rows of the first and of the last word of all spans ``[spans]``."""
        found, offset = [], 0
        for n in lengths:
            pair = np.stack(np.triu_indices(n))
            found.append(offset + pair[:, pair[1] - pair[0] < (self.width or n)])
            offset += n
        starts, ends = torch.from_numpy(np.concatenate(found, axis=1)).to(device)
        return starts, ends

    def features(self, words: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        """Return the features ``[spans, features]`` of spans with these first and last words."""
        return F.relu((words @ self.random[0].T)[starts] + (words @ self.random[1].T)[ends])

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        starts, ends = self.ends(lengths, words.device)
        parts = [
            self.features(words, s, e) @ self.weight.T + self.bias
            for s, e in zip(starts.split(_CHUNK), ends.split(_CHUNK), strict=True)
        ]
        return torch.cat([part.T for part in parts], dim=1).T
