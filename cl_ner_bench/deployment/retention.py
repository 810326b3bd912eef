"""Effects of a step on its own data: agreement of the new model with the old model, and scores by labels.

The data of one more step do not label the old types, so no score shows the loss of old types. The old model's mentions
in the same sentences replace labels. An F1 of 100 against these mentions means no change, for better or worse.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cl_ner_bench.analysis.scores.scorer import count, f1
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.storage.model_folder import Agreement, Score

BOUND = 90.0
"""A lower agreement (F1, 0..100) causes a warning."""

PredictionsByPart = Mapping[str, Sequence[Sequence[Prediction]]]
"""The predicted mentions in each sentence of each part."""


def agreements(
    gold: Mapping[str, Sequence[Sentence]],
    old: PredictionsByPart,
    new: PredictionsByPart,
    types: Sequence[str],
    learned: Collection[str],
) -> list[Agreement]:
    """Return the agreement on ``types`` by part and type. ``gold`` are sentences, ``learned`` the types of the step."""
    rows = []
    for part, sentences in gold.items():
        labelled = [{i for m in s.mentions if m.type in learned for i in range(m.start, m.end)} for s in sentences]
        (theirs, relabelled), (ours, _) = (_apart(found[part], labelled, types) for found in (old, new))
        for type_, (both, more, less) in count(theirs, ours, types).items():
            rows.append(Agreement(part, type_, both + less, both + more, both, relabelled.count(type_)))
    return rows


def _apart(
    found: Sequence[Sequence[Prediction]], labelled: Sequence[Collection[int]], types: Sequence[str]
) -> tuple[list[list[tuple[int, int, str]]], list[str]]:
    """Return the mentions of ``types`` without labelled words, and the types of the mentions with labelled words."""
    apart: list[list[tuple[int, int, str]]] = []
    others: list[str] = []
    for mentions, words in zip(found, labelled, strict=True):
        apart.append([])
        for start, end, type_, _ in mentions:
            if type_ in types and any(i in words for i in range(start, end)):
                others.append(type_)
            elif type_ in types:
                apart[-1].append((start, end, type_))
    return apart, others


def scores(
    gold: Mapping[str, Sequence[Sentence]],
    old: PredictionsByPart,
    new: PredictionsByPart,
    types: Sequence[str],
    known: Collection[str],
) -> list[Score]:
    """Return the scores of the ``types`` with labels in dev or test. ``known`` are the types of the old model."""
    rows = []
    for part, sentences in gold.items():
        if part == "train":
            continue
        labels = [s.only(types).mentions for s in sentences]
        before, after = (
            count(labels, [[m for m in mentions if m.type in types] for mentions in found[part]], types)
            for found in (old, new)
        )
        for type_, (tp, fp, fn) in after.items():
            if tp + fn:
                earlier = f1(*before[type_]) if type_ in known else None
                rows.append(Score(part, type_, tp + fn, earlier, f1(tp, fp, fn)))
    return rows


def warnings(rows: Sequence[Agreement]) -> list[str]:
    """Return a warning for each old type whose agreement over all parts is below ``BOUND``.

    It tells of change, not of loss: without labels nothing says if the old model's mentions were right.
    """
    found = []
    for type_ in dict.fromkeys(row.type for row in rows):
        own = [row for row in rows if row.type == type_]
        old, new, both = (sum(getattr(row, name) for row in own) for name in ("old", "new", "both"))
        agreement = Agreement("all", type_, old, new, both, relabelled=0).f1
        if agreement is not None and agreement < BOUND:
            found.append(
                f"{type_}: of {old} mentions that the old model finds, the new one finds {both}, and {new - both} "
                f"others (agreement {agreement:.1f}, below {BOUND:g})"
            )
    return found
