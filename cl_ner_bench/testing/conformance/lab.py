"""Steps that the conformance suite learns with a method, each only once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench import registry
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.carried import attributes
from cl_ner_bench.learning.learner import Learner, SpanLearner, TagLearner
from cl_ner_bench.learning.step import Step
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.heads.growing import Init
from cl_ner_bench.registry import MethodCard
from cl_ner_bench.scenarios.task import StepData, TaskSplit
from cl_ner_bench.testing.conformance.inputs import CORPUS, RECIPE, TWO, encoder, text_file

PARTS = ("frozen", "memory", "record", "predictions")  # of an outcome, beside its weights
BASES: dict[str, type[Learner]] = {base.architecture: base for base in (SpanLearner, TagLearner)}


@dataclass(frozen=True)
class Outcome:
    """All of a step that must be the same wherever and whenever it is learned."""

    weights: Mapping[str, Tensor]
    frozen: Sequence[str]
    memory: Sequence[tuple[int, tuple[str, ...]]]
    record: Mapping[str, Any]
    predictions: Sequence[Any]

    @classmethod
    def of(cls, trainer: Trainer, record: Mapping[str, Any], test: Sequence[Sentence] = ()) -> Outcome:
        """Return the outcome of the step that ``trainer`` learned last."""
        learner = trainer.learner
        return cls(
            {name: value.clone() for name, value in learner.state_dict().items()},
            learner.frozen_parameters,
            [(exemplar.id, exemplar.labelled) for exemplar in learner.memory.exemplars],
            {name: value for name, value in record.items() if name != "seconds"},
            trainer.predict([s.only(()) for s in test or CORPUS.parts["test"]]),
        )

    def differences(self, other: Outcome) -> list[str]:
        """Return the names of what is not the same to the bit."""
        names = self.weights.keys() ^ other.weights.keys()
        both = self.weights.keys() & other.weights.keys()
        names |= {name for name in both if not torch.equal(self.weights[name], other.weights[name])}
        return sorted(names) + [part for part in PARTS if getattr(self, part) != getattr(other, part)]

    def digests(self) -> dict[str, str]:
        """Return the sha256 (hex) of each tensor and part by name: what two processes compare."""
        tensors = {name: value.contiguous().numpy() for name, value in self.weights.items()}
        found = {name: [f"{value.dtype} {value.shape}".encode(), value.tobytes()] for name, value in tensors.items()}
        found |= {part: [repr(getattr(self, part)).encode()] for part in PARTS}
        return {name: hashlib.sha256(b" ".join(content)).hexdigest() for name, content in found.items()}


@dataclass
class Observations:
    """Names of tensors that an observed method moved where it must not, of attributes that it set where they are lost,
    and types whose columns did not come.
    """

    at_growth: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    teacher: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Attributes that end_step or keep set or changed: the next step begins with a new learner."""
    moved_vectors: bool = False
    """True if the encoder gives a word of step 2 another vector after the step than before."""


