"""Exact counts per type, and F1 from counts. Plain tuples in, plain numbers out: usable without the suite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def count(
    gold: Sequence[Iterable[tuple[Any, ...]]],
    pred: Sequence[Iterable[tuple[Any, ...]]],
    types: Iterable[str],
) -> dict[str, list[int]]:
    """``{type: [tp, fp, fn]}`` over sentences; ``gold[i]`` and ``pred[i]`` are mentions of the same sentence.

    A mention is ``(start, end, type)``; further entries (a prediction's score) are ignored. A match has the
    same start, end and type (exact match of SpanKL, arXiv 2302.12200, and of CoNLL-2003). Mentions may nest
    or overlap. A sentence's mentions are a set: one that is listed twice counts once. Every type of
    ``types`` gets an entry, in the given order.

    Raises ValueError where the two differ in length, or where a mention has a type outside of ``types``
    (leaving it out in silence would hide false positives).
    """
    counts = {t: [0, 0, 0] for t in types}
    try:
        for golds, preds in zip(gold, pred, strict=True):
            wanted = {(m[0], m[1], m[2]) for m in golds}
            found = {(m[0], m[1], m[2]) for m in preds}
            for mention in found:
                counts[mention[2]][mention not in wanted] += 1
            for mention in wanted - found:
                counts[mention[2]][2] += 1
    except KeyError as error:
        raise ValueError(f"a mention has the type {error}, which is none of {list(counts)}") from None
    return counts


def f1_scores(counts: NDArray[Any]) -> NDArray[np.float64]:
    """F1 in 0..100 of ``counts[..., 3]`` (tp, fp, fn), shape ``[...]``; nan where undefined.

    F1 = 2 tp / (2 tp + fp + fn). Without gold (tp + fn = 0) it is undefined, with or without false
    positives: no prediction could have scored. Pool counts first for a micro-F1, so that the false
    positives of a type without gold still count there.
    """
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    defined = tp + fn > 0
    return np.where(defined, 200 * tp / np.where(defined, 2 * tp + fp + fn, 1), math.nan)


def f1(tp: int, fp: int, fn: int) -> float:
    """F1 in 0..100 of one triple of counts, nan where undefined (see ``f1_scores``)."""
    return float(f1_scores(np.array([tp, fp, fn])))
