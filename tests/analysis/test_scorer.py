"""The scorer against independent implementations: seqeval (strict IOB2), nervaluate, and brute force."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nervaluate import Evaluator

from cl_ner_bench.analysis.scores.scorer import Matches, MentionColumns, count, f1, f1_scores, match

TYPES = ["PER", "ORG", "GPE"]


def random_spans(rng: random.Random, length: int = 9) -> list[tuple[int, int, str]]:
    """Non-overlapping mentions, often adjacent to each other."""
    spans, at = [], 0
    while at < length:
        if rng.random() < 0.4:
            end = min(length, at + rng.randint(1, 3))
            spans.append((at, end, rng.choice(TYPES)))
            at = end
        else:
            at += 1
    return spans


def perturb(rng: random.Random, spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """A prediction that is right about half of the time: types and ends change, mentions vanish."""
    kept = []
    for start, end, type_ in spans:
        roll = rng.random()
        if roll < 0.6:
            kept.append((start, end, type_))
        elif roll < 0.75:
            kept.append((start, end, rng.choice(TYPES)))
        elif roll < 0.85:
            kept.append((start, max(start + 1, end - 1), type_))
    return kept


def tags(spans: list[tuple[int, int, str]], length: int = 9) -> list[str]:
    out = ["O"] * length
    for start, end, type_ in spans:
        out[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
    return out


@pytest.mark.slow
def test_equals_seqeval_strict_on_10000_flat_sentences() -> None:
    from seqeval.metrics import f1_score  # imports scikit-learn
    from seqeval.scheme import IOB2

    rng = random.Random(1)
    gold = [random_spans(rng) for _ in range(10_000)]
    pred = [perturb(rng, g) if rng.random() < 0.8 else random_spans(rng) for g in gold]
    # In many small corpora too: one big one would hide a rare difference behind the decimals.
    for size in (25, 10_000):
        for at in range(0, len(gold), size):
            g, p = gold[at : at + size], pred[at : at + size]
            counts = count(g, p, TYPES)
            y_true, y_pred = [tags(x) for x in g], [tags(x) for x in p]
            strict = {"mode": "strict", "scheme": IOB2}
            micro = 100 * f1_score(y_true, y_pred, average="micro", **strict)
            by_type = 100 * f1_score(y_true, y_pred, average=None, **strict)
            assert f1(*np.sum(list(counts.values()), axis=0)) == pytest.approx(micro)
            assert [f1(*counts[t]) for t in sorted(TYPES)] == pytest.approx(list(by_type))


def test_equals_nervaluate_strict() -> None:
    rng = random.Random(2)
    gold = [random_spans(rng) for _ in range(300)]
    pred = [perturb(rng, g) for g in gold]

    def dicts(sentences: list[list[tuple[int, int, str]]]) -> list[list[dict[str, object]]]:
        return [[{"label": t, "start": s, "end": e} for s, e, t in spans] for spans in sentences]

    strict = Evaluator(dicts(gold), dicts(pred), tags=TYPES, loader="dict").evaluate()["overall"]["strict"]
    tp, fp, fn = np.sum(list(count(gold, pred, TYPES).values()), axis=0)
    assert (tp, tp + fp, tp + fn) == (strict.correct, strict.actual, strict.possible)


mentions = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(TYPES)).map(lambda m: (m[0], m[0] + m[1], m[2])),
    max_size=8,
)


@pytest.mark.slow
@given(st.lists(st.tuples(mentions, mentions), max_size=6))
def test_equals_brute_force_on_nested_and_overlapping_mentions(pairs: list) -> None:
    gold, pred = [g for g, _ in pairs], [[(*m, 0.5) for m in p] for _, p in pairs]
    counts = count(gold, pred, TYPES)
    for type_ in TYPES:
        tp = fp = fn = 0
        for g, p in pairs:
            for start in range(5):
                for end in range(1, 8):
                    is_gold, is_pred = (start, end, type_) in g, (start, end, type_) in p
                    tp, fp, fn = (
                        tp + (is_gold and is_pred),
                        fp + (is_pred > is_gold),
                        fn + (is_gold > is_pred),
                    )
        assert counts[type_] == [tp, fp, fn]


@pytest.mark.slow
@given(st.lists(st.tuples(mentions, mentions), max_size=6), st.sets(st.integers(0, 5)), st.permutations(TYPES))
def test_what_is_matched_once_counts_for_any_sentences_and_types(pairs: list, chosen: set, types: list) -> None:
    gold, pred = [g for g, _ in pairs], [p for _, p in pairs]
    rows = [i for i in chosen if i < len(pairs)]
    wanted = types[1:]

    def of(side: list) -> list:
        return [[m for m in side[i] if m[2] in wanted] for i in rows]

    found = match(gold, pred, TYPES).count(wanted, chosen)
    assert list(found.items()) == list(count(of(gold), of(pred), wanted).items())


def test_columns_may_stand_in_any_order_and_hold_a_mention_twice() -> None:
    rng = np.random.default_rng(0)
    gold, pred = rng.integers(0, 4, size=(2, 500, 4))
    sets = [{tuple(row) for row in side.tolist()} for side in (gold, pred)]
    parts = [sets[0] & sets[1], sets[1] - sets[0], sets[0] - sets[1]]
    expected = {name: [sum(m[3] == k for m in part) for part in parts] for k, name in enumerate("ABCD")}
    assert Matches(MentionColumns(*gold.T), MentionColumns(*pred.T), "ABCD").count() == expected


@pytest.mark.parametrize("wrong", [(0, -1, 1, 0), (0, 0, 1, 3), (-1, 0, 1, 0), (2**31, 2**31, 2**31, 0)])
def test_numbers_that_name_no_mention_are_refused(wrong: tuple[int, ...]) -> None:
    good = MentionColumns(*np.array([[0, 0, 1, 2]]).T)
    with pytest.raises(ValueError):  # noqa: PT011  numpy's own messages
        Matches(good, MentionColumns(*np.array([wrong]).T), TYPES)


def test_one_word_less_or_another_type_is_no_match() -> None:
    assert count([[(0, 3, "PER")]], [[(0, 2, "PER", 0.9), (0, 3, "ORG", 0.8)]], TYPES) == {
        "PER": [0, 1, 1],
        "ORG": [0, 1, 0],
        "GPE": [0, 0, 0],
    }


def test_a_mention_predicted_twice_counts_once() -> None:
    assert count([[(0, 1, "PER")]], [[(0, 1, "PER", 0.9), (0, 1, "PER", 0.3)]], ["PER"]) == {"PER": [1, 0, 0]}


def test_types_outside_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="LOC"):
        count([[]], [[(0, 1, "LOC", 1.0)]], TYPES)
    with pytest.raises(ValueError, match="LOC"):
        count([[(0, 1, "LOC")]], [[]], TYPES)
    with pytest.raises(ValueError, match="1 sentences and pred 2"):
        count([[]], [[], []], TYPES)


def test_f1_is_undefined_without_gold() -> None:
    assert math.isnan(f1(0, 0, 0))
    assert math.isnan(f1(0, 7, 0))
    assert f1(0, 0, 7) == 0
    assert f1(3, 0, 0) == 100


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(tp: int, fp: int, fn: int) -> None:
    value = f1(tp, fp, fn)
    if tp:
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        assert value == pytest.approx(200 * precision * recall / (precision + recall))
    else:
        assert math.isnan(value) == (fn == 0)
    assert f1_scores(np.array([[tp, fp, fn]]))[0] == pytest.approx(value, nan_ok=True)
