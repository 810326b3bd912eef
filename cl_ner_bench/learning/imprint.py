"""Imprinting: new rows of a cosine head start as the means of their words."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F

from cl_ner_bench.learning.learner import Batch, Learner, TagLearner
from cl_ner_bench.learning.tag_means import tag_means
from cl_ner_bench.models.heads.cosine import CosineHead


def imprint(learner: Learner, batches: Iterable[Batch]) -> None:
    """Set the new rows of a cosine head, as CFNER (Zheng et al., EMNLP 2022) does.

    The row of a new tag has the direction of the mean unit vector of its words, and the mean length of the old rows
    except O's. Without words, an I- takes the row of its B-, and a B- keeps its random row.
    """
    assert isinstance(learner, TagLearner)
    assert isinstance(learner.head, CosineHead)
    n_old = 1 + 2 * learner.n_old
    length = learner.head.weight[1:n_old].norm(dim=1).mean()
    means = tag_means(learner, batches, unit=True)
    learner.head.set_rows({tag: length * F.normalize(mean, dim=0) for tag, mean in means.items() if tag >= n_old})
