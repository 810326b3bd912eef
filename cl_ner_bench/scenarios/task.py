"""Task splits as values: who is learned when, from which sentences, with which labels.

A split can be printed, hashed, stored as JSON and replayed. It holds ids, never text, so it may be shared
where the corpus may not. Labels leave a split masked (``Sentence.only``): what reaches a method in step k
carries the labels that the protocol allows in step k and no others.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cl_ner_bench.corpora.sentence import Corpus, Sentence


@dataclass(frozen=True)
class Task:
    """Types that are learned together, and the ids of the train and dev sentences they are learned from."""

    name: str
    types: tuple[str, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]


@dataclass(frozen=True)
class StepData:
    """All that a method sees of step ``step``: sentences whose labels are already masked.

    ``types`` are all types known after the step, in learning order; ``labelled`` those that the labels of
    ``train`` and ``dev`` cover (the task's own, or all of them for joint training).
    """

    step: int
    types: tuple[str, ...]
    labelled: tuple[str, ...]
    train: tuple[Sentence, ...]
    dev: tuple[Sentence, ...]


@dataclass(frozen=True)
class TaskSplit:
    """The tasks of a run in the order in which they are learned; step k (1..T) learns ``tasks[k - 1]``."""

    dataset: str
    data: str  # the corpus's fingerprint
    scenario: str
    order: int
    tasks: tuple[Task, ...]
    test: tuple[int, ...]

    @property
    def n_steps(self) -> int:
        return len(self.tasks)

    def types(self, step: int) -> tuple[str, ...]:
        """The types learned after ``step``, in learning order."""
        return tuple(t for task in self.tasks[:step] for t in task.types)

    def step_data(self, corpus: Corpus, step: int, union: bool = False) -> StepData:
        """What a method is given in ``step``.

        The step's own sentences labelled with its own types only; with ``union`` each sentence of tasks
        1..step once, by id, labelled with all types so far (for joint training).
        """
        tasks = self.tasks[:step] if union else self.tasks[step - 1 : step]
        labelled = tuple(t for task in tasks for t in task.types)

        def part(name: str) -> tuple[Sentence, ...]:
            ids = [i for task in tasks for i in getattr(task, name)]
            return tuple(corpus.parts[name][i].only(labelled) for i in (sorted(set(ids)) if union else ids))

        return StepData(step, self.types(step), labelled, part("train"), part("dev"))

    def test_part(self, corpus: Corpus, step: int) -> list[Sentence]:
        """The whole test set, labelled with the types learned so far (the view ``all``)."""
        types = self.types(step)
        return [corpus.parts["test"][i].only(types) for i in self.test]

    def to_json(self) -> dict[str, Any]:
        tasks = [
            {"name": t.name, "types": list(t.types), "train": list(t.train), "dev": list(t.dev)}
            for t in self.tasks
        ]
        return {
            "schema": 1,
            "dataset": self.dataset,
            "data": self.data,
            "scenario": self.scenario,
            "order": self.order,
            "tasks": tasks,
            "test": list(self.test),
        }

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the split's canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
