"""The tagging head: a softmax over O and a B and an I tag per type."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ner_bench.models.heads.growing import GrowingHead, Init
from cl_ner_bench.models.precision import autocast


class TagHead(GrowingHead):
    """A head with logits over BIO tags ``[O, B-x, I-x, B-y, ...]``; the k-th type has B at 1 + 2k and I at 2 + 2k.

    Initial weights are those of ``torch.nn.Linear``: uniform within 1/sqrt(hidden).
    """

    @property
    def n_columns(self) -> int:
        return 1 + 2 * len(self.types)

    def grow(self, types: Sequence[str], init: Init) -> None:
        if not self.grown:
            self._add((), *self._rows(1, init("O")))
        rows = [self._rows(2, init(t)) for t in types]
        self._add(types, torch.cat([w for w, _ in rows]), torch.cat([b for _, b in rows]))

    def _rows(self, n: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        bound = 1 / math.sqrt(self.hidden_size)
        weight = torch.empty(n, self.hidden_size).uniform_(-bound, bound, generator=stream)
        return weight, torch.empty(n).uniform_(-bound, bound, generator=stream)

    @property
    def scaled_rows(self) -> Tensor:
        """The rows ``[tags, hidden]``; their products with ``scaled`` words, plus the biases, are the logits."""
        return self.weight

    def scaled(self, words: Tensor) -> Tensor:
        """Return word vectors ``[words, hidden]`` in the form that is multiplied by ``scaled_rows``."""
        return words

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return tag logits ``[sum(lengths), 1 + 2 * types]`` of word vectors ``[sum(lengths), hidden]``."""
        with autocast(words.device, None):  # a product this small gains no speed from less precision
            return torch.cat([block(words) for block in self.blocks], dim=1)
