"""Outputs of the previous step's selected model for the training sentences."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.output import Output

STORED_BYTES = 1 << 29
"""Limit for stored logits. Above it the model is kept instead and recomputes them for each batch."""


class Teacher:
    """The outputs of a learner as it is now, in evaluation mode.

    If the learner needs only logits, these are computed once per task and stored (SpanKL, arXiv 2302.12200). If they
    are too large, or the learner needs more, a copy of the learner is kept and computes each batch again.

    Args:
        batches: all sentences that calls will ask for, in evaluation batches.
        dtype: the type of the stored logits; calls return float32.

    Attributes:
        seconds: the wall-clock time spent here so far. A GPU that computes batches again adds only the time to queue
            them.
    """

    def __init__(self, learner: Learner, batches: Sequence[Batch], dtype: torch.dtype) -> None:
        started = time.perf_counter()
        self.stored: dict[int, Tensor] = {}
        self._features = "features" in learner.needs
        rows = sum(sum(learner.rows(batch.lengths)) for batch in batches)
        self.bytes = rows * learner.n_columns * dtype.itemsize
        store = self.bytes <= STORED_BYTES and not learner.needs & {"features", "layers", "attentions"}
        self.learner = None if store else copy.deepcopy(learner).requires_grad_(False).eval()
        if self.learner is not None:
            self.learner.teaches = True
        if store:
            for batch, output in learner.outputs(batches):
                logits = output.logits.T.split(learner.rows(batch.lengths), dim=1)
                for example, part in zip(batch.examples, logits, strict=True):
                    self.stored[example.index] = part.to(dtype).contiguous()
        self.seconds = time.perf_counter() - started

    @property
    def how(self) -> str:
        """The way in which outputs are supplied, for the record of the step."""
        return f"{self.bytes} bytes kept" if self.learner is None else "computed again for each batch"

    def __call__(self, batch: Batch) -> Output:
        """Return the outputs for train sentences, on the batch's device; logits cover the teacher's columns.

        A learner that needs more than logits may also pass other sentences.
        """
        started = time.perf_counter()
        try:
            return self._outputs(batch)
        finally:
            self.seconds += time.perf_counter() - started

    def _outputs(self, batch: Batch) -> Output:
        if self.learner is None:
            return Output(torch.cat([self.stored[e.index] for e in batch.examples], dim=1).float().T)
        with torch.no_grad():
            output: Output = self.learner(batch)
        return output if self._features else replace(output, words=None)
