"""Sentences as the encoder and the losses read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.models.span_head import span_count, span_index
from cl_ner_bench.models.tokeniser import Tokens


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence with its sub-tokens; ``index`` is its place among the sentences it was given with."""

    index: int
    sentence: Sentence
    tokens: Tokens

    @property
    def length(self) -> int:
        """Words."""
        return len(self.sentence.words)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentences that are learned together. Words and spans of all sentences follow one another, without padding."""

    examples: tuple[Example, ...]

    @property
    def tokens(self) -> list[Tokens]:
        return [e.tokens for e in self.examples]

    @property
    def lengths(self) -> list[int]:
        """Words of each sentence."""
        return [e.length for e in self.examples]

    def span_targets(self, types: Sequence[str]) -> Tensor:
        """0/1 floats ``[spans, len(types)]``: is this span a mention of this type?"""
        column = {t: c for c, t in enumerate(types)}
        target = torch.zeros(sum(map(span_count, self.lengths)), len(types))
        offset = 0
        for example in self.examples:
            for start, end, type in example.sentence.mentions:
                if type in column:
                    target[offset + span_index(start, end, example.length), column[type]] = 1.0
            offset += span_count(example.length)
        return target

    def tag_targets(self, types: Sequence[str]) -> Tensor:
        """BIO tag ids ``[words]`` over ``types``, 0 where no mention of them is labelled.

        Tags cannot nest: of mentions that overlap, the longest is kept (the first among equals).
        """
        column = {t: c for c, t in enumerate(types)}
        target = torch.zeros(sum(self.lengths), dtype=torch.long)
        offset = 0
        for example in self.examples:
            for start, end, type in sorted(example.sentence.mentions, key=lambda m: m.start - m.end):
                words = target[offset + start : offset + end]
                if type in column and not words.any():
                    words.fill_(2 + 2 * column[type])
                    words[0] -= 1
            offset += example.length
        return target


def shuffled(examples: Sequence[Example], size: int, stream: torch.Generator) -> Iterator[Batch]:
    """Batches of ``size`` in the random order that ``stream`` draws."""
    order = torch.randperm(len(examples), generator=stream).tolist()
    for start in range(0, len(order), size):
        yield Batch(tuple(examples[i] for i in order[start : start + size]))


def by_length(examples: Sequence[Example], budget: int) -> Iterator[Batch]:
    """Batches of similar length, each of at most ``budget`` sub-tokens (or one sentence), for evaluation."""
    batch: list[Example] = []
    used = 0
    for example in sorted(examples, key=lambda e: e.tokens.size):
        cost = example.tokens.size
        if batch and used + cost > budget:
            yield Batch(tuple(batch))
            batch, used = [], 0
        batch.append(example)
        used += cost
    if batch:
        yield Batch(tuple(batch))
