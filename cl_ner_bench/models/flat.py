"""BERT's forward pass without padding: the sub-tokens of all windows of a batch, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.models.bert import Bert
from cl_ner_bench.models.dropout import Dropout

_GROUP_COST = 32
"""Sub-tokens that one more group is worth when windows are grouped by length."""

ROWS = 64
"""Matrices get a multiple of so many rows: for each new size of a bf16 product oneDNN compiles a kernel and keeps it,
which took a tenth of a training step and, in a long one, a gigabyte."""


def flat_states(backbone: Bert, embedded: Tensor, windows: Sequence[int], dropout: Dropout) -> Tensor:
    """Last hidden states ``[sub-tokens, hidden]``, as ``backbone`` gives them for each window alone.

    Args:
        embedded: word embeddings ``[sub-tokens, width]`` of all windows, one after the other.
        windows: sub-tokens of each window.

    Everything but attention works on single sub-tokens and needs no windows. Attention runs over groups of windows of
    similar length.
    """
    rate = _rate if backbone.training else _no_rate
    total = len(embedded)
    if extra := -total % ROWS:  # a window that nobody reads
        embedded, windows = F.pad(embedded, (0, 0, 0, extra)), [*windows, extra]
    states = _embed(backbone, embedded, windows)
    states = dropout(states, rate(backbone.embeddings.dropout))
    groups = Groups(windows, embedded.device)
    for layer in backbone.encoder.layer:
        own, mixed, inner, outer = layer.attention.self, layer.attention.output, layer.intermediate, layer.output
        weight = torch.cat([own.query.weight, own.key.weight, own.value.weight])
        bias = torch.cat([own.query.bias, own.key.bias, own.value.bias])
        heads = groups.pad(F.linear(states, weight, bias))
        context = groups.unpad(
            [_attend(h, mask, own, dropout, rate(own.dropout)) for h, mask in zip(heads, groups.masks, strict=True)]
        )
        mixture = dropout(mixed.dense(context), rate(mixed.dropout))
        states = mixed.LayerNorm(mixture + states)
        change = outer.dense(inner.intermediate_act_fn(inner.dense(states)))
        states = outer.LayerNorm(dropout(change, rate(outer.dropout)) + states)
    return states[:total]


def _rate(dropout: nn.Dropout) -> float:
    return dropout.p


def _no_rate(dropout: nn.Dropout) -> float:
    return 0.0


def _embed(backbone: Bert, embedded: Tensor, windows: Sequence[int]) -> Tensor:
    """Word, position and segment embeddings, normalised."""
    embeddings, first = backbone.embeddings, backbone.first_position
    places = torch.cat([torch.arange(first, first + n) for n in windows]).to(embedded.device)
    # The first segment's row is added to a table of positions, not to each sub-token.
    table = embeddings.position_embeddings.weight[: first + max(windows)] + embeddings.token_type_embeddings.weight[0]
    return embeddings.LayerNorm(embedded + F.embedding(places, table))


def _attend(heads: Tensor, mask: Tensor | None, attention: Any, dropout: Dropout, rate: float) -> Tensor:
    """Context ``[windows * longest, hidden]`` of queries, keys and values ``[windows, longest, 3 * hidden]``.

    In float32 also under autocast: on a CPU products so small are no faster in bf16, the fused kernel is several times
    slower in it, and each of their many shapes would get a compiled kernel of its own.
    """
    windows, longest, _ = heads.shape
    with torch.autocast(heads.device.type, enabled=False):
        parts = heads.float().view(windows, longest, 3, attention.num_attention_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if rate == 0:
            context = F.scaled_dot_product_attention(query, key, value, mask)
        else:  # the fused kernel would draw torch's dropout
            scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
            context = dropout((scores if mask is None else scores + mask).softmax(3), rate) @ value
    return context.transpose(1, 2).reshape(windows * longest, -1)


class Groups:
    """Windows grouped by length, so that little is padded.

    Attributes, one entry a group: ``shapes`` (windows, longest); ``real`` 0/1 ``[windows, longest]``; ``masks`` 0 and
    -inf for attention, None where nothing is padded.
    """

    def __init__(self, windows: Sequence[int], device: torch.device) -> None:
        starts = list(itertools.accumulate(windows, initial=0))
        order = sorted(range(len(windows)), key=lambda i: windows[i])
        self.shapes: list[tuple[int, int]] = []
        self.real: list[Tensor] = []
        self.masks: list[Tensor | None] = []
        taken: list[np.ndarray] = []
        padded = np.empty(starts[-1], dtype=np.int64)  # where each sub-token stands among the padded ones
        rows = 0
        for group in length_groups([windows[i] for i in order]):
            lengths = np.array([windows[i] for i in order[group]])
            first = np.array([starts[i] for i in order[group]])
            place = np.arange(lengths[-1])
            real = place < lengths[:, None]
            here = first[:, None] + np.minimum(place, lengths[:, None] - 1)
            taken.append(here.ravel())
            padded[here[real]] = rows + np.flatnonzero(real)
            rows += real.size
            self.shapes.append(real.shape)
            self.real.append(torch.from_numpy(real).to(device))
            blocked = torch.zeros(real.shape, device=device).masked_fill_(~self.real[-1], float("-inf"))
            self.masks.append(None if real.all() else blocked[:, None, None])
        self.taken = torch.from_numpy(np.concatenate(taken)).to(device)
        self.padded = torch.from_numpy(padded).to(device)

    def pad(self, values: Tensor) -> list[Tensor]:
        """``[sub-tokens, n]`` as one ``[windows, longest, n]`` a group."""
        moved: Tensor = _Pad.apply(values, self.taken, self.padded)
        parts = moved.split([windows * longest for windows, longest in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def unpad(self, values: Sequence[Tensor]) -> Tensor:
        """``[sub-tokens, n]`` of one ``[windows * longest, n]`` a group."""
        result: Tensor = _Unpad.apply(torch.cat(list(values)), self.taken, self.padded)
        return result


class _Pad(torch.autograd.Function):
    """Rows by index. Its gradient is a look-up too: what stands in for padding has none, and each row is read once."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, taken: Tensor, padded: Tensor) -> Tensor:
        ctx.padded = padded
        return values.index_select(0, taken)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0].index_select(0, ctx.padded), None, None


class _Unpad(torch.autograd.Function):
    """The reverse of ``_Pad``: padding gets a gradient of 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, taken: Tensor, padded: Tensor) -> Tensor:
        ctx.taken, ctx.padded = taken, padded
        return values.index_select(0, padded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        if len(ctx.taken) == len(ctx.padded):
            return gradient.index_select(0, ctx.taken), None, None
        zeros = gradient.new_zeros(len(ctx.taken), gradient.shape[1])
        return zeros.index_copy_(0, ctx.padded, gradient), None, None


def length_groups(lengths: Sequence[int]) -> list[slice]:
    """Cut ascending ``lengths`` into runs so that padded sub-tokens plus a cost per run are fewest (exact)."""
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first n, where its last run starts
    for n in range(1, len(lengths) + 1):
        best.append(min((best[a][0] + (n - a) * lengths[n - 1] + _GROUP_COST, a) for a in range(n)))
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][1])
    return [slice(a, b) for b, a in itertools.pairwise(cuts)][::-1]
