"""Task splits as values: the types, the sentences and the labels of each step.

A split can be printed, hashed, stored as JSON and replayed. It holds ids, never text, so it may be shared even if the
corpus may not. Its sentences have masked labels (``Sentence.only``): in step k, a method sees only the labels that the
protocol allows in step k.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.readers.lines import has_half_pair
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError, short
from cl_ner_bench.scenarios.protocol import Protocol
from cl_ner_bench.storage.files import split_digest
from cl_ner_bench.storage.run_record import TEST
from cl_ner_bench.validation import MisfitError, Text, Whole, convert

_Ids = Annotated[tuple[Whole, ...], Meta(description="a list of sentence ids")]


class Task(Struct, frozen=True):
    """Types that are learned together, and the ids of their train and dev sentences.

    ``domain`` names the test set that the task is scored on, if the corpus has several.
    """

    name: str
    types: Annotated[tuple[str, ...], Meta(min_length=1, description="a list of types")]
    train: Annotated[tuple[Whole, ...], Meta(min_length=1, description="a list of sentence ids that is not empty")]
    dev: _Ids
    domain: str = ""

    def __post_init__(self) -> None:
        if len({*self.types}) < len(self.types):
            raise MisfitError("types", "each type once", short(list(self.types)))


class _SplitFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A task split as a JSON file holds it."""

    schema: Literal[1]
    dataset: str
    data: str
    scenario: Text
    order: Annotated[int, Meta(ge=0, lt=2**53, description="an order of at least 0")]
    tasks: Annotated[tuple[Task, ...], Meta(min_length=1, description="a list of tasks that is not empty")]
    test: _Ids
    protocol: Protocol = Protocol()
    order_of: Literal["tasks", "types", "newcomer"] = "tasks"
    domains: Mapping[str, _Ids] = {}
    labelled_at: Mapping[str, list[int]] | None = None
    parts: Division | None = None

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if len({*names}) < len(names):
            raise MisfitError("tasks", "tasks of different names", short(names))


@dataclass(frozen=True)
class StepData:
    """The data of step ``step``: sentences with masked labels. Hooks of a method receive ``shown``.

    Attributes:
        types: all types that the model knows after the step, in learning order; by name if a model learns several
            tasks together from scratch, because their order must not matter.
        labelled: the types that the labels of ``train`` cover: the task's own, or all ``types`` for joint training and
            if the protocol says so.
        dev_labelled: the types that the labels of ``dev`` cover.
        selection: the dev score that chooses the epoch: ``macro``- or ``micro``-F1 over ``dev_labelled``, or none
            (``last``).
    """

    step: int
    types: tuple[str, ...]
    labelled: tuple[str, ...]
    train: tuple[Sentence, ...]
    dev: tuple[Sentence, ...]
    dev_labelled: tuple[str, ...]
    selection: str = "macro"

    @property
    def shown(self) -> StepData:
        """The step as a method may see it: dev has labels of ``labelled`` only, and is empty with selection ``last``.

        Labels of old types on dev only serve to choose the epoch, which the trainer does.
        """
        types = tuple(t for t in self.labelled if t in self.dev_labelled)
        dev = () if self.selection == "last" else tuple(s.only(types) for s in self.dev)
        return replace(self, dev=dev, dev_labelled=types)


