"""Sentences as the encoder and the losses read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.models.heads.span import span_count, span_index

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence with its sub-tokens; ``index`` is its place among the sentences it was given with.

    ``vectors`` are its word vectors ``[words, hidden]`` where the encoder is frozen and they were kept.
    """

    index: int
    sentence: Sentence
    tokens: Tokens
    vectors: Tensor | None = None

    @property
    def length(self) -> int:
        """Words."""
        return len(self.sentence.words)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentences that are learned together. Words and spans of all sentences follow one another, without padding.

    Its tensors lie on ``device``, where the sentences are learned.
    """

    examples: tuple[Example, ...]
    device: torch.device = _CPU

    @property
    def tokens(self) -> list[Tokens]:
        return [e.tokens for e in self.examples]

    @property
    def vectors(self) -> Tensor | None:
        """Word vectors ``[words, hidden]`` of all sentences, None where they were not kept."""
        kept = [e.vectors for e in self.examples if e.vectors is not None]
        return torch.cat(kept) if len(kept) == len(self.examples) else None

    @property
    def lengths(self) -> list[int]:
        """Words of each sentence."""
        return [e.length for e in self.examples]

    def span_gold(self, types: Sequence[str], width: int = 0) -> tuple[Tensor, Tensor]:
        """Where targets are 1: rows among the batch's spans and columns among ``types``, int64 ``[mentions]`` both.

        With a limit ``width`` (in words; 0 is none), wider spans have no row: their mentions are left out.
        """
        column = {t: c for c, t in enumerate(types)}
        rows, columns, offset = [], [], 0
        for example in self.examples:
            length = len(example.sentence.words)
            for start, end, type in example.sentence.mentions:
                if type in column and not 0 < width < end - start:
                    rows.append(offset + span_index(start, end, length, width))
                    columns.append(column[type])
            offset += span_count(length, width)
        return self._tensor(rows), self._tensor(columns)

    def tag_targets(self, types: Sequence[str]) -> Tensor:
        """BIO tag ids ``[words]`` over ``types``, 0 where no mention of them is labelled.

        Tags cannot nest: of mentions that overlap, the longest is kept (the first among equals).
        """
        column = {t: c for c, t in enumerate(types)}
        target: list[int] = []
        for example in self.examples:
            tags = [0] * example.length
            for start, end, type in sorted(example.sentence.mentions, key=lambda m: m.start - m.end):
                if type in column and not any(tags[start:end]):
                    inside = 2 + 2 * column[type]
                    tags[start:end] = [inside - 1] + [inside] * (end - start - 1)
            target += tags
        return self._tensor(target)

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device)


def shuffled(
    examples: Sequence[Example],
    size: int,
    stream: torch.Generator,
    pool: int = 1,
    device: torch.device = _CPU,
) -> Iterator[Batch]:
    """Batches of ``size`` in the random order that ``stream`` draws.

    With ``pool`` > 1, the sentences of each ``pool`` batches of that order are sorted by length before they are cut
    into batches, whose order ``stream`` then shuffles again. This saves padding and **changes training**: sentences
    are learned together with others of their length.
    """
    order = torch.randperm(len(examples), generator=stream).tolist()
    if pool > 1:
        for start in range(0, len(order), size * pool):
            pooled = slice(start, start + size * pool)
            order[pooled] = sorted(order[pooled], key=lambda i: examples[i].tokens.size)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if pool > 1:
        batches = [batches[i] for i in torch.randperm(len(batches), generator=stream).tolist()]
    for batch in batches:
        yield Batch(tuple([examples[i] for i in batch]), device)


def by_length(examples: Sequence[Example], budget: int, device: torch.device = _CPU) -> Iterator[Batch]:
    """Batches of similar length, each of at most ``budget`` sub-tokens (or one sentence), for evaluation."""
    # Sizes in one pass, as sentences that are met in another order than they were made in are slow to reach.
    sizes = [e.tokens.size for e in examples]
    batch: list[Example] = []
    used = 0
    for i in np.argsort(sizes, kind="stable").tolist():
        if batch and used + sizes[i] > budget:
            yield Batch(tuple(batch), device)
            batch, used = [], 0
        batch.append(examples[i])
        used += sizes[i]
    if batch:
        yield Batch(tuple(batch), device)
