"""Batches: which sentences stand together, and where their targets are 1."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example, shuffled
from cl_ner_bench.learning.random_streams import generator
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.models.heads.span import span_count

TYPES = ("A", "B", "C")


def examples(count: int = 103) -> list[Example]:
    rng = random.Random(0)
    made = []
    for i in range(count):
        n = rng.randint(1, 20)
        starts = [(s, rng.randint(s + 1, n)) for s in rng.choices(range(n), k=rng.randint(0, 4))]
        mentions = {Mention(start, end, rng.choice((*TYPES, "D"))) for start, end in starts}
        ids = np.arange(n + 2, dtype=np.int32)
        tokens = Tokens(ids, (n + 2,), ids[1:-1])
        made.append(Example(i, Sentence(i, ("w",) * n, tuple(sorted(mentions))), tokens))
    return made


def indices(batches: list[Batch]) -> list[list[int]]:
    return [[e.index for e in batch.examples] for batch in batches]


@pytest.mark.parametrize("width", [0, 1, 5, 30])
def test_gold_spans_are_those_among_the_spans_in_use(width: int) -> None:
    left_out = 0
    for batch in shuffled(examples(), 8, generator(0, "x")):
        rows, columns = batch.span_gold(TYPES, width)
        assert rows.dtype == columns.dtype == torch.int64
        found, row = set(zip(rows.tolist(), columns.tolist(), strict=True)), 0
        for e in batch.examples:
            for start in range(e.length):
                for end in range(start + 1, min(e.length, start + width) + 1 if width else e.length + 1):
                    gold = {(row, k) for k, t in enumerate(TYPES) if (start, end, t) in e.sentence.mentions}
                    assert gold == {cell for cell in found if cell[0] == row}
                    row += 1
        assert row == sum(span_count(n, width) for n in batch.lengths)
        left_out += sum(m.type in TYPES for e in batch.examples for m in e.sentence.mentions) - len(found)
    assert (left_out > 0) == (width in (1, 5))


def test_tags_are_written_longest_mention_first() -> None:
    for batch in shuffled(examples(), 8, generator(0, "x")):
        expected = []
        for e in batch.examples:
            tags = ["O"] * e.length
            for start, end, type in sorted(e.sentence.mentions, key=lambda m: m.start - m.end):
                if type in TYPES and set(tags[start:end]) == {"O"}:
                    tags[start:end] = [f"B-{type}"] + [f"I-{type}"] * (end - start - 1)
            expected += tags
        names = ["O", *(f"{mark}-{t}" for t in TYPES for mark in "BI")]
        assert [names[i] for i in batch.tag_targets(TYPES).tolist()] == expected


def test_without_a_pool_batches_are_the_random_order_cut() -> None:
    order = torch.randperm(103, generator=generator(0, "x")).tolist()
    expected = [order[i : i + 8] for i in range(0, 103, 8)]
    assert indices(list(shuffled(examples(), 8, generator(0, "x")))) == expected
    assert indices(list(shuffled(examples(), 8, generator(0, "x"), pool=1))) == expected


def test_pooled_batches_hold_sentences_of_one_length_in_a_random_order() -> None:
    given = examples()
    batches = list(shuffled(given, 8, generator(0, "x"), pool=4))
    assert sorted(i for batch in indices(batches) for i in batch) == list(range(103))
    assert sorted(map(len, indices(batches))) == [7] + [8] * 12
    # Each pool has the sentences of 4 batches of the random order, and no batch holds shorter and longer than another.
    order = torch.randperm(103, generator=generator(0, "x")).tolist()
    for begin in range(0, 103, 32):
        pool = set(order[begin : begin + 32])
        own = [batch for batch in batches if batch.examples[0].index in pool]
        assert {e.index for batch in own for e in batch.examples} == pool
        sizes = sorted([e.tokens.size for e in batch.examples] for batch in own)
        assert [s for batch in sizes for s in batch] == sorted(s for batch in sizes for s in batch)
    longest = [max(e.tokens.size for e in batch.examples) for batch in batches]
    assert longest[:4] != sorted(longest[:4])
    again = list(shuffled(given, 8, generator(0, "x"), pool=4))
    assert indices(again) == indices(batches) != indices(list(shuffled(given, 8, generator(1, "x"), pool=4)))
