"""Contrastive losses of word vectors, and the similarity of words to class means."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE, BASE_TEMPERATURE = 0.1, 0.07

Vectors = tuple[Tensor, Tensor]
"""Vectors ``[words, hidden]`` and their types ``[words]`` (0: O)."""


def type_contrast(unit: Tensor, labels: Tensor) -> Tensor:
    """Return the contrast that draws words of one type (labels > 0) together, against all other words."""
    other = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    positive = other & (labels[:, None] == labels) & (labels > 0)
    return contrast(unit @ unit.T, positive, other)


def open_contrast(unit: Tensor, labels: Tensor, o: Tensor, threshold: float) -> Tensor:
    """Return the contrast of types and of O.

    A word of a type counts as in ``type_contrast``. A word of O is drawn to the words of ``o`` (bool ``[words]``) whose
    cosine with it exceeds ``threshold``; its softmax runs over these and over the words of types.
    """
    cosine = unit @ unit.T
    other = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    typed = labels > 0
    alike = other & ~typed[:, None] & o & (cosine > threshold)
    same = other & typed & (labels[:, None] == labels)
    among = torch.where(typed[:, None], other.long(), typed.long() + alike.long())
    return contrast(cosine, same | alike, among)


def contrast(cosine: Tensor, positive: Tensor, among: Tensor) -> Tensor:
    """Return the supervised contrastive loss of Khosla et al. (NeurIPS 2020); all arguments are ``[words, words]``.

    It is T / base T times the mean of -ln softmax(cosine / T) over a word's positives, averaged over the words that
    have some. ``among`` says how often each word counts in the softmax.
    """
    anchors = positive.any(1)
    if not anchors.any():
        return cosine.new_zeros(())
    similarity, positive = cosine[anchors] / TEMPERATURE, positive[anchors]
    total = (similarity + among[anchors].to(cosine.dtype).log()).logsumexp(1, keepdim=True)
    loss = ((total - similarity) * positive).sum(1) / positive.sum(1)
    return TEMPERATURE / BASE_TEMPERATURE * loss.mean()


def class_means(parts: Iterable[Vectors], n: int, hidden: int) -> Tensor:
    """Return the direction of each class's mean unit vector ``[n, hidden]``; 0 for a class without words."""
    sums = torch.zeros(n, hidden)
    for words, labels in parts:
        sums = sums.to(words).index_add_(0, labels, F.normalize(words))
    return F.normalize(sums)


def least_similarity(parts: Iterable[Vectors], means: Tensor) -> Tensor:
    """Return the least cosine of a class's words with its mean ``[classes]``; infinite for a class without words."""
    least = torch.full_like(means[:, 0], float("inf"))
    for words, labels in parts:
        similarity = (F.normalize(words) * means[labels]).sum(1)
        least = least.scatter_reduce(0, labels, similarity, "amin")
    return least


def median_similarity(unit: Tensor, labels: Tensor) -> float:
    """Return the lower median over types of the mean positive cosine between words of a type; infinite without any."""
    means = []
    for type in labels[labels > 0].unique():
        own = unit[labels == type]
        cosine = (own @ own.T)[~torch.eye(len(own), dtype=torch.bool, device=unit.device)]
        if (cosine > 0).any():
            means.append(cosine[cosine > 0].mean())
    return torch.stack(means).median().item() if means else math.inf
