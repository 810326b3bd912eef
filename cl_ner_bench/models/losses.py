"""Losses that several methods use. Logits in, one value an element out: how to average is the method's to say."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(p || q) elementwise for p = sigmoid(teacher), q = sigmoid(student); same shape as both.

    SpanKL (arXiv 2302.12200): p ln(p/q) + (1-p) ln((1-p)/(1-q)), in log-sigmoids.
    """
    p = torch.sigmoid(teacher)
    return p * (F.logsigmoid(teacher) - F.logsigmoid(student)) + (1 - p) * (
        F.logsigmoid(-teacher) - F.logsigmoid(-student)
    )


def categorical_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(p || q) a row, ``[rows]``: p = softmax of teacher logits ``[rows, old]``, q of student logits ``[rows, all]``.

    The old columns come first. The teacher gives the new ones no mass (its logits there are -inf), while the student's
    softmax runs over all columns, so that mass on a new tag is punished (ExtendNER as in arXiv 2302.12200's code).
    """
    log_p = F.log_softmax(teacher / temperature, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)[:, : teacher.shape[1]]
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
