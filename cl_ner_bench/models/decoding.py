"""From logits to predicted mentions, for a whole batch at once; Python loops run over found mentions only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_ner_bench.models.heads.span import span_count

Integers = NDArray[np.int64]


class Prediction(NamedTuple):
    """A predicted mention of ``type`` in words ``start .. end-1``, with a ``score`` in 0..1."""

    start: int
    end: int
    type: str
    score: float


def decode_spans(
    logits: Tensor, lengths: Sequence[int], types: Sequence[str], nested: bool = False, width: int = 0
) -> list[list[Prediction]]:
    """Return the spans with a probability of at least 0.5 for each sentence, sorted by position.

    Unless ``nested``, spans are accepted by falling probability if none of their words is taken; ties keep type order,
    then span order (flattened decoding of SpanKL, arXiv 2302.12200). Scores are probabilities in float32.

    Args:
        logits: ``[spans, types]`` from the span head; fastest if ``logits.T`` is contiguous.
        width: the head's span limit in words; 0: none.
    """
    stored = logits.T.reshape(-1)
    hits = np.flatnonzero((stored >= 0).cpu().numpy())
    # In double, because the last bit of a float32 sigmoid may depend on its place in memory, and would decide a tie.
    scores = torch.sigmoid(stored[torch.from_numpy(hits).to(stored.device)].double()).float().cpu().numpy()
    kinds, rows = np.divmod(hits, max(1, len(logits)))
    sentences, starts, ends = _spans_at(rows, lengths, width)
    if nested:
        by_name = np.argsort(np.argsort(list(types)))
        kept = np.lexsort((by_name[kinds], ends, starts, sentences))
    else:
        first = np.cumsum([0, *lengths])[sentences]  # numbered through the batch, sentences share no word
        kept = without_overlap(first + starts, first + ends, scores)
    found = _predictions(starts[kept], ends[kept] + 1, kinds[kept], scores[kept], types)
    return _by_sentence(found, sentences[kept], len(lengths))


def _spans_at(rows: Integers, lengths: Sequence[int], width: int) -> tuple[Integers, Integers, Integers]:
    """Return sentence, first and last word of the spans in ``rows`` of the span head's logits.

    They are computed by arithmetic from the row numbers, without a table of all spans.
    """
    ends_at = np.cumsum([span_count(n, width) for n in lengths])
    sentences = np.searchsorted(ends_at, rows, side="right")
    length = np.asarray(lengths, dtype=np.int64)[sentences]
    behind = ends_at[sentences] - 1 - rows  # spans of the same sentence that follow
    # Without a limit, the spans that follow are a triangle (of the start words left) and the rest of a row.
    left = ((np.sqrt(8 * behind + 1) - 1) / 2).astype(np.int64)  # start words that follow
    in_row = behind - left * (left + 1) // 2
    row = left + 1
    if width:
        beyond = behind - width * (width + 1) // 2
        cut = beyond >= 0
        left = np.where(cut, width + beyond // width, left)
        in_row = np.where(cut, beyond % width, in_row)
        row = np.where(cut, width, row)
    starts = length - 1 - left
    return sentences, starts, starts + row - 1 - in_row


def without_overlap(starts: Integers, ends: Integers, scores: NDArray[Any]) -> Integers:
    """Return the indices of a non-overlapping subset of spans ``starts[n]..ends[n]`` (inclusive), by position.

    Spans are accepted greedily by falling score; ties keep the given order.
    """
    order = np.argsort(starts, kind="stable")
    # A span that begins after all earlier ones end opens a group; only spans of one group can overlap.
    opens = np.ones(len(order), dtype=bool)
    opens[1:] = starts[order[1:]] > np.maximum.accumulate(ends[order])[:-1]
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(opens)
    # In each group keep the best span and drop those that overlap it, until none is left.
    left, kept = np.lexsort((-scores, group)), []
    while len(left):
        is_best = np.ones(len(left), dtype=bool)
        is_best[1:] = group[left[1:]] != group[left[:-1]]
        kept.append(left[is_best])
        best = kept[-1][np.cumsum(is_best) - 1]
        left = left[(ends[left] < starts[best]) | (starts[left] > ends[best])]
    chosen = np.concatenate([order[:0], *kept])
    return chosen[np.argsort(starts[chosen])]


def decode_tags(logits: Tensor, lengths: Sequence[int], types: Sequence[str]) -> list[list[Prediction]]:
    """Return the mentions of the best legal BIO sequence of each sentence; scores are products of tag probabilities.

    Args:
        logits: ``[words, 1 + 2 * types]`` from the tag head.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    sentences = np.repeat(np.arange(len(sizes)), sizes)
    first = np.cumsum(sizes) - sizes
    # If the most probable tags of all words form a legal sequence, it is the best one.
    path = logits.argmax(1).cpu().numpy()
    before = np.roll(path, 1)
    before[first[sizes > 0]] = 0
    illegal = (path > 0) & (path % 2 == 0) & (before != path) & (before != path - 1)
    searched = np.zeros(len(sizes), dtype=bool)
    searched[sentences[illegal]] = True
    if searched.any():
        words = np.flatnonzero(searched[sentences])
        path[words] = viterbi(_log_probabilities(logits, words), sizes[searched])

    words = np.flatnonzero(path)
    tags = path[words]
    begins = np.flatnonzero(tags % 2)  # in a legal sequence, B- opens every mention
    starts, kinds = words[begins], tags[begins] // 2
    steps = _log_probabilities(logits, words)[np.arange(len(words)), tags]
    scores = np.exp(np.add.reduceat(steps, begins)) if len(begins) else steps
    inner = starts - first[sentences[starts]]
    found = _predictions(inner, inner + np.diff(begins, append=len(words)), kinds, scores, types)
    return _by_sentence(found, sentences[starts], len(sizes))


