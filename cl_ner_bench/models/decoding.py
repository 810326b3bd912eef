"""From logits to predicted mentions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cl_ner_bench.models.span_head import span_count


class Prediction(NamedTuple):
    """Words ``start .. end-1`` are predicted to name an entity of ``type``; ``score`` lies in 0..1."""

    start: int
    end: int
    type: str
    score: float


def decode_spans(
    logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool = False
) -> list[list[Prediction]]:
    """Spans with a probability of at least 0.5, per sentence, sorted by position.

    Unless ``nested``, the most probable are accepted first as long as no word of theirs is taken; ties keep type order,
    then span order (SpanKL, arXiv 2302.12200: flattened decoding).

    Args:
        logits: ``[spans, types]`` as the span head gives them.
    """
    probabilities = torch.sigmoid(logits.float()).cpu().numpy()
    result, offset = [], 0
    for length in lengths:
        block = probabilities[offset : offset + span_count(length)]
        offset += span_count(length)
        kind, span = np.nonzero(block.T >= 0.5)
        starts, ends = (edge[span] for edge in np.triu_indices(length))
        scores = block[span, kind]
        kept = range(len(span)) if nested else without_overlap(starts, ends, scores)
        found = [Prediction(int(starts[n]), int(ends[n]) + 1, types[kind[n]], float(scores[n])) for n in kept]
        result.append(sorted(found))
    return result


def without_overlap(starts: np.ndarray, ends: np.ndarray, scores: np.ndarray) -> list[int]:
    """Which of the spans from word ``starts[n]`` to ``ends[n]`` (inclusive) stay: the most probable that share no word.

    Ties keep the given order.
    """
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best = left[0]
        kept.append(int(best))
        left = left[(ends[left] < starts[best]) | (starts[left] > ends[best])]
    return kept


def viterbi(scores: np.ndarray) -> np.ndarray:
    """The best tag sequence under BIO constraints, ``[words]``, for log-probabilities ``[words, 1 + 2 * types]``.

    I-x follows B-x or I-x only; every other transition is free. Illegal ones cost -inf. Since all legal transitions
    weigh the same, the best predecessor is the best of all tags, but for I-x the better of B-x and I-x.
    """
    words, tags = scores.shape
    inside = np.arange(2, tags, 2)
    best = scores[0].copy()
    best[inside] = -np.inf
    back = np.zeros((words, tags), dtype=np.int64)
    for n in range(1, words):
        top = int(best.argmax())
        previous = np.full(tags, top)
        previous[inside] = np.where(best[inside] > best[inside - 1], inside, inside - 1)
        back[n] = previous
        best = best[previous] + scores[n]
    path = np.empty(words, dtype=np.int64)
    path[-1] = best.argmax()
    for n in range(words - 1, 0, -1):
        path[n - 1] = back[n, path[n]]
    return path


def decode_tags(logits: Tensor, lengths: Sequence[int], types: Sequence[str]) -> list[list[Prediction]]:
    """Mentions of the best legal BIO sequence of each sentence; the score is the product of its tags' probabilities.

    Args:
        logits: ``[words, 1 + 2 * types]`` as the tag head gives them.
    """
    log_probabilities = torch.log_softmax(logits.double(), dim=1).cpu().numpy()
    result, offset = [], 0
    for length in lengths:
        scores = log_probabilities[offset : offset + length]
        offset += length
        result.append(_mentions(viterbi(scores), scores, types) if length else [])
    return result


def _mentions(path: np.ndarray, scores: np.ndarray, types: Sequence[str]) -> list[Prediction]:
    found = []
    for start in np.nonzero(path % 2 == 1)[0]:
        end = start + 1
        while end < len(path) and path[end] == path[start] + 1:
            end += 1
        words = np.arange(start, end)
        score = float(np.exp(scores[words, path[start:end]].sum()))
        found.append(Prediction(int(start), int(end), types[(path[start] - 1) // 2], score))
    return found
