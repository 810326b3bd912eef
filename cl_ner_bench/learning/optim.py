"""torch's fused AdamW without the class ``torch.optim.Optimizer``.

Creating that class imports torch's compiler: more than a second of processor time, and 70 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_DEFAULTS: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
_STATE = ("first", "second", "updates")
_State = dict[nn.Parameter, tuple[Tensor, Tensor, Tensor]]  # as _STATE names them: both moments, number of updates


class AdamW:
    """AdamW: the moments of all parameters, and their update.

    Args:
        groups: dicts with ``params``, ``lr`` and, where they differ from torch's defaults, ``betas``, ``eps``,
            ``weight_decay``.

    Raises:
        TypeError: a group has an unknown key, or lacks one.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self._groups = [_Group(**_DEFAULTS | dict(group)) for group in groups]

    def step(self, factor: float = 1.0) -> None:
        """Update all parameters that have a gradient, with ``factor`` times their group's learning rate."""
        for group in self._groups:
            group.step(factor)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters, in the order of the groups."""
        return [p for group in self._groups for p in group.params]

    @property
    def updated(self) -> set[nn.Parameter]:
        """The parameters that were updated at least once."""
        return {p for group in self._groups for p in group.state}

    @property
    def state(self) -> dict[str, Tensor]:
        """Moments and update counts, under ``group.position.name``, of the parameters that were updated.

        The tensors are in use: the next ``step`` changes them. Assigned tensors are copied; the groups must be equal.
        """
        return {
            f"{g}.{i}.{name}": value
            for g, i, p, state in self._places()
            if p in state
            for name, value in zip(_STATE, state[p], strict=True)
        }

    @state.setter
    def state(self, given: Mapping[str, Tensor]) -> None:
        for g, i, p, state in self._places():
            if f"{g}.{i}.updates" in given:
                first, second, updates = (given[f"{g}.{i}.{name}"] for name in _STATE)
                # The fused update requires moments with the memory layout of the parameter.
                moments = torch.empty_like(p).copy_(first), torch.empty_like(p).copy_(second)
                state[p] = (*moments, updates.to(p.device, copy=True))

    def _places(self) -> Iterator[tuple[int, int, nn.Parameter, _State]]:
        for g, group in enumerate(self._groups):
            for i, p in enumerate(group.params):
                yield g, i, p, group.state


class _Group:
    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        self.params, self.lr, self.betas, self.eps, self.weight_decay = list(params), lr, betas, eps, weight_decay
        self.state: _State = {}

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
