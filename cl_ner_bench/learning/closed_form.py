"""Helpers of methods that compute a classifier on a frozen encoder, without training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch, by_length
from cl_ner_bench.learning.learner import Learner, Step
from cl_ner_bench.learning.step import EVALUATION_BUDGET


class ClosedForm(Learner):
    """A learner with the frozen pretrained encoder; its other weights are computed when a step begins."""

    trains = False

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        self.requires_grad_(False)
        self.freeze_encoder()
        if step.train:
            self.fit(step)

    def fit(self, step: Step) -> None:
        """Compute the weights of a step that has sentences."""
        raise NotImplementedError

    def encoded(self, step: Step, positions: Iterable[int]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield train sentences in evaluation batches, with their word vectors ``[words, hidden]``."""
        for batch in by_length([step.examples[i] for i in positions], EVALUATION_BUDGET, step.device):
            with torch.no_grad():
                yield batch, self.encode(batch)


class PseudoTags:
    """The tags of a step's train words.

    A labelled word has the tag of its label. Any other word has the tag that the previous model gives it: O or a tag
    of an old type. In step 1 it has O.

    Attributes:
        counts: how often each tag occurs ``[columns]``.
    """

    def __init__(self, learner: Learner, step: Step) -> None:
        self._of: dict[int, Tensor] = {}
        known = 1 + 2 * learner.n_old
        for batch, output in learner.outputs(step.batches()):
            gold = batch.tag_targets(learner.head.types)
            tags = gold.where(gold > 0, output.logits[:, :known].argmax(1)) if learner.n_old else gold
            self._of |= zip([e.index for e in batch.examples], tags.split(batch.lengths), strict=True)
        self.counts = torch.bincount(torch.cat(list(self._of.values())), minlength=learner.n_columns)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the tags of train sentences ``[words]``."""
        return torch.cat([self._of[e.index] for e in batch.examples])


def tag_columns(types: Sequence[str], wanted: Collection[str]) -> list[int]:
    """Return the columns of the B and I tags of the ``wanted`` among ``types``."""
    return [tag for i, type in enumerate(types) if type in wanted for tag in (1 + 2 * i, 2 + 2 * i)]


def hold_out(count: int) -> tuple[list[int], list[int]]:
    """Split the positions of ``count`` sentences into four fifths and one fifth, by torch's global stream."""
    order = torch.randperm(count).tolist()
    return order[count // 5 :], order[: count // 5]


def best_threshold(scores: Tensor, gold: Tensor, counts: Tensor) -> tuple[float, float] | None:
    """Return the threshold with the highest F1, and that F1 (0..1); None if no row is gold.

    A row is accepted if its score is above the threshold, which lies midway between two scores.

    Args:
        scores: ``[rows]``.
        gold: bool ``[rows]``.
        counts: the number of rows that each row stands for ``[rows]``.
    """
    if not gold.any():
        return None
    order = scores.argsort(descending=True)
    ranked, counts, right = scores[order], counts[order], (gold * counts)[order]
    f1 = 2 * right.cumsum(0) / (counts.cumsum(0) + right.sum())
    # Between equal scores there is no threshold.
    f1 = f1.where(torch.cat([ranked[:-1] > ranked[1:], ranked.new_ones(1, dtype=torch.bool)]), 0.0)
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1
    return float((ranked[best] + below) / 2), float(f1[best])


def clusters(vectors: Tensor, count: int, rounds: int = 10) -> Tensor:
    """Return at most ``count`` centres of ``vectors`` by Lloyd's k-means, from random vectors as first centres."""
    centres = vectors[torch.randperm(len(vectors))[:count].to(vectors.device)]
    for _ in range(rounds if len(vectors) else 0):
        nearest = torch.cdist(vectors, centres).argmin(1)
        sizes = torch.bincount(nearest, minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres
