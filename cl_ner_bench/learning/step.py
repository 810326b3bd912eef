"""The current step as hooks see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import torch

from cl_ner_bench.learning.batches import Batch, Example, by_length
from cl_ner_bench.learning.output import Output
from cl_ner_bench.scenarios.task import StepData

EVALUATION_BUDGET = 1024
"""The limit of sub-tokens in an evaluation batch. On a CPU, the activations of larger batches exceed the cache."""


@dataclass(frozen=True)
class Step(StepData):
    """A step's data with the labels that a method may see, batches on the learner's device, and the teacher.

    ``Example.index`` is a sentence's position in its part. ``Learner.outputs`` runs the model over batches.

    Attributes:
        teacher: a function that returns the previous model's output for a batch of train sentences; None in step 1 and
            for methods without the need ``teacher``.
        epochs: the number of epochs of the step.
    """

    teacher: Callable[[Batch], Output] | None = field(default=None, repr=False, compare=False)
    examples: Sequence[Example] = field(default=(), repr=False, compare=False)
    dev_examples: Sequence[Example] = field(default=(), repr=False, compare=False)
    device: torch.device = field(default=torch.device("cpu"), repr=False, compare=False)
    epochs: int = field(default=0, compare=False)

    @classmethod
    def of(
        cls,
        data: StepData,
        teacher: Callable[[Batch], Output] | None,
        examples: Sequence[Example],
        dev_examples: Sequence[Example],
        device: torch.device,
        epochs: int,
    ) -> Step:
        """Return the step of ``data``, which holds only what a method may see."""
        values = {f.name: getattr(data, f.name) for f in fields(StepData)}
        return cls(
            **values, teacher=teacher, examples=examples, dev_examples=dev_examples, device=device, epochs=epochs
        )

    def batches(self, part: Literal["train", "dev"] = "train") -> Iterator[Batch]:
        """Yield all sentences of a part in evaluation batches, by length."""
        yield from by_length(self.examples if part == "train" else self.dev_examples, EVALUATION_BUDGET, self.device)

    def batch(self, positions: Iterable[int]) -> Batch:
        """Return the train sentences at ``positions`` as a batch."""
        return Batch(tuple(self.examples[i] for i in positions), self.device)
