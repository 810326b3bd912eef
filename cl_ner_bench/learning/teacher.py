"""Outputs of the previous step's selected model for the training sentences."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output

KEPT_BYTES = 1 << 29
"""Limit for stored logits. Above it the model is kept instead and recomputes them for each batch."""


class Teacher:
    """The logits of a learner as it is now, in evaluation mode; computed once per task (SpanKL, arXiv 2302.12200).

    Args:
        batches: all sentences that will be asked for, in evaluation batches.
        dtype: of the stored logits; calls return float32.
    """

    def __init__(self, learner: Learner, batches: Sequence[Batch], dtype: torch.dtype) -> None:
        self.kept: dict[int, Tensor] = {}
        rows = sum(sum(learner.rows(batch.lengths)) for batch in batches)
        self.bytes = rows * learner.n_columns * dtype.itemsize
        self.learner = None if self.bytes <= KEPT_BYTES else copy.deepcopy(learner).requires_grad_(False).eval()
        if self.learner is None:
            learner.eval()
            for batch in batches:
                logits = self._logits(learner, batch).T.split(learner.rows(batch.lengths), dim=1)
                for example, part in zip(batch.examples, logits, strict=True):
                    self.kept[example.index] = part.to(dtype).contiguous()

    @property
    def how(self) -> str:
        """How the logits are supplied, for the record of the step."""
        return f"{self.bytes} bytes kept" if self.learner is None else "computed again for each batch"

    def __call__(self, batch: Batch) -> Output:
        """Return the logits of the teacher's columns for each row of ``batch``, on the learner's device."""
        if self.learner is not None:
            return Output(self._logits(self.learner, batch))
        return Output(torch.cat([self.kept[e.index] for e in batch.examples], dim=1).float().T)

    @staticmethod
    def _logits(learner: Learner, batch: Batch) -> Tensor:
        with torch.no_grad():
            logits: Tensor = learner(batch).logits
        return logits
