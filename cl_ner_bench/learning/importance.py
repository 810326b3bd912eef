"""The importance of parameters: how strongly a model's output depends on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, Step

Objective = Callable[[Batch, Output], Tensor]
"""Returns the scalar whose gradient is measured, for a batch of one sentence."""


def importance(
    learner: Learner,
    sentences: Iterable[Batch],
    objective: Objective,
    measure: Callable[[Tensor], Tensor] = torch.square,
) -> dict[str, Tensor]:
    """Return, for each trainable parameter, the mean over sentences of a measure of the objective's gradient.

    The model runs in evaluation mode; its weights and its ``grad`` do not change.

    Args:
        sentences: batches of one sentence each. The square of a larger batch's mean gradient would shrink with the
            size of the batch.
        measure: the function that is applied to each element of a sentence's gradient.
    """
    parameters = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    if not parameters:  # everything is frozen
        return {}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    training, count = learner.training, 0
    learner.eval()
    for batch in sentences:
        value = objective(batch, learner(batch))
        gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += measure(gradient)
        count += 1
    learner.train(training)
    return {name: value / max(1, count) for name, value in total.items()}


def drawn_sentences(step: Step, at_most: int) -> Iterator[Batch]:
    """Yield up to ``at_most`` train sentences, one per batch, drawn from torch's global stream."""
    for position in torch.randperm(len(step.train))[:at_most].tolist():
        yield step.batch([position])
