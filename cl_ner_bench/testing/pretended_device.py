"""A device that no machine needs to have: tensors that say they lie on it and compute on the CPU.

A GPU raises where it meets tensors of the CPU, and so does this device: code that leaves anything behind is found
without a GPU, and what it computes can be compared with what the CPU does. It is called ``meta``, which is the only
name besides ``cpu`` whose gradients torch computes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "meta"
_ACROSS = {torch.ops.aten.copy_.default}
"""Operations that may take tensors of two devices."""
_INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}
"""Operations whose indices, the second argument, may lie on the CPU."""
_INITIAL = {torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default}
"""Operations that fill new layers. On the device "meta", where layers are made that are filled later, they draw nothing
from the CPU's stream."""


class Elsewhere(Tensor):
    """A tensor on the device; ``values`` is where it really is."""

    values: Tensor  # type: ignore[assignment]  # torch's own is a method for sparse tensors

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(DEVICE),
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(operation, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """While it is entered, the device is there; ``operations`` counts what was computed on it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that torch's compiler, an import of seconds, need not be told to leave each operation alone."""
        return False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _compute(operation, args, kwargs or {})
        self.operations += any(isinstance(part, Elsewhere) for part in _tensors(result))
        return result


def _compute(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    device = kwargs.get("device")
    wrappers: dict[int, Elsewhere] = {}
    left: list[Tensor] = []  # on the CPU

    def values(part: Tensor) -> Tensor:
        if isinstance(part, Elsewhere):
            wrappers[id(part.values)] = part
            return part.values
        left.append(part)
        return part

    own = [_replaced(values, part) for part in args]
    by_name = {name: _replaced(values, part) for name, part in kwargs.items()}
    if not wrappers and device is None:  # of the CPU alone
        return operation(*args, **kwargs)
    if wrappers and operation not in _ACROSS:
        allowed = [*_tensors(args[1])] if operation in _INDEXING else []
        if any(part.ndim > 0 and all(part is not index for index in allowed) for part in left):  # single numbers may
            raise RuntimeError(f"{operation}: expected all tensors to be on the same device, but some are on the CPU")
    stream = torch.get_rng_state() if operation in _INITIAL and wrappers else None
    result = operation(*own, **(by_name | ({"device": "cpu"} if device else {})))
    if stream is not None:
        torch.set_rng_state(stream)
    there = bool(wrappers) if device is None else torch.device(device).type == DEVICE

    def placed(part: Tensor) -> Tensor:
        known = wrappers.get(id(part))
        return known if known is not None else Elsewhere(part) if there else part

    return _replaced(placed, result)


def _tensors(parts: Any) -> Iterator[Tensor]:
    """Yield the tensors among the arguments or results of an operation, those in lists and tuples, too."""
    if isinstance(parts, Tensor):
        yield parts
    elif isinstance(parts, list | tuple):  # torch's own walk through containers takes longer than the operations
        for part in parts:
            yield from _tensors(part)


def _replaced(replace: Callable[[Tensor], Tensor], parts: Any) -> Any:
    """Return arguments or results with each tensor replaced."""
    if isinstance(parts, Tensor):
        return replace(parts)
    return type(parts)([_replaced(replace, part) for part in parts]) if isinstance(parts, list | tuple) else parts
