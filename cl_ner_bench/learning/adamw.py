"""AdamW as torch computes it (fused), without the class that torch wraps around it.

To make a ``torch.optim.Optimizer`` imports torch's compiler: more than a second of processor time, and 70 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_DEFAULTS: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}


class AdamW:
    """The moments of all parameters, and their update.

    Args:
        groups: ``params`` and ``lr`` of each, and what shall differ from torch's defaults: ``betas``, ``eps``,
            ``weight_decay``.

    Raises:
        TypeError: a group says something else, or not enough.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self._groups = [_Group(**_DEFAULTS | dict(group)) for group in groups]

    def step(self, factor: float = 1.0) -> None:
        """Update the parameters that have a gradient, at ``factor`` times the learning rate of their group."""
        for group in self._groups:
            group.step(factor)


class _Group:
    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        self.params, self.lr, self.betas, self.eps, self.weight_decay = list(params), lr, betas, eps, weight_decay
        self.state: dict[nn.Parameter, tuple[Tensor, Tensor, Tensor]] = {}  # both moments, number of updates

    @torch.no_grad()
    def step(self, factor: float) -> None:
        gradients = {p: p.grad for p in self.params if p.grad is not None}
        if not gradients:
            return
        for p in gradients.keys() - self.state.keys():
            self.state[p] = (torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device))
        first, second, updates = zip(*(self.state[p] for p in gradients), strict=True)
        adamw(
            list(gradients),
            list(gradients.values()),
            list(first),
            list(second),
            [],
            list(updates),
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=factor * self.lr,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )
