"""Counts by view: over all test sentences, or over those that hold mentions. docs/results.md describes the views."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from cl_ner_bench.analysis.scores.scorer import match

Views = dict[str, dict[str, dict[str, list[int]]]]
"""Maps view, test set and type to true positives, false positives and false negatives."""


def count_views(
    gold: Mapping[int, Collection[Any]],
    predicted: Sequence[Collection[Any]],
    scored_types: Mapping[str, Iterable[str]],
    test_sets: Mapping[str, Iterable[int]],
    ever: Collection[int],
) -> Views:
    """Return the counts after a step.

    Args:
        gold: the gold mentions of each test sentence, by the sentence's id.
        predicted: the predicted mentions in the same sentences.
        scored_types: the types that count in each test set. In a domain, the model may know more types.
        test_sets: the ids of the sentences of each test set.
        ever: the ids of the sentences that hold gold mentions after the last step.
    """
    matches = match([*gold.values()], predicted, chain.from_iterable(scored_types.values()))
    place = {id_: number for number, id_ in enumerate(gold)}
    views = {"all": gold, "filter": {id_ for id_, mentions in gold.items() if mentions}, "filter_last": ever}
    return {
        view: {
            test_set: matches.count(types, [place[id_] for id_ in test_sets[test_set] if id_ in chosen])
            for test_set, types in scored_types.items()
        }
        for view, chosen in views.items()
    }
