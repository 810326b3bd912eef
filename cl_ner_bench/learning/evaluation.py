"""Predictions of a learner, and the score on dev that chooses the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Example, by_length
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.step import EVALUATION_BUDGET
from cl_ner_bench.models.decoding import Prediction

ProgressCallback = Callable[[dict[str, Any]], None]


def predict(
    learner: Learner, examples: Sequence[Example], types: Sequence[str], nested: bool, progress: ProgressCallback
) -> list[list[Prediction]]:
    """Return the mentions of ``types`` that a learner finds in each example.

    ``progress`` is called after each batch with the number of words so far, and may raise to stop.
    """
    found: dict[int, list[Prediction]] = {}
    words = 0
    for batch, output in learner.outputs(by_length(examples, EVALUATION_BUDGET, learner.device)):
        decoded = learner.decode(output, batch.lengths, types, nested)
        found.update(zip([e.index for e in batch.examples], decoded, strict=True))
        words += sum(batch.lengths)
        progress({"predicted_words": words})
    return [found[e.index] for e in examples]


def dev_score(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Prediction]], types: Sequence[str], selection: str
) -> float | None:
    """Return ``macro``- or ``micro``-F1 (0..100) over ``types``; None if ``gold`` has no mention of them.

    Only types in gold or predictions count. Old types take no part in choosing the epoch (SpanKL, arXiv 2302.12200), so
    predictions of them must be left out before overlaps are resolved. CFNER (EMNLP 2022) pools the types (``micro``).
    """
    wanted = {(i, *m) for i, s in enumerate(gold) for m in s.mentions if m.type in types}
    if not wanted:
        return None
    found = {(i, *p[:3]) for i, row in enumerate(predicted) for p in row}
    right, total = (Counter(m[3] for m in side) for side in (wanted & found, (*wanted, *found)))
    if selection == "micro":
        return 200 * sum(right[t] for t in types) / sum(total[t] for t in types)
    scores = [200 * right[t] / total[t] for t in types if total[t]]
    return sum(scores) / len(scores)
