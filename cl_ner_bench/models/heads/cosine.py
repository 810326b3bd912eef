"""The cosine head: tag logits that do not depend on the lengths of word vectors and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.models.heads.growing import Init
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.precision import autocast


class CosineHead(TagHead):
    """A head with logits ``scale * cos(word, row)`` over the tags of ``TagHead``, without biases.

    Rows grow as in ``TagHead``. In LUCIR (CVPR 2019) and CFNER (EMNLP 2022) the scale starts at 1.

    Args:
        scale: the value at which a learned scale starts; None: the scale is always 1.
    """

    def __init__(self, hidden_size: int, scale: float | None = None) -> None:
        super().__init__(hidden_size)
        self.scale = 1.0 if scale is None else nn.Parameter(torch.tensor(scale))

    @property
    def bias(self) -> Tensor:
        """Zeros ``[rows]``."""
        return self.weight.new_zeros(self.n_columns)

    def grow(self, types: Sequence[str], init: Init) -> None:
        if not self.grown:
            self._add((), self._rows(1, init("O"))[0], None)
        self._add(types, torch.cat([self._rows(2, init(t))[0] for t in types]), None)

    @property
    def scaled_rows(self) -> Tensor:
        return self.scale * F.normalize(self.weight)

    def scaled(self, words: Tensor) -> Tensor:
        return F.normalize(words)

    def forward(self, words: Tensor, lengths: Sequence[int]) -> Tensor:
        with autocast(words.device, None):
            return F.linear(self.scaled(words), self.scaled_rows)

    @torch.no_grad()
    def set_rows(self, rows: Mapping[int, Tensor]) -> None:
        """Set the rows of the given tags. An I- without a row takes the row of its B-."""
        inside = {tag + 1: row for tag, row in rows.items() if tag % 2}
        tags = iter(range(self.n_columns))
        for block in self.blocks:
            for own in block.weight:
                tag = next(tags)
                if (row := rows.get(tag, inside.get(tag))) is not None:
                    own.copy_(row)