class Lab:
    """A method and what was learned with it.

    ``quick`` are the settings of most checks: those that count epochs or layers are at most 1, since a step has two
    epochs and the encoder two layers, and those that count features at most 64. A file that the method reads holds
    generated sentences.
    """

    def __init__(
        self,
        card: MethodCard,
        learner: type[Learner] | None = None,
        settings: Mapping[str, Any] | None = None,
        folder: str = "",
    ) -> None:
        self.card = card
        self.folder = folder  # of another encoder
        self.learner: type[Learner] = learner or registry.load_class(card)
        self.settings = dict(card.settings if settings is None else settings) | {key: text_file() for key in card.files}
        self.quick = self.settings | self.sized(epochs=1, layers=1, features=64)

    def sized(self, **limits: int) -> dict[str, Any]:
        """Return the settings whose names end with one of the words given, at most as large as it allows."""
        return {
            key: min(v, limit) for key, v in self.settings.items() for end, limit in limits.items() if key.endswith(end)
        }

    def trainer(
        self,
        learner: type[Learner] | None = None,
        seed: int = 0,
        device: str = "cpu",
        precision: str = "fp32",
        folder: str = "",
        settings: Mapping[str, Any] | None = None,
        **recipe: Any,
    ) -> Trainer:
        """Return a new trainer of the method."""
        return Trainer(
            learner or self.learner,
            self.quick if settings is None else settings,
            RECIPE | recipe,
            folder or self.folder or encoder(),
            seed,
            device,
            precision,
            recall=CORPUS.parts["train"].__getitem__,
        )

    def data(self, split: TaskSplit, step: int, corpus: Corpus = CORPUS) -> StepData:
        """Return the data of a step as the card wants it."""
        return split.step_data(corpus, step, self.card.data == "union", self.card.start == "pretrained")

    def chain(
        self, split: TaskSplit, corpus: Callable[[int], Corpus] = lambda step: CORPUS, **how: Any
    ) -> Iterator[tuple[Trainer, Outcome]]:
        """Learn the steps of ``split`` one after another, each from its ``corpus``; yield each with its trainer."""
        trainer = self.trainer(**how)
        for step in range(1, split.n_steps + 1):
            if step > 1 and self.card.start == "pretrained":
                trainer = self.trainer(**how)
            trainer.recall = corpus(step).parts["train"].__getitem__
            record = trainer.learn(self.data(split, step, corpus(step)))
            yield trainer, Outcome.of(trainer, record)

    def simpler(self, name: str) -> Lab:
        """Return the lab of a simpler method: of the same file, or of the suite, with or without ``-ARCHITECTURE``.

        ``base`` is the base learner, or the method that a plug-in is on.
        """
        if name == "base":
            base = self.card.base
            return Lab(base) if base else Lab(self.card, BASES[self.card.architecture], {})
        beside = {card.name: card for card in registry.read_cards(self.card.file, self.card.module)}
        for candidate in (name, f"{name}-{self.card.architecture}"):
            if candidate in beside or candidate in registry.methods():
                return Lab(beside[candidate] if candidate in beside else registry.methods()[candidate])
        raise UserError(f"identities of {self.card.name!r} name {name!r}, which is no method")

    @cached_property
    def _two(self) -> tuple[list[Outcome], Observations, Trainer, tempfile.TemporaryDirectory[str]]:
        folder, seen = tempfile.TemporaryDirectory(), Observations()
        outcomes = []
        for trainer, outcome in self.chain(TWO, learner=observed(self.learner, seen)):
            outcomes.append(outcome)
            model = Path(folder.name) / str(len(outcomes))
            model.mkdir()
            trainer.save(model)
        return outcomes, seen, trainer, folder

    @cached_property
    def changes(self) -> tuple[int, list[str]] | None:
        """The first step of ``two`` in which the same seed gives other values, and their names; None: it never does."""
        for step, ((_, outcome), first) in enumerate(zip(self.chain(TWO), self.two, strict=True), 1):
            if found := outcome.differences(first):
                return step, found
        return None

    @property
    def two(self) -> list[Outcome]:
        """The outcomes of two steps."""
        return self._two[0]

    @property
    def observations(self) -> Observations:
        """Return what was observed while ``two`` was learned."""
        return self._two[1]

    @property
    def last(self) -> Trainer:
        """The trainer that learned ``two``."""
        return self._two[2]

    def before(self, step: int, **how: Any) -> Trainer:
        """Return a new trainer that holds what a new process has before a step of ``TWO``."""
        trainer = self.trainer(**how)
        if step > 1 and self.card.start == "previous":
            trainer.load(self.model(step - 1))
        return trainer

    def model(self, step: int) -> Path:
        """Return the folder of the model after a step of ``TWO``."""
        return Path(self._two[3].name) / str(step)


def batch(learner: Learner, sentences: Sequence[Sentence]) -> Batch:
    """Return sentences without labels as one batch."""
    tokens = learner.encoder.tokeniser.tokenise([s.words for s in sentences])
    examples = (Example(i, s.only(()), t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True)))
    return Batch(tuple(examples), learner.device)


def vectors(learner: Learner) -> Tensor:
    """Return the word vectors of the test sentences."""
    training = learner.training
    learner.eval()
    with torch.no_grad():
        found = learner.encode(batch(learner, CORPUS.parts["test"]))
    learner.train(training)
    return found


def observed(learner: type[Learner], seen: Observations) -> type[Learner]:
    """Return a subclass of a method that computes the same, and notes in ``seen`` what moves where it must not."""
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
            """Return True if the head is as one that grew without learning."""
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
            seen.lost += [
                name for name, value in attributes(self).items() if not _same(value, before.get(name, before))
            ]
            if step.step == 2:
                seen.moved_vectors = not torch.equal(vectors(self), kept["vectors"])

    Observed.__name__ = learner.__name__
    return Observed


def _copies(learner: Learner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def _copies_of_teacher(teacher: Any) -> dict[str, Tensor]:
    """Return copies of a teacher's weights, or of the logits that are kept of it."""
    if teacher is None:
        return {}
    kept = {f"logits of sentence {index}": value.clone() for index, value in teacher.stored.items()}
    return kept if teacher.learner is None else kept | _copies(teacher.learner)


def _same(one: Any, other: Any) -> bool:
    """Return True if two attributes of a learner, of which one may be a copy of the other, hold the same."""
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
    return bool(one == other)


def _begins_with(after: Tensor, before: Tensor) -> bool:
    """Return True if a tensor is the upper left part of another."""
    if after.ndim != before.ndim or any(new < old for new, old in zip(after.shape, before.shape, strict=True)):
        return False
    return torch.equal(after[tuple(slice(n) for n in before.shape)], before)
