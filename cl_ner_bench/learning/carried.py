"""Tensors that a method keeps from step to step beside its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_OF_MODULES = vars(nn.Module()).keys()


class Carried(nn.Module):
    """A mapping from names to tensors of any shape, stored with the model.

    Like parameters, the tensors are saved and restored; when a step ends, they take their values of the selected
    epoch. An assigned tensor is copied to the module's device, without gradient. A name may contain any characters.
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
        """Replace all tensors by those under the module's prefix."""
        self._buffers.clear()
        for name, value in state_dict.items():
            self[name.removeprefix(prefix)] = value


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module except parameters, buffers and modules; containers and tensors are copied."""
    return {name: _copied(value) for name, value in vars(module).items() if name not in _OF_MODULES}


def restore(module: nn.Module, known: Mapping[str, Any]) -> None:
    """Reset a module to ``attributes`` taken earlier; delete all attributes added since."""
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
