"""Learners that compute the same as a method, and observe it or keep attributes that are reset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.carried import attributes, restore
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.learning.step import Step
from cl_ner_bench.models.heads.growing import Init
from cl_ner_bench.testing.conformance.inputs import CORPUS, batch


@dataclass
class Observations:
    """Names of tensors that an observed method must not move but did, of attributes that it set but are lost, and types
    without columns.
    """

    at_growth: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    teacher: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Attributes that end_step or keep set or changed. The next step begins with a new learner and lacks them."""
    reset: list[str] = field(default_factory=list)
    """Attributes that an epoch set or changed. The next epoch and end_step find them as begin_step left them."""
    moved_vectors: bool = False
    """True if step 2 changes the encoder's vectors of test words."""


def vectors(learner: Learner) -> Tensor:
    """Return the word vectors of the test sentences."""
    training = learner.training
    learner.eval()
    with torch.no_grad():
        found = learner.encode(batch(learner, CORPUS.parts["test"]))
    learner.train(training)
    return found


def observed(learner: type[Learner], seen: Observations) -> type[Learner]:
    """Return a subclass of a method that computes the same, and records its observations in ``seen``."""
    base: Any = learner
    kept: dict[str, Any] = {"teacher": {}, "frozen": {}}

    class Observed(base):
        def grow(self, types: Sequence[str], init: Init) -> None:
            before, known, columns = _copies(self), self.head.types, self.n_columns if self.head.types else 0
            super().grow(types, init)
            after = self.state_dict()
            moved = [name for name, v in before.items() if name not in after or not _begins_with(after[name], v)]
            if moved and not self._begins_anew(types, init):
                seen.at_growth += moved
            if self.head.types != (*known, *types) or (types and self.n_columns <= columns):
                seen.missing += types

        def _begins_anew(self, types: Sequence[str], init: Init) -> bool:
            """Return True if the head equals a new head that grew without learning."""
            fresh = self.make_head()
            for block in filter(None, (*self.grown, types)):
                fresh.grow(block, init)
            head = self.head.state_dict()
            return all(torch.equal(head[name], value) for name, value in fresh.state_dict().items())

        def begin_step(self, step: Step) -> None:
            kept["teacher"] = _copies_of_teacher(step.teacher)
            kept["vectors"] = vectors(self) if step.step == 2 else None
            kept["frozen"] = {}
            super().begin_step(step)
            kept["attributes"] = attributes(self)

        def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
            selected: float | None = super().select(score, dev)
            seen.reset += _changed(self, kept["attributes"])
            return selected

        def begin_epoch(self, epoch: int) -> None:
            now = self.state_dict()
            seen.frozen += [name for name, value in kept["frozen"].items() if not torch.equal(now[name], value)]
            super().begin_epoch(epoch)
            kept["frozen"] = {name: now[name].clone() for name in self.frozen_parameters}

        def end_step(self, step: Step) -> None:
            after = _copies_of_teacher(step.teacher)
            seen.teacher += [name for name, value in kept["teacher"].items() if not torch.equal(after[name], value)]
            before = attributes(self)
            super().end_step(step)
            seen.lost += _changed(self, before)
            if step.step == 2:
                seen.moved_vectors = not torch.equal(vectors(self), kept["vectors"])

    Observed.__name__ = learner.__name__
    return Observed


def keeping_attributes(learner: type[Learner]) -> type[Learner]:
    """Return a subclass of a method that keeps attributes as an epoch left them, until the end of the step."""
    base: Any = learner
    kept: dict[str, Any] = {}

    class Keeping(base):
        def begin_step(self, step: Step) -> None:
            super().begin_step(step)
            kept.clear()

        def begin_epoch(self, epoch: int) -> None:
            if kept:
                restore(self, kept)
            super().begin_epoch(epoch)

        def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
            selected: float | None = super().select(score, dev)
            kept.clear()
            kept.update(attributes(self))
            return selected

        def end_step(self, step: Step) -> None:
            if kept:
                restore(self, kept)
            super().end_step(step)

    Keeping.__name__ = learner.__name__
    return Keeping


def _changed(learner: Learner, before: Mapping[str, Any]) -> list[str]:
    """Return the names of attributes that are new or changed."""
    return [name for name, value in attributes(learner).items() if not _same(value, before.get(name, before))]


def _copies(learner: Learner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def _copies_of_teacher(teacher: Any) -> dict[str, Tensor]:
    """Return copies of a teacher's stored logits and of its weights, if it has a model."""
    if teacher is None:
        return {}
    kept = {f"logits of sentence {index}": value.clone() for index, value in teacher.stored.items()}
    return kept if teacher.learner is None else kept | _copies(teacher.learner)


def _same(one: Any, other: Any) -> bool:
    """Return True if two attributes of a learner have equal values; one may be a copy of the other."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):  # a comparison of several tensors or arrays has no single truth value
        return False


def _begins_with(after: Tensor, before: Tensor) -> bool:
    """Return True if ``before`` is the upper left part of ``after``."""
    if after.ndim != before.ndim or any(new < old for new, old in zip(after.shape, before.shape, strict=True)):
        return False
    return torch.equal(after[tuple(slice(n) for n in before.shape)], before)
