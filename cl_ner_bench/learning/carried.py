"""Tensors that a method keeps from step to step beside its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_OF_MODULES = vars(nn.Module()).keys()


class Carried(nn.Module):
    """Tensors by name, of any shape, that live as long as the parameters do.

    They are saved and restored with the model, and are those of the selected epoch once a step is over. A tensor that
    is assigned is copied to where the module lies; it has no gradient. A name may hold any characters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._place = torch.empty(0)

    def __setitem__(self, name: str, value: Tensor) -> None:
        self._buffers[name] = value.detach().to(self._place.device, copy=True)

    def __getitem__(self, name: str) -> Tensor:
        value = self._buffers[name]
        assert value is not None
        return value

    def __delitem__(self, name: str) -> None:
        del self._buffers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._buffers

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Carried:
        self._place = fn(self._place)
        super()._apply(fn, recurse)
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        """Hold what stands under the module's prefix, whatever it held before."""
        self._buffers.clear()
        for name, value in state_dict.items():
            self[name.removeprefix(prefix)] = value


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds beside parameters, buffers and modules; containers and tensors as copies."""
    return {name: _copied(value) for name, value in vars(module).items() if name not in _OF_MODULES}


def restore(module: nn.Module, known: Mapping[str, Any]) -> None:
    """Give a module back the ``attributes`` that it had, and take all others away."""
    for name in vars(module).keys() - _OF_MODULES - known.keys():
        delattr(module, name)
    vars(module).update({name: _copied(value) for name, value in known.items()})


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        copied = copy.copy(value)
        copied.update({key: _copied(entry) for key, entry in value.items()})
        return copied
    if isinstance(value, list):
        return [_copied(entry) for entry in value]
    return set(value) if isinstance(value, set) else value
