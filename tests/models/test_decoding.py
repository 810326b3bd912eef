"""Decoding of whole batches against the plain way: sentence by sentence, as one would write it down."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cl_ner_bench.models.decoding import Prediction, decode_spans, decode_tags, viterbi, without_overlap
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.testing.plain import best_path, best_tags

TYPES = ("PER", "LOC", "ORG", "DATE")  # not in alphabetical order: sorting by type goes by name


# The plain way


def plain_spans(
    logits: Tensor, lengths: list[int], types: tuple[str, ...], nested: bool, width: int
) -> list[list[Prediction]]:
    probabilities = torch.sigmoid(logits.double()).float().numpy()
    result, row = [], 0
    for length in lengths:
        spans = [(i, j) for i in range(length) for j in range(i, length) if not width or j - i < width]
        block = probabilities[row : row + len(spans)]
        row += len(spans)
        found = [
            (-block[n, kind], kind, n) for n in range(len(spans)) for kind in range(len(types)) if block[n, kind] >= 0.5
        ]
        kept: list[Prediction] = []
        for score, kind, n in sorted(found):
            start, end = spans[n]
            if nested or all(end < p.start or start >= p.end for p in kept):
                kept.append(Prediction(start, end + 1, types[kind], float(-score)))
        result.append(sorted(kept))
    return result


def plain_tags(logits: Tensor, lengths: list[int], types: tuple[str, ...]) -> list[list[Prediction]]:
    result = []
    for own in logits.split(lengths):
        scores = own.double().log_softmax(1)
        found = []
        for start, end, type in best_tags(own.numpy(), types) if len(own) else []:
            tags = [1 + 2 * types.index(type)] + [2 + 2 * types.index(type)] * (end - start - 1)
            score = math.exp(sum(scores[start + n, tag].item() for n, tag in enumerate(tags)))
            found.append(Prediction(start, end, type, score))
        result.append(found)
    return result


# Spans


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("width", [0, 1, 3, 40])
def test_spans_are_those_of_the_plain_way(width: int, nested: bool) -> None:
    rng = np.random.default_rng(width)
    some_kept, some_dropped = 0, 0
    for trial in range(60):
        lengths = rng.integers(0 if trial % 2 else 1, 13, size=rng.integers(1, 9)).tolist()
        rows = sum(span_count(n, width) for n in lengths)
        # From single spans to a great deal of overlap; halves of whole numbers give ties, 20 and more the score 1.
        values = rng.normal(-rng.choice([0, 1, 3]), 2, size=(len(TYPES), rows))
        values = [values, np.round(values) / 2, np.round(values) * 20][trial % 3]
        logits = torch.tensor(values, dtype=torch.float32).T
        found = decode_spans(logits, lengths, TYPES, nested, width)
        assert found == plain_spans(logits, lengths, TYPES, nested, width)
        assert found == decode_spans(logits.contiguous(), lengths, TYPES, nested, width)
        some_kept += sum(map(len, found))
        some_dropped += int((logits >= 0).sum()) - sum(map(len, found))
    assert some_kept > 500
    assert (some_dropped > 500) != nested


def test_rows_of_long_sentences_are_undone_without_rounding() -> None:
    lengths = [1, 1500, 3]
    for width in (0, 12, 1500):
        for start, end in ((0, 1), (0, 12), (1, 5), (1487, 1498), (1488, 1500), (1490, 1491), (1499, 1500)):
            logits = torch.full((sum(span_count(n, width) for n in lengths), 1), -1.0)
            logits[1 + span_index(start, end, 1500, width)] = 1
            assert [[p[:2] for p in s] for s in decode_spans(logits, lengths, "A", width=width)] == [
                [], [(start, end)], []
            ]  # fmt: skip


def test_overlapping_spans_are_flattened_by_score_as_in_the_original() -> None:
    starts, ends = np.array([(0, 2), (4, 4), (2, 3), (4, 5)]).T
    assert without_overlap(starts, ends, np.array([0.9, 0.6, 0.95, 0.6])).tolist() == [2, 1]


def test_span_decoding_takes_what_is_at_least_a_half() -> None:
    logits = torch.full((span_count(3) + span_count(2), 2), -1.0)
    logits[span_index(0, 2, 3), 1] = 0.0  # exactly a half
    logits[span_index(1, 3, 3), 0] = 3.0
    logits[span_count(3) + span_index(1, 2, 2), 0] = 2.0
    assert [[p[:3] for p in s] for s in decode_spans(logits, [3, 2], "AB")] == [[(1, 3, "A")], [(1, 2, "A")]]
    nested = decode_spans(logits, [3, 2], "AB", nested=True)
    assert [p[:3] for p in nested[0]] == [(0, 2, "B"), (1, 3, "A")]


@pytest.mark.parametrize("nested", [False, True])
def test_what_holds_nothing_decodes_to_nothing(nested: bool) -> None:
    assert decode_spans(torch.empty(0, 2), [], "AB", nested) == []
    assert decode_spans(torch.empty(0, 2), [0, 0], "AB", nested) == [[], []]
    assert decode_spans(torch.full((6, 2), -1.0), [3], "AB", nested) == [[]]
    assert decode_spans(torch.empty(6, 0), [3], "", nested) == [[]]
    assert decode_tags(torch.empty(0, 5), [], "AB") == []
    assert decode_tags(torch.empty(0, 5), [0, 0], "AB") == [[], []]
    assert decode_tags(torch.zeros(3, 1), [3], "") == [[]]


# Tags


def legal(path: tuple[int, ...]) -> bool:
    return all(t == 0 or t % 2 or (n and path[n - 1] in (t - 1, t)) for n, t in enumerate(path))


def test_viterbi_finds_the_best_legal_sequence() -> None:
    random = np.random.default_rng(0)
    differs_from_argmax = 0
    for types in (1, 2):
        lengths = np.array([1, 2, 3, 4, 5] * 30)
        scores = np.log(random.dirichlet(np.ones(1 + 2 * types), size=lengths.sum()))
        found = np.split(viterbi(scores, lengths), np.cumsum(lengths)[:-1])
        for path, own in zip(found, np.split(scores, np.cumsum(lengths)[:-1]), strict=True):
            paths = [p for p in itertools.product(range(1 + 2 * types), repeat=len(own)) if legal(p)]
            best = max(paths, key=lambda p: sum(own[n, t] for n, t in enumerate(p)))
            assert tuple(path) == best
            differs_from_argmax += tuple(own.argmax(1)) != best
    assert differs_from_argmax > 100


@pytest.mark.parametrize("ties", [False, True])
def test_tags_are_those_of_the_plain_way(ties: bool) -> None:
    rng = np.random.default_rng(0)
    found_some = 0
    for trial in range(120):
        types = TYPES[: 1 + trial % 4]
        lengths = rng.integers(0 if trial % 3 else 1, 13, size=rng.integers(1, 9)).tolist()
        logits = torch.from_numpy(rng.normal(size=(sum(lengths), 1 + 2 * len(types)))).float()
        logits[:, 0] += trial % 5
        if ties:
            logits = logits.round()
        plain = plain_tags(logits, lengths, types)
        for some in (logits, logits.T.contiguous().T):
            found = decode_tags(some, lengths, types)
            assert [[p[:3] for p in s] for s in found] == [[p[:3] for p in s] for s in plain]
            for one, other in zip(itertools.chain(*found), itertools.chain(*plain), strict=True):
                assert one.score == pytest.approx(other.score, rel=1e-12)
        scores = torch.log_softmax(logits.double(), dim=1).numpy()
        some_words = [n for n in lengths if n]
        if some_words:
            own = np.split(scores, np.cumsum(some_words)[:-1])
            assert viterbi(scores, np.array(some_words)).tolist() == [tag for one in own for tag in best_path(one)]
        found_some += sum(map(len, found))
    assert found_some > 300


def test_tag_decoding_reads_mentions_with_the_product_of_their_probabilities() -> None:
    probability = torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2], [0.9, 0.05, 0.05]])
    (found,) = decode_tags(probability.log(), [4], ["A"])
    assert [p[:3] for p in found] == [(0, 2, "A"), (2, 3, "A")]
    assert [p.score for p in found] == pytest.approx([0.56, 0.6])
