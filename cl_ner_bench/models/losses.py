"""Losses that several methods use. They take logits and leave averaging to the method."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_ce(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return binary cross-entropy of logits ``[rows, types]``, summed over rows: ``[types]``.

    Args:
        rows, columns: positions of the targets that are 1; all others are 0.
    """
    result: Tensor = _BernoulliCE.apply(logits.T, rows, columns)
    return result


def bernoulli_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """Return KL(p || q) summed over rows: ``[types]``, for p = sigmoid(teacher) and q = sigmoid(student).

    Both logits are ``[rows, types]``; the teacher gets no gradient. SpanKL (arXiv 2302.12200):
    p ln(p/q) + (1-p) ln((1-p)/(1-q)), which for logits y and z is p (y - z) + softplus(z) - softplus(y).
    """
    result: Tensor = _BernoulliKL.apply(teacher.T, student.T)
    return result


class _BernoulliCE(torch.autograd.Function):
    """Binary cross-entropy on ``[types, rows]``; stores only the gradient (sigmoid minus target), no dense targets."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        gold = (columns, rows)
        loss = F.softplus(logits).sum(1)
        loss -= torch.zeros_like(loss).index_add_(0, columns, logits[gold])
        gradient = torch.sigmoid(logits)
        gradient[gold] -= 1
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0][:, None], None, None


class _BernoulliKL(torch.autograd.Function):
    """KL divergence on ``[types, rows]``; the gradient of each logit is q - p."""

    @staticmethod
    def forward(ctx: Any, teacher: Tensor, student: Tensor) -> Tensor:
        p = torch.sigmoid(teacher)
        ctx.save_for_backward(torch.sigmoid(student).sub_(p))
        loss = (teacher - student).mul_(p).add_(F.softplus(student)).sub_(F.softplus(teacher))
        return loss.sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * gradients[0][:, None]


def categorical_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Return KL(p || q) of each row: ``[rows]``, for p = softmax(teacher / T) and q = softmax(student / T).

    Teacher logits ``[rows, old]`` cover the first columns of student logits ``[rows, all]``. The teacher has no mass on
    new columns (logits of -inf), while the student's softmax runs over all columns, so mass on a new tag is penalised
    (ExtendNER as in the code of arXiv 2302.12200).
    """
    log_p = F.log_softmax(teacher / temperature, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)[:, : teacher.shape[1]]
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def open_ce(logits: Tensor, target: Tensor, open_columns: Tensor) -> Tensor:
    """Return cross-entropy, mean over words, that leaves the class of words with target 0 open.

    Args:
        logits: ``[words, columns]``.
        target: ``[words]``.
        open_columns: bool ``[words, columns]``: the columns that a word with target 0 may have. Its loss is minus the
            logarithm of their summed probability (MiB, Cermelli et al., CVPR 2020).
    """
    log_p = F.log_softmax(logits, dim=1)
    own = log_p.gather(1, target[:, None])[:, 0]
    any_open = log_p.masked_fill(~open_columns, float("-inf")).logsumexp(1)
    return -torch.where(target > 0, own, any_open).mean()