def viterbi(scores: NDArray[np.float64], lengths: Integers) -> Integers:
    """Return the best tags ``[words]`` under BIO constraints for log-probabilities ``[words, 1 + 2 * types]``.

    ``lengths`` holds the number of words of each sentence, at least 1. All sentences advance together, word by word.

    I-x may only follow B-x or I-x; all other transitions are legal and weigh the same. So the best predecessor is the
    best of all tags, and for I-x the better of B-x and I-x.
    """
    sizes = -np.sort(-lengths)
    now = np.searchsorted(-sizes, -np.arange(sizes[0])).tolist()  # how many sentences have a word n
    begin = [0, *accumulate(now)]
    # By word, then by sentence, the longest first: so the sentences with a word n lead those with a word n - 1.
    rank = np.argsort(np.argsort(-lengths, kind="stable"))
    word = np.arange(len(scores)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.asarray(begin)[word] + np.repeat(rank, lengths)
    best = np.empty_like(scores)
    best[place] = scores
    best[: now[0], 2::2] = -np.inf
    for n in range(1, len(now)):
        before, here = best[begin[n - 1] :][: now[n]], best[begin[n] : begin[n + 1]]
        top = before.max(1, keepdims=True)
        here[:, :1] += top
        here[:, 1::2] += top
        here[:, 2::2] += np.maximum(before[:, 1::2], before[:, 2::2])
    path = best.argmax(1)
    for n in range(len(now) - 1, 0, -1):
        here = path[begin[n] : begin[n + 1]]
        inside = np.flatnonzero((here > 0) & (here % 2 == 0))
        tags, at = here[inside], begin[n - 1] + inside
        path[at] = np.where(best[at, tags] > best[at, tags - 1], tags, tags - 1)
    return path[place]


def _log_probabilities(logits: Tensor, words: Integers) -> NDArray[np.float64]:
    chosen = logits[torch.from_numpy(words).to(logits.device)]
    return torch.log_softmax(chosen.double(), dim=1).cpu().numpy()


def _predictions(
    starts: Integers, ends: Integers, kinds: Integers, scores: NDArray[Any], types: Sequence[str]
) -> list[Prediction]:
    named = map(types.__getitem__, kinds.tolist())
    return [*map(Prediction, starts.tolist(), ends.tolist(), named, scores.tolist())]


def _by_sentence(found: list[Prediction], sentences: Integers, count: int) -> list[list[Prediction]]:
    """Split ``found`` into one list per sentence; ``sentences`` holds the sentence of each mention (ascending)."""
    bounds = np.searchsorted(sentences, np.arange(count + 1)).tolist()
    return [found[begin:end] for begin, end in pairwise(bounds)]
