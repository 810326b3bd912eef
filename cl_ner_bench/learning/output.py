"""The output of a model for a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a student or a teacher for a batch. All tensors are on the batch's device.

    Attributes:
        logits: ``[spans, columns]`` or ``[words, columns]``.
        words: word vectors ``[words, hidden]``. A student's are after dropout; a teacher has them only for methods with
            the need ``features``.
        layers: hidden states ``[words, hidden]`` of the embeddings, then of each layer (need ``layers``).
        attentions: for each layer, for each window of the batch, the attention ``[heads, sub-tokens, sub-tokens]``
            before dropout; rows are queries and sum to 1 (need ``attentions``).
    """

    logits: Tensor
    words: Tensor | None = None
    layers: tuple[Tensor, ...] = ()
    attentions: tuple[tuple[Tensor, ...], ...] = ()
