"""What the previous step's selected model says of the training sentences."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output

KEPT_BYTES = 1 << 29
"""Logits that would take more are not kept: the model is, and computes them again for each batch."""


class Teacher:
    """Logits of a learner as it is now, in evaluation mode (SpanKL, arXiv 2302.12200: taken once per task).

    Args:
        batches: the sentences that it will be asked about, in batches that suit an evaluation.
        dtype: of the logits that are kept; what is given is float32.
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
        """For the record of a step: what was done about its logits."""
        return f"{self.bytes} bytes kept" if self.learner is None else "computed again for each batch"

    def __call__(self, batch: Batch) -> Output:
        """Logits of the columns that the learner had, for each row of ``batch``; they lie where the learner does."""
        if self.learner is not None:
            return Output(self._logits(self.learner, batch))
        return Output(torch.cat([self.kept[e.index] for e in batch.examples], dim=1).float().T)

    @staticmethod
    def _logits(learner: Learner, batch: Batch) -> Tensor:
        with torch.no_grad():
            logits: Tensor = learner(batch).logits
        return logits
