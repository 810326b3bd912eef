"""Batches of tokenised sentences, and their targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.models.transfer import moved

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence with its sub-tokens.

    Attributes:
        index: the sentence's position in its part.
        vectors: word vectors ``[words, hidden]``, stored if the encoder is frozen.
        labelled: the types labelled in the sentence; None: the types labelled in the step.
    """

    index: int
    sentence: Sentence
    tokens: Tokens
    vectors: Tensor | None = None
    labelled: tuple[str, ...] | None = None

    @property
    def length(self) -> int:
        """The number of words."""
        return len(self.sentence.words)

    def with_mentions(self, found: Sequence[Prediction], types: Sequence[str]) -> Example:
        """Return the example with predictions as additional mentions and ``types`` as additional labelled types."""
        mentions = sorted((*self.sentence.mentions, *(Mention(*prediction[:3]) for prediction in found)))
        sentence = replace(self.sentence, mentions=tuple(mentions))
        return replace(self, sentence=sentence, labelled=(*(self.labelled or ()), *types))


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentences that are computed together: their words and spans are concatenated, without padding.

    All tensors are on ``device``.
    """

    examples: tuple[Example, ...]
    device: torch.device = _CPU

    @property
    def tokens(self) -> list[Tokens]:
        return [e.tokens for e in self.examples]

    @property
    def vectors(self) -> Tensor | None:
        """Word vectors ``[words, hidden]`` of all sentences; None if they are not stored."""
        kept = [e.vectors for e in self.examples if e.vectors is not None]
        return torch.cat(kept) if len(kept) == len(self.examples) else None

    @property
    def lengths(self) -> list[int]:
        """The number of words of each sentence."""
        return [e.length for e in self.examples]

    def span_gold(self, types: Sequence[str], width: int = 0) -> tuple[Tensor, Tensor]:
        """Return each mention's row among the spans and its column among ``types``: int64 ``[mentions]``.

        With a span limit of ``width`` words (0: none), longer mentions are left out.
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
        """Return BIO tag ids ``[words]`` over ``types``; 0 outside their labelled mentions.

        Tags cannot nest: of overlapping mentions the longest is kept (the first among equals).
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

    def open_tags(self, types: Sequence[str], labelled: Sequence[str]) -> Tensor:
        """Return the tags that a word without a label may have: bool ``[words, 1 + 2 * types]``.

        They are O and the tags of all types that were not labelled in the word's sentence. ``labelled`` holds the
        types labelled in sentences of the current step.
        """
        rows = []
        for example in self.examples:
            known = labelled if example.labelled is None else example.labelled
            row = [True, *(type not in known for type in types for _ in "BI")]
            rows += [row] * example.length
        return moved(torch.tensor(rows, dtype=torch.bool), self.device)

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return moved(torch.tensor(values, dtype=torch.long), self.device)


def shuffled(
    examples: Sequence[Example],
    size: int,
    stream: torch.Generator,
    pool: int = 1,
    device: torch.device = _CPU,
) -> Iterator[Batch]:
    """Yield batches of ``size`` sentences in a random order drawn from ``stream``.

    With ``pool`` > 1, the sentences of every ``pool`` batches are sorted by length before they are cut into batches,
    and the batches are shuffled again. This saves padding and **changes training**: a batch holds sentences of
    similar length.
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
    """Yield batches of sentences of similar length, each of at most ``budget`` sub-tokens (or one sentence)."""
    # Read all sizes in memory order first: access in sorted order would miss the cache for each sentence.
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
