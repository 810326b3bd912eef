"""A pretended device: its tensors claim to be on another device, but compute on the CPU.

Like a GPU, it raises an error for an operation that mixes its tensors with tensors on the CPU. This finds tensors left
on the CPU without a GPU, and its results can be compared with the CPU's. It is called ``meta``, the only name besides
``cpu`` for which torch computes gradients everywhere.
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
"""Operations that fill new layers. Layers on the device "meta" are filled later, so there these operations leave the
CPU's random stream as it is."""


class Elsewhere(Tensor):
    """A tensor on the pretended device; ``values`` holds its numbers on the CPU."""

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
    """A mode in which the device exists; ``operations`` counts the operations on it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, so torch does not import its compiler (seconds) to exclude each operation from compiling."""
        return False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _compute(operation, args, kwargs or {})
        self.operations += any(isinstance(part, Elsewhere) for part in _tensors(result))
        return result


def _compute(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    device = kwargs.get("device")
    wrappers: dict[int, Elsewhere] = {}
    left: list[Tensor] = []  # tensors on the CPU

    def values(part: Tensor) -> Tensor:
        if isinstance(part, Elsewhere):
            wrappers[id(part.values)] = part
            return part.values
        left.append(part)
        return part

    own = [_replaced(values, part) for part in args]
    by_name = {name: _replaced(values, part) for name, part in kwargs.items()}
    if not wrappers and device is None:  # only the CPU is involved
        return operation(*args, **kwargs)
    if wrappers and operation not in _ACROSS:
        allowed = [*_tensors(args[1])] if operation in _INDEXING else []
        if any(part.ndim > 0 and all(part is not index for index in allowed) for part in left):  # scalars are exempt
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
    """Yield the tensors among the arguments or results of an operation, also inside lists and tuples."""
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
