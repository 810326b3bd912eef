"""The engine stays faster than the plain path: ratios of CPU times by turns, with bounds far below what it reaches.

The figures themselves are measured by `benchmarks/speed.py`; this only catches what would throw them away.
"""

from __future__ import annotations

import random
from statistics import median
from typing import Any

import pytest

from benchmarks.measure import by_turns
from benchmarks.steps import EXACT, plain_predict, plain_updates, shift_head, updates
from cl_ner_bench import registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.learner import StepData
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.testing.tiny import RECIPE

TEXT = "the committee of Oslo met again in 1990 to discuss unemployment statistics with Anna and two other guests"
SETTINGS: dict[str, Any] = RECIPE | {"batch_size": 8, "epochs": 1}

pytestmark = pytest.mark.usefixtures("one_thread")


def sentences(n: int) -> tuple[Sentence, ...]:
    """Of 20 words on average, some of them three times as long: as in text."""
    rng = random.Random(0)
    found = []
    for i in range(n):
        length = max(2, round(rng.gammavariate(2.2, 9.2)))
        words = tuple(rng.choice(TEXT.split()) for _ in range(length))
        found.append(Sentence(i, words, (Mention(0, 1, "A"), Mention(1, 2, "B"))))
    return tuple(found)


def step(number: int, n: int) -> StepData:
    types, labelled = ("A", "B")[:number], ("A", "B")[number - 1 : number]
    train = tuple(s.only(labelled) for s in sentences(n))
    return StepData(number, types, labelled, train, (), labelled, "last")


def test_training_steps_stay_faster_than_the_plain_path() -> None:
    steps, settings = [step(1, 4), step(2, 6 * 8)], {**SETTINGS, **EXACT}
    timed = updates("spankl", steps, settings, "fp32", {"plain": plain_updates(settings, steps[-1])})
    ratios = [plain / suite for plain, suite in zip(timed.others["plain"], timed.suite, strict=True)]
    assert len(ratios) == 5
    assert median(ratios) >= 1.5, ratios


def test_evaluation_stays_faster_than_the_plain_path() -> None:
    card = registry.methods()["spankl"]
    trainer = Trainer(registry.load_class(card), card.settings, SETTINGS, "minilm", seed=0)
    trainer.learn(step(1, 8))
    shift_head(trainer.learner, 5.0)  # an untrained head calls half of all spans a mention
    rows = sentences(32)
    ratios = by_turns(plain_predict(trainer, rows), lambda: trainer.predict(rows), 5)
    assert median(ratios) >= 1.3, ratios
