"""Exact counts per type, and F1 from counts. Works on plain tuples and numbers, without the rest of the suite."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class MentionColumns(NamedTuple):
    """Mentions of many sentences as integers >= 0, ``[mentions]`` each. ``type`` is a place in a list of types."""

    sentence: Integers
    start: Integers
    end: Integers
    type: Integers


class Matches:
    """Gold and predicted mentions, compared once; ``count`` then counts any choice of sentences and types.

    A match has the same sentence, start, end and type (exact match of SpanKL, arXiv 2302.12200, and of CoNLL-2003).
    Mentions may nest or overlap and stand in any order. A mention listed twice counts once.

    Args:
        types: the type names; ``MentionColumns.type`` holds places in it.

    Raises:
        ValueError: a number is negative, a type is not in ``types``, or a mention does not fit an integer of 64 bits.
    """

    def __init__(self, gold: MentionColumns, pred: MentionColumns, types: Iterable[str]) -> None:
        self.types = tuple(types)
        highest = [max(int(column.max(initial=0)) for column in pair) for pair in zip(gold[:3], pred[:3], strict=True)]
        sizes = (*(n + 1 for n in highest), max(1, len(self.types)), 2)
        # A mention is one number; its last digit is 1 if it is predicted. After sorting, matches are neighbours.
        keys = np.concatenate([np.ravel_multi_index((*side, last), sizes) for last, side in enumerate((gold, pred))])
        keys.sort(kind="stable")  # a stable sort is fast on mentions in order
        keys = keys[np.diff(keys, prepend=-1) > 0]
        is_pred = keys % 2
        matched = (keys[1:] == keys[:-1] + 1) & (is_pred[1:] == 1)
        outcome = 2 - is_pred
        outcome[:-1][matched] = 0
        kept = np.append(True, ~matched)[: len(keys)]
        self._outcome = outcome[kept]  # tp, fp, fn
        self._sentence, _, _, self._type, _ = np.unravel_index(keys[kept], sizes)

    def count(self, types: Iterable[str] | None = None, sentences: Iterable[int] | None = None) -> dict[str, list[int]]:
        """Return ``{type: [tp, fp, fn]}`` of ``types`` in the given order, over ``sentences``. None stands for all."""
        cells = 3 * self._type + self._outcome
        if sentences is not None:
            cells = cells[np.isin(self._sentence, np.fromiter(sentences, np.int64))]
        counts = np.bincount(cells, minlength=3 * len(self.types)).reshape(-1, 3).tolist()
        by_type = dict(zip(self.types, counts, strict=True))
        return by_type if types is None else {t: by_type[t] for t in types}


def match(
    gold: Sequence[Collection[tuple[Any, ...]]], pred: Sequence[Collection[tuple[Any, ...]]], types: Iterable[str]
) -> Matches:
    """Return the matches of two lists; ``gold[i]`` and ``pred[i]`` are the mentions of sentence i.

    A mention is ``(start, end, type)`` with integer ``start`` and ``end``; further entries (a prediction's score) are
    ignored.

    Raises ValueError if the lists differ in length, or if a type is not in ``types`` (ignoring it would hide false
    positives).
    """
    types = tuple(dict.fromkeys(types))
    if len(gold) != len(pred):
        raise ValueError(f"gold has {len(gold)} sentences and pred {len(pred)}: they must be the same ones")
    return Matches(_columns(gold, types), _columns(pred, types), types)


def _columns(sentences: Sequence[Collection[tuple[Any, ...]]], types: Sequence[str]) -> MentionColumns:
    mentions = [*chain.from_iterable(sentences)]
    starts, ends, names = (map(itemgetter(entry), mentions) for entry in range(3))
    numbers = map({type_: k for k, type_ in enumerate(types)}.__getitem__, names)
    sizes = np.fromiter(map(len, sentences), np.int64, len(sentences))
    try:
        columns = [np.fromiter(column, np.int64, len(mentions)) for column in (starts, ends, numbers)]
    except KeyError as error:
        raise ValueError(f"a mention has the type {error}, which is none of {[*types]}") from None
    return MentionColumns(np.repeat(np.arange(len(sentences)), sizes), *columns)


def count(
    gold: Sequence[Collection[tuple[Any, ...]]], pred: Sequence[Collection[tuple[Any, ...]]], types: Iterable[str]
) -> dict[str, list[int]]:
    """Return ``{type: [tp, fp, fn]}`` over sentences, for all ``types`` in the given order (see ``match``)."""
    return match(gold, pred, types).count()


def f1_scores(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return F1 in 0..100 of ``counts[..., 3]`` (tp, fp, fn), shape ``[...]``; nan if undefined.

    F1 = 2 tp / (2 tp + fp + fn). Without gold (tp + fn = 0) the F1 of a type or task is undefined, even with false
    positives, because no prediction could have scored. ``micro_f1_scores`` is for counts that are pooled over types.
    """
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    defined = tp + fn > 0
    return np.where(defined, 200 * tp / np.where(defined, 2 * tp + fp + fn, 1), math.nan)


def micro_f1_scores(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return micro-F1 in 0..100 of pooled ``counts[..., 3]`` (tp, fp, fn), shape ``[...]``; nan if all three are 0.

    Unlike ``f1_scores``, it is 0 for predictions without gold.
    """
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    found = tp + fp + fn > 0
    return np.where(found, 200 * tp / np.where(found, 2 * tp + fp + fn, 1), math.nan)


def f1(tp: int, fp: int, fn: int) -> float:
    """Return F1 in 0..100 of one triple of counts, or nan if undefined (see ``f1_scores``)."""
    return float(f1_scores(np.array([tp, fp, fn])))
