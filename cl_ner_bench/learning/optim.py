"""Optimisers on torch's functional updates, without the class ``torch.optim.Optimizer``.

Creating an instance of it imports torch's compiler, which takes more than a second of processor time and 70 MB.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw


class Optimizer(ABC):
    """The state of all parameters, and their update.

    Args:
        groups: dicts with ``params``, ``lr`` and, if they differ from the defaults, the options in ``defaults``.

    Raises:
        TypeError: a group has an unknown key, or lacks one.
    """

    names: ClassVar[tuple[str, ...]]
    """The names of the tensors in a parameter's state; the last one, ``updates``, is a counter."""
    defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self._groups = [_Group(self.defaults, **group) for group in groups]

    @abstractmethod
    def update(self, group: _Group, parameters: list[nn.Parameter], factor: float) -> None:
        """Update ``parameters`` of a group; each has a gradient and a state."""

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """Update all parameters that have a gradient, with ``factor`` times their group's learning rate."""
        for group in self._groups:
            learning = [p for p in group.params if p.grad is not None]
            for p in learning:
                if p not in group.state:
                    zeros = (torch.zeros_like(p) for _ in self.names[:-1])
                    group.state[p] = (*zeros, torch.zeros((), device=p.device))
            if learning:
                self.update(group, learning, factor)

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
        """The state of the parameters that were updated, by ``group.position.name``.

        The next ``step`` changes these tensors. Assigned tensors are copied; they must come from equal groups.
        """
        return {
            f"{g}.{i}.{name}": value
            for g, i, p, state in self._places()
            if p in state
            for name, value in zip(self.names, state[p], strict=True)
        }

    @state.setter
    def state(self, given: Mapping[str, Tensor]) -> None:
        for g, i, p, state in self._places():
            if f"{g}.{i}.updates" in given:
                *tensors, updates = (given[f"{g}.{i}.{name}"] for name in self.names)
                # The fused update requires the memory layout of the parameter.
                own = (torch.empty_like(p).copy_(tensor) for tensor in tensors)
                state[p] = (*own, updates.to(p.device, copy=True))

    def _places(self) -> Iterator[tuple[int, int, nn.Parameter, dict[nn.Parameter, tuple[Tensor, ...]]]]:
        for g, group in enumerate(self._groups):
            for i, p in enumerate(group.params):
                yield g, i, p, group.state


class _Group:
    def __init__(self, defaults: Mapping[str, Any], params: Iterable[nn.Parameter], lr: float, **options: Any) -> None:
        if unknown := options.keys() - defaults.keys():
            raise TypeError(f"unknown option {sorted(unknown)[0]!r} of a parameter group; known: {', '.join(defaults)}")
        self.params, self.lr, self.options = list(params), lr, {**defaults, **options}
        self.state: dict[nn.Parameter, tuple[Tensor, ...]] = {}


class AdamW(Optimizer):
    """torch's fused AdamW."""

    names = ("first", "second", "updates")
    defaults: ClassVar = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}

    def update(self, group: _Group, parameters: list[nn.Parameter], factor: float) -> None:
        first, second, updates = zip(*(group.state[p] for p in parameters), strict=True)
        beta1, beta2 = group.options["betas"]
        adamw(
            list(parameters),
            [p.grad for p in parameters if p.grad is not None],
            list(first),
            list(second),
            [],
            list(updates),
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=factor * group.lr,
            weight_decay=group.options["weight_decay"],
            eps=group.options["eps"],
            maximize=False,
        )


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; the first update takes the gradient as it is, as in torch."""

    names = ("momentum", "updates")
    defaults: ClassVar = {"momentum": 0.9, "weight_decay": 0.0}

    def update(self, group: _Group, parameters: list[nn.Parameter], factor: float) -> None:
        for p in parameters:
            momentum, updates = group.state[p]
            assert p.grad is not None
            momentum.mul_(group.options["momentum"]).add_(p.grad, alpha=1).add_(p, alpha=group.options["weight_decay"])
            p.add_(momentum, alpha=-factor * group.lr)
            updates += 1


def scheduled(schedule: str, update: int, warmup: int, updates: int) -> float:
    """Return the factor on the learning rate at ``update`` (from 0): linear warm-up, then the schedule.

    ``cosine``: half a cosine down to 0; ``linear``: a line down to 0; ``constant``: 1.
    """
    if update < warmup:
        return update / warmup
    if schedule == "constant":
        return 1.0
    share = (update - warmup) / max(1, updates - warmup)
    return 1 - share if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))
