"""The steps that the conformance suite learns with a method. Checks share them, so each is learned once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench import method_card, method_code, registry
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Learner, SpanLearner, TagLearner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.scenarios.task import StepData, TaskSplit
from cl_ner_bench.testing.conformance.inputs import CORPUS, RECIPE, TWO, UNSEEN, encoder, poisoned_corpus, text_file
from cl_ner_bench.testing.conformance.observing import Observations, observed
from cl_ner_bench.testing.conformance.snapshots import Snapshot

PARTS = ("frozen", "memory", "record", "predictions")  # parts of an outcome besides its weights
BASES: dict[str, type[Learner]] = {base.architecture: base for base in (SpanLearner, TagLearner)}


@dataclass(frozen=True)
class Outcome:
    """The results of a step that must be the same wherever and whenever it is learned."""

    weights: Mapping[str, Tensor]
    frozen: Sequence[str]
    memory: Sequence[tuple[int, tuple[str, ...]]]
    record: Mapping[str, Any]
    predictions: Sequence[Any]

    @classmethod
    def of(cls, trainer: Trainer, record: Mapping[str, Any]) -> Outcome:
        """Return the outcome of the step that ``trainer`` learned last."""
        learner = trainer.learner
        return cls(
            {name: value.clone() for name, value in learner.state_dict().items()},
            learner.frozen_parameters,
            [(exemplar.id, exemplar.labelled) for exemplar in learner.memory.exemplars],
            {name: value for name, value in record.items() if not name.endswith("seconds")},
            trainer.predict(UNSEEN),
        )

    def differences(self, other: Outcome) -> list[str]:
        """Return the names of tensors and parts that differ, to the bit."""
        names = self.weights.keys() ^ other.weights.keys()
        both = self.weights.keys() & other.weights.keys()
        names |= {name for name in both if not torch.equal(self.weights[name], other.weights[name])}
        return sorted(names) + [part for part in PARTS if getattr(self, part) != getattr(other, part)]

    def digests(self) -> dict[str, str]:
        """Return the sha256 (hex) of each tensor and part by name, for the comparison of two processes."""
        tensors = {name: value.contiguous().numpy() for name, value in self.weights.items()}
        found = {name: [f"{value.dtype} {value.shape}".encode(), value.tobytes()] for name, value in tensors.items()}
        found |= {part: [repr(getattr(self, part)).encode()] for part in PARTS}
        return {name: hashlib.sha256(b" ".join(content)).hexdigest() for name, content in found.items()}


@dataclass(frozen=True)
class Repeated:
    """Two steps that were learned again: the outcome of each step, and a snapshot after its first epoch."""

    outcomes: Sequence[Outcome]
    snapshots: Sequence[Snapshot]

    def change(self, first: Sequence[Outcome]) -> tuple[int, list[str]] | None:
        """Return the first step that differs from ``first``, with the names that differ; None if all are equal."""
        for step, (outcome, expected) in enumerate(zip(self.outcomes, first, strict=True), 1):
            if found := outcome.differences(expected):
                return step, found
        return None


class Lab:
    """A method and the steps that were learned with it.

    ``quick`` are the settings of most checks. They limit numbers of epochs and of layers to 1 (a step has two epochs,
    the encoder two layers), of sentences to 6 (a step has a dozen) and of features to 64. A file that the method reads
    holds generated sentences.
    """

    def __init__(
        self,
        card: MethodCard,
        learner: type[Learner] | None = None,
        settings: Mapping[str, Any] | None = None,
        folder: str = "",
    ) -> None:
        self.card = card
        self.folder = folder  # the folder of another encoder
        self.learner: type[Learner] = learner or method_code.load_class(card)
        self.settings = dict(card.settings if settings is None else settings) | {key: text_file() for key in card.files}
        self.quick = self.settings | self.sized(epochs=1, layers=1, features=64, sentences=6)

    def sized(self, **limits: int) -> dict[str, Any]:
        """Return the settings whose names end with a key of ``limits``, reduced to at most the limit."""
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
        """Return the data of a step in the form that the card asks for."""
        return split.step_data(corpus, step, self.card.is_cumulative, self.card.start == "pretrained")

    def chain(self, *given: Any, **how: Any) -> Iterator[tuple[Trainer, Outcome]]:
        """Learn ``steps``, and yield each step's trainer and outcome."""
        for trainer, record in self.steps(*given, **how):
            yield trainer, Outcome.of(trainer, record)

    def steps(
        self,
        split: TaskSplit,
        corpus: Callable[[int], Corpus] = lambda step: CORPUS,
        checkpoints: Sequence[Snapshot] = (),
        **how: Any,
    ) -> Iterator[tuple[Trainer, dict[str, Any]]]:
        """Learn the steps of ``split`` in turn, each from its ``corpus``, and yield each step's trainer and record."""
        trainer = self.trainer(**how)
        for step in range(1, split.n_steps + 1):
            if step > 1 and self.card.start == "pretrained":
                trainer = self.trainer(**how)
            trainer.recall = corpus(step).parts["train"].__getitem__
            checkpoint = checkpoints[step - 1] if checkpoints else None
            yield trainer, trainer.learn(self.data(split, step, corpus(step)), checkpoint=checkpoint)

    def simpler(self, name: str) -> Lab:
        """Return the lab of a simpler method from the same file or the suite; ``name`` may lack ``-ARCHITECTURE``.

        ``base`` names the base learner, or the method below a plug-in.
        """
        if name == "base":
            base, simplest = self.card.base, registry.methods()[f"finetune-{self.card.architecture}"]
            if base:
                return Lab(base)
            if (self.card.data, self.card.start) == (simplest.data, simplest.start):
                return lab_of(simplest.name)
            return Lab(self.card, BASES[self.card.architecture], {})
        beside = {card.name: card for card in method_card.read_cards(self.card.file, self.card.module)}
        for candidate in (name, f"{name}-{self.card.architecture}"):
            known = registry.methods().get(candidate)
            card = beside.get(candidate, known)
            if card is not None:
                return lab_of(candidate) if card == known else Lab(card)
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

    def _repeated(self, corpus: Callable[[int], Corpus]) -> Repeated:
        snapshots = tuple(Snapshot() for _ in TWO.tasks)
        return Repeated([outcome for _, outcome in self.chain(TWO, corpus, checkpoints=snapshots)], snapshots)

    @cached_property
    def poisoned(self) -> Repeated:
        """Return ``two`` learned again, with false labels in place of hidden labels."""
        return self._repeated(lambda step: poisoned_corpus(TWO.tasks[:step], self.card.is_cumulative))

    @cached_property
    def again(self) -> Repeated:
        """Return ``two`` learned again. This is ``poisoned`` if hidden labels change nothing, to save time."""
        with suppress(Exception):  # a method that uses the hidden labels may raise
            if self.poisoned.change(self.two) is None:
                return self.poisoned
        return self._repeated(lambda step: CORPUS)

    @property
    def two(self) -> list[Outcome]:
        """Return the outcomes of two steps."""
        return self._two[0]

    @property
    def observations(self) -> Observations:
        """Return the observations made while ``two`` was learned."""
        return self._two[1]

    @property
    def last(self) -> Trainer:
        """Return the trainer that learned the last step of ``two``."""
        return self._two[2]

    def before(self, step: int, **how: Any) -> Trainer:
        """Return a new trainer in the state of a new process before a step of ``TWO``."""
        trainer = self.trainer(**how)
        if step > 1 and self.card.start == "previous":
            trainer.load(self.model(step - 1))
        return trainer

    def model(self, step: int) -> Path:
        """Return the folder of the model after a step of ``TWO``."""
        return Path(self._two[3].name) / str(step)


@cache
def lab_of(name: str) -> Lab:
    """Return the lab of a built-in method, with which other methods are compared. It learns once per process."""
    return Lab(registry.methods()[name])
