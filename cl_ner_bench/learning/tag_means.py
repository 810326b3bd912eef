"""Mean word vectors of tags."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, TagLearner


def tag_means(learner: TagLearner, batches: Iterable[Batch], unit: bool = False) -> dict[int, Tensor]:
    """Return the mean word vector ``[hidden]`` of each tag that occurs, in evaluation mode.

    Args:
        unit: scale each word vector to length 1 first.
    """
    columns, hidden = learner.n_columns, learner.encoder.hidden_size
    sums, counts = torch.zeros(columns, hidden, device=learner.device), torch.zeros(columns, device=learner.device)
    for batch, output in learner.outputs(batches):
        assert output.words is not None
        tags = batch.tag_targets(learner.head.types)
        sums.index_add_(0, tags, F.normalize(output.words) if unit else output.words)
        counts += torch.bincount(tags, minlength=columns)
    return {tag: sums[tag] / counts[tag] for tag in counts.nonzero()[:, 0].cpu().tolist()}
