"""The base of all heads: they grow by one block of columns per task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Init = Callable[[str], torch.Generator]
"""Returns the random generator for the initial weights of a type (or of O). It is keyed by type, so the weights do not
depend on the order in which types are learned."""


class GrowingHead(nn.Module):
    """A linear layer that grows block by block; ``blocks[k]`` holds the columns of the k-th growth."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.blocks: Any = nn.ModuleList()
        self.grown: list[tuple[str, ...]] = []

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in column order."""
        return tuple(t for block in self.grown for t in block)

    @property
    def n_columns(self) -> int:
        """The number of logits of a row (a span or a word)."""
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:
        """The weights of all blocks ``[rows, hidden]``."""
        return torch.cat([block.weight for block in self.blocks])

    @property
    def bias(self) -> Tensor:
        """The biases of all blocks ``[rows]``."""
        return torch.cat([block.bias for block in self.blocks])

    def grow(self, types: Sequence[str], init: Init) -> None:
        """Add the columns of ``types``."""
        raise NotImplementedError

    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """Set the weights and biases of all blocks, for methods that compute them."""
        sizes = [len(block.bias) for block in self.blocks]
        with torch.no_grad():
            for block, rows, biases in zip(self.blocks, weight.split(sizes), bias.split(sizes), strict=True):
                block.weight.copy_(rows)
                block.bias.copy_(biases)

    def freeze_unlabelled(self, labelled: Collection[str]) -> None:
        """Freeze all blocks without a labelled type, and unfreeze the others."""
        for block, types in zip(self.blocks, self.grown, strict=True):
            block.requires_grad_(any(t in labelled for t in types))

    def _add(self, types: Sequence[str], weight: Tensor, bias: Tensor | None) -> None:
        block = nn.Linear(self.hidden_size, weight.shape[0], bias=bias is not None, device="meta")
        block.weight = nn.Parameter(weight)
        if bias is not None:
            block.bias = nn.Parameter(bias)
        device = next((p.device for p in self.blocks.parameters()), None)
        self.blocks.append(block if device is None else block.to(device))
        self.grown.append(tuple(types))
