"""What the two heads share: they grow by a block of columns a task, and each type's start is its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

Init = Callable[[str], torch.Generator]
"""Gives the random stream of a type's (or of O's) initial weights; keyed by type, so that the order in which types are
learned does not change how a type begins."""


class GrowingHead(nn.Module):
    """A linear layer whose rows arrive block by block; ``blocks[k]`` holds the rows of the k-th growth."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.blocks = nn.ModuleList()
        self.grown: list[tuple[str, ...]] = []

    @property
    def types(self) -> tuple[str, ...]:
        """The types known so far, in column order."""
        return tuple(t for block in self.grown for t in block)

    @property
    def n_columns(self) -> int:
        """How many logits a row (a span, or a word) has."""
        raise NotImplementedError

    def grow(self, types: Sequence[str], init: Init) -> None:
        """Add the columns of ``types``."""
        raise NotImplementedError

    def freeze_unlabelled(self, labelled: Collection[str]) -> None:
        """Let those blocks learn that hold a labelled type, and no others."""
        for block, types in zip(self.blocks, self.grown, strict=True):
            block.requires_grad_(any(t in labelled for t in types))

    def _add(self, types: Sequence[str], weight: Tensor, bias: Tensor) -> None:
        block = nn.Linear(self.hidden_size, weight.shape[0], device="meta")
        block.weight, block.bias = nn.Parameter(weight), nn.Parameter(bias)
        device = next((p.device for p in self.blocks.parameters()), None)
        self.blocks.append(block if device is None else block.to(device))
        self.grown.append(tuple(types))
