"""Log-likelihoods of labels drawn from the model's own prediction, by torch's global stream.

The mean square of their gradient is the diagonal of the Fisher information.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def of_drawn_classes(logits: Tensor) -> Tensor:
    """Return the log-likelihood, summed over rows, of one class drawn for each row ``[rows, classes]``."""
    drawn = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
    return -F.cross_entropy(logits, drawn, reduction="sum")


def of_drawn_columns(logits: Tensor) -> Tensor:
    """Return the log-likelihood, summed over all entries, of a 0 or 1 drawn for each (1: its sigmoid)."""
    return -F.binary_cross_entropy_with_logits(logits, torch.bernoulli(logits.detach().sigmoid()), reduction="sum")
