"""A short chain of steps on the tiny corpus, for the tests of methods."""

from __future__ import annotations

from typing import Any

from cl_ner_bench import method_code, registry
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.scenarios.task import StepData, Task, TaskSplit
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

CORPUS = tiny_corpus()
SPLIT = TaskSplit(
    "tiny",
    CORPUS.fingerprint,
    "split",
    0,
    tuple(
        Task(type, (type,), tuple(range(8 * k, 8 * k + 8)), tuple(range(4 * k, 4 * k + 4)))
        for k, type in enumerate(("PER", "LOC", "DATE"))
    ),
    CORPUS.ids("test"),
)
"""Three tasks of one type and eight train sentences each: PER, LOC, DATE."""


def step_data(step: int) -> StepData:
    """Return the data of step 1, 2 or 3."""
    return SPLIT.step_data(CORPUS, step)


def trainer(method: str, encoder: str, recipe: dict[str, Any] | None = None, **settings: Any) -> Trainer:
    """Return a trainer of a method on the encoder in the folder ``encoder``; ``settings`` replace the method's own.

    A step has one epoch, unless ``recipe`` changes it.
    """
    (variant,) = registry.resolve([method])
    card = variant.card
    recall = CORPUS.parts["train"].__getitem__
    all_settings = {**card.settings, **settings}
    values = RECIPE | {"epochs": 1} | (recipe or {})
    return Trainer(method_code.load_class(card), all_settings, values, encoder, seed=0, recall=recall)


def chain(method: str, encoder: str, steps: int = 2, **settings: Any) -> Trainer:
    """Return a trainer that has learned ``steps`` steps."""
    made = trainer(method, encoder, **settings)
    for step in range(1, steps + 1):
        made.learn(step_data(step))
    return made


def at_once(method: str, encoder: str) -> Trainer:
    """Return a trainer that has learned all types in one step, long enough to find them."""
    made = trainer(method, encoder, {"epochs": 8, "dropout": 0.0})
    types = tuple(CORPUS.card.types)
    made.learn(StepData(1, types, types, CORPUS.used("train"), (), types, "last"))
    return made
