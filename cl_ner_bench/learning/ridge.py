"""Ridge regression from sums over rows; each step may add rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Words or spans of a batch.

    Attributes:
        features: ``[rows, features]``.
        targets: 0 or 1 ``[rows, columns]``.
        weights: the weight of each row in the fit ``[rows]``.
        counts: the number of rows of the text that each row stands for ``[rows]``.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor
    counts: Tensor


class Sums:
    """The sums over rows that a ridge regression needs, in double precision: w phi phi^T, w phi y^T and w y."""

    def __init__(self, features: int, columns: int, device: torch.device) -> None:
        zeros = {"dtype": torch.double, "device": device}
        self.gram = torch.zeros(features, features, **zeros)  # type: ignore[call-overload]
        self.products = torch.zeros(features, columns, **zeros)  # type: ignore[call-overload]
        self.positives = torch.zeros(columns, **zeros)  # type: ignore[call-overload]

    def add(self, rows: Rows) -> None:
        """Add rows; neither their order nor their grouping matters."""
        weighted = rows.features * rows.weights[:, None]
        self.gram += rows.features.T @ weighted
        self.products += weighted.T @ rows.targets
        self.positives += rows.weights @ rows.targets

    def solve(self, ridge: float) -> Tensor:
        """Return the weights ``[columns, features]``: (G + ridge * mean(diag G) * I)^-1 Q, G = gram, Q = products."""
        diagonal = self.gram.diagonal()
        added = torch.diag(torch.full_like(diagonal, ridge * float(diagonal.mean())))
        return torch.linalg.solve(self.gram + added, self.products).T
