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
from cl_ner_bench.errors import UserError


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
            {"name": t.name, "types": list(t.types), "train": list(t.train), "dev": list(t.dev)} for t in self.tasks
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

    @classmethod
    def from_json(cls, data: Any, corpus: Corpus, source: str = "--split") -> TaskSplit:
        """The split that ``to_json`` wrote, checked against ``corpus``; ``source`` names it in messages.

        Raises UserError for another schema, missing or wrong keys, another corpus (by its fingerprint), types
        that the corpus does not have or that two tasks share, and ids that do not exist.
        """

        def check(good: bool, problem: str) -> None:
            if not good:
                raise UserError(f"{source}: {problem} Write it again with 'bench data split'.")

        def ids(values: Any, part: str, where: str) -> tuple[int, ...]:
            good = isinstance(values, list) and all(type(i) is int for i in values)
            check(good, f"{where}: expected a list of sentence ids.")
            wrong = set(values) - set(corpus.ids(part))
            check(not wrong, f"{where}: the {part} part in use has no sentence {min(wrong, default=None)}.")
            check(len(set(values)) == len(values), f"{where}: a sentence is named twice.")
            return tuple(values)

        check(isinstance(data, dict) and data.get("schema") == 1, "not a task split of schema 1.")
        shapes = {"dataset": str, "data": str, "scenario": str, "order": int, "tasks": list, "test": list}
        for key, shape in shapes.items():
            check(type(data.get(key)) is shape, f"key '{key}' is missing or no {shape.__name__}.")
        check(
            data["data"] == corpus.fingerprint,
            f"it was made from other data (fingerprint {data['data'][:8]}, the corpus has {corpus.fingerprint[:8]}): "
            "another copy, other tasks or another --max-sentences.",
        )
        check(bool(data["tasks"]), "it has no tasks.")
        tasks: list[Task] = []
        taken: set[str] = set()
        for k, row in enumerate(data["tasks"]):
            where = f"tasks[{k}]"
            check(isinstance(row, dict) and isinstance(row.get("name"), str), f"{where}: no name.")
            check(row["name"] not in {task.name for task in tasks}, f"{where}: another task has its name.")
            types = row.get("types")
            good = isinstance(types, list) and types and all(isinstance(t, str) for t in types)
            check(bool(good), f"{where}: expected a list of types.")
            unknown = sorted(set(types) - set(corpus.card.types))
            check(not unknown, f"{where}: the corpus has no type {unknown[:1]}.")
            check(not taken & set(types), f"{where}: a type is in two tasks.")
            taken |= set(types)
            train = ids(row.get("train"), "train", f"{where}.train")
            dev = ids(row.get("dev"), "dev", f"{where}.dev")
            tasks.append(Task(row["name"], tuple(types), train, dev))
        test = ids(data["test"], "test", "test")
        return cls(data["dataset"], data["data"], data["scenario"], data["order"], tuple(tasks), test)

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the split's canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