@dataclass(frozen=True)
class TaskSplit:
    """The tasks of a run in the order in which they are learned; step k (1..T) learns ``tasks[k - 1]``.

    A type may come back in a later task. It belongs to its first task; ``labelled_at`` lists all its steps. ``test``
    holds the ids of the test sentences; with several domains, ``domains`` holds the ids of each domain.
    """

    dataset: str
    data: str  # the corpus's fingerprint
    scenario: str
    order: int
    tasks: tuple[Task, ...]
    test: tuple[int, ...]
    protocol: Protocol = field(default_factory=Protocol)
    domains: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    order_of: str = "tasks"  # an order permutes tasks (with their sentences) or types, or names the newcomer
    parts: Division | None = None  # the rule that divided the corpus into train, dev and test, if any

    @property
    def n_steps(self) -> int:
        return len(self.tasks)

    def types(self, step: int) -> tuple[str, ...]:
        """Return the types learned after ``step``, in learning order."""
        return _types(self.tasks[:step])

    def train_types(self, step: int) -> tuple[str, ...]:
        """Return the types that the train sentences of ``step`` are labelled with."""
        return self.types(step) if self.protocol.train_labels == "seen" else self.tasks[step - 1].types

    @property
    def labelled_at(self) -> dict[str, list[int]]:
        """The steps in which each type is labelled, in learning order of the types."""
        return {t: [k for k, task in enumerate(self.tasks, 1) if t in task.types] for t in self.types(self.n_steps)}

    @cached_property
    def cumulative_sizes(self) -> list[tuple[int, int]]:
        """The numbers of different train and dev sentences of the tasks so far, for each step."""
        train: set[int] = set()
        dev: set[int] = set()
        sizes = []
        for task in self.tasks:
            train.update(task.train)
            dev.update(task.dev)
            sizes.append((len(train), len(dev)))
        return sizes

    def scored_types(self, step: int) -> dict[str, tuple[str, ...]]:
        """Return the types that are scored after ``step``, by test set.

        A single test set scores all types learned so far. The test set of a domain scores the types of the tasks of
        this domain, because a domain may not annotate the types of other domains.
        """
        if not self.domains:
            return {TEST: self.types(step)}
        done = self.tasks[:step]
        return {name: _types(t for t in done if t.domain == name) for name in dict.fromkeys(t.domain for t in done)}

    @property
    def test_sets(self) -> Mapping[str, tuple[int, ...]]:
        """The ids of the test sentences by test set."""
        return self.domains or {TEST: self.test}

    def step_inputs(self, step: int, cumulative: bool = False, from_scratch: bool = False) -> dict[str, Any]:
        """Return the fields of :meth:`step_data`, with ids in place of sentences. Steps that learn from the same data
        have equal fields.
        """
        tasks = self.tasks[:step] if cumulative else self.tasks[step - 1 : step]
        several = len(tasks) > 1

        def ids(part: str) -> tuple[int, ...]:
            found = [i for task in tasks for i in getattr(task, part)]
            return tuple(sorted(set(found)) if several else found)

        types, own = self.types(step), _types(tasks)
        if from_scratch and not cumulative:  # a new model that is shown one task knows of no other
            types = own
        elif from_scratch and several:
            types, own = tuple(sorted(types)), tuple(sorted(own))
        labelled = types if self.protocol.train_labels == "seen" else own
        return {
            "step": step,
            "types": types,
            "labelled": labelled,
            "train": ids("train"),
            "dev": ids("dev"),
            "dev_labelled": types if self.protocol.dev_labels == "seen" else own,
            "selection": self.protocol.selection,
        }

    def step_data(self, corpus: Corpus, step: int, cumulative: bool = False, from_scratch: bool = False) -> StepData:
        """Return the sentences that a method is trained on in ``step``, and the dev sentences that choose its epoch.

        These are the step's own sentences with labels of its own types (with ``train_labels`` "seen", of all types so
        far). With ``cumulative`` (joint training) these are the sentences of tasks 1..step, each once and by id, with
        labels of all types so far. If the protocol says so, dev holds more labels, only to choose the epoch
        (``StepData.shown``).

        With ``from_scratch`` the model keeps nothing of earlier steps. Without ``cumulative`` it then knows the step's
        types only. With ``cumulative`` its types stand by name, because its data must not depend on the order of the
        steps.
        """
        inputs = self.step_inputs(step, cumulative, from_scratch)
        for part, labels in (("train", "labelled"), ("dev", "dev_labelled")):
            inputs[part] = tuple(self.sentence(corpus, part, i).only(inputs[labels]) for i in inputs[part])
        return StepData(**inputs)

    def test_part(self, corpus: Corpus, step: int) -> list[Sentence]:
        """Return the whole test set (the view ``all``), ordered by test set's name, with labels of the types that are
        scored after ``step``.
        """
        return [
            self.sentence(corpus, "test", i).only(types)
            for name, types in sorted(self.scored_types(step).items())
            for i in self.test_sets[name]
        ]

    def sentence(self, corpus: Corpus, part: str, id_: int) -> Sentence:
        """Return a sentence with all its labels, cut to the protocol's limit of words."""
        return cut(corpus.parts[part][id_], self.protocol.max_words)

    def lost_mentions(self, corpus: Corpus) -> int:
        """Return the number of test mentions of learned types that the protocol's limit of words drops."""
        learned = set(self.types(self.n_steps))
        whole = sum(m.type in learned for i in self.test for m in corpus.parts["test"][i].mentions)
        return whole - sum(m.type in learned for i in self.test for m in self.sentence(corpus, "test", i).mentions)

    def to_json(self) -> dict[str, Any]:
        """Return the content of a split file. It holds protocol, ``order_of``, domains, ``labelled_at`` and the
        division of the corpus only if they differ from the plain split's.
        """
        content: dict[str, Any] = {
            "schema": 1,
            "dataset": self.dataset,
            "data": self.data,
            "scenario": self.scenario,
            "order": self.order,
            "tasks": [
                {"name": t.name, "types": list(t.types), "train": list(t.train), "dev": list(t.dev)}
                | ({"domain": t.domain} if t.domain else {})
                for t in self.tasks
            ],
            "test": list(self.test),
        }
        if protocol := self.protocol.to_json():
            content["protocol"] = protocol
        if self.order_of != "tasks":
            content["order_of"] = self.order_of
        if self.domains:
            content["domains"] = {name: list(ids) for name, ids in self.domains.items()}
        if any(len(steps) > 1 for steps in self.labelled_at.values()):
            content["labelled_at"] = self.labelled_at
        if self.parts:
            content["parts"] = self.parts.to_json()
        return content

    @classmethod
    def from_json(cls, data: Any, corpus: Corpus, source: str = "--split") -> TaskSplit:
        """Return the split that ``to_json`` wrote, checked against ``corpus``; ``source`` names it in messages.

        Raises UserError for another schema, missing or wrong keys, another corpus (by its fingerprint), types
        that the corpus does not have, and ids that do not exist.
        """

        def check(good: bool, problem: str) -> None:
            if not good:
                raise UserError(f"{source}: {problem} Write it again with 'bench data split'.")

        def check_ids(ids: tuple[int, ...], part: str, where: str) -> None:
            wrong = set(ids) - set(corpus.ids(part))
            check(not wrong, f"{where}: the {part} part in use has no sentence {min(wrong, default=None)}.")
            check(len(set(ids)) == len(ids), f"{where}: a sentence is named twice.")

        found = convert(
            data, _SplitFile, fail=lambda text: UserError(f"{source}: {text} Write it again with 'bench data split'.")
        )
        if found.dataset != corpus.name:
            raise UserError(f"{source}: it is a split of {found.dataset}, not of {corpus.name}: pass that --dataset.")
        check(
            found.parts == corpus.division,
            f"its corpus was divided by {found.parts or 'nothing'}, this one by {corpus.division or 'nothing'}.",
        )
        check(
            found.data == corpus.fingerprint,
            f"it was made from other data (fingerprint {found.data[:8]}, the corpus has {corpus.fingerprint[:8]}): "
            "another copy, other tasks or another --max-sentences.",
        )
        for name, ids in found.domains.items():
            check_ids(ids, "test", f"domains.{name}")
        for k, task in enumerate(found.tasks):
            where = f"tasks[{k}]"
            unknown = sorted(set(task.types) - set(corpus.card.types))
            check(not unknown, f"{where}: the corpus has no type {unknown[:1]}.")
            check(task.domain in (found.domains or [""]), f"{where}: no domain {task.domain!r}.")
            check_ids(task.train, "train", f"{where}.train")
            check_ids(task.dev, "dev", f"{where}.dev")
        check_ids(found.test, "test", "test")
        in_domains = sorted(i for ids in found.domains.values() for i in ids)
        check(not found.domains or in_domains == sorted(found.test), "the domains do not share out the test sentences.")
        names = (found.scenario, *(task.name for task in found.tasks))
        check(not any(map(has_half_pair, names)), "a name holds half a character.")
        split = cls(
            dataset=found.dataset,
            data=found.data,
            scenario=found.scenario,
            order=found.order,
            tasks=found.tasks,
            test=found.test,
            protocol=found.protocol,
            domains=found.domains,
            order_of=found.order_of,
            parts=found.parts,
        )
        check(found.labelled_at in (None, split.labelled_at), "'labelled_at' contradicts the tasks.")
        return split

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the split's canonical JSON."""
        return split_digest(self.to_json())


def cut(sentence: Sentence, max_words: int | None) -> Sentence:
    """Return the first ``max_words`` words of a sentence, and the mentions that lie in them."""
    if max_words is None or len(sentence.words) <= max_words:
        return sentence
    mentions = tuple(m for m in sentence.mentions if m.end <= max_words)
    return replace(sentence, words=sentence.words[:max_words], mentions=mentions)


def _types(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the types of ``tasks``, each once."""
    return tuple(dict.fromkeys(t for task in tasks for t in task.types))
