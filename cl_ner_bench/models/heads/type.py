"""A head of types without B and I, and the mentions that its classes form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.models.heads.growing import Init
from cl_ner_bench.models.heads.tag import TagHead


class TypeHead(TagHead):
    """A head with logits over O and the types, without B and I."""

    @property
    def n_columns(self) -> int:
        return 1 + len(self.types)

    def grow(self, types: Sequence[str], init: Init) -> None:
        if not self.grown:
            self._add((), *self._rows(1, init("O")))
        rows = [self._rows(1, init(t)) for t in types]
        self._add(types, torch.cat([w for w, _ in rows]), torch.cat([b for _, b in rows]))


def with_begins(scores: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return BIO scores ``[words, 1 + 2 * types]`` from scores over O and types ``[words, 1 + types]``.

    A mention is a run of words with the same best type; its first word gets B, the others get I.
    """
    best = scores.argmax(1)
    changed = [F.pad(own[1:] != own[:-1], (1, 0), value=True) for own in best.split(list(lengths)) if len(own)]
    begins = torch.cat([best[:0] > 0, *changed])
    types, never = scores[:, 1:], float("-inf")
    pair = torch.stack([types.masked_fill(~begins[:, None], never), types.masked_fill(begins[:, None], never)], dim=2)
    return torch.cat([scores[:, :1], pair.flatten(1)], dim=1)
