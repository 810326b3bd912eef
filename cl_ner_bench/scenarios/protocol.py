"""Protocols as values: every published way to cut a corpus into tasks is a point in one space.

A :class:`Scenario` states the types that are learned together. Its :class:`Protocol` states the sentences and labels
that they are learned from, and the dev score that chooses the best epoch. Scenarios are named as in the field
(``split``, ``fg8-pg2``) or described by TOML files; docs/protocols.md compares them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.untrusted import read_toml
from cl_ner_bench.validation import Above0, AtLeast0, MisfitError, Positive, Text, Whole, convert

Assign = Literal["random", "filter", "greedy"]
Dev = Literal["same", "whole", "mentions"]
Labels = Literal["new", "seen"]
Selection = Literal["macro", "micro", "last"]
INCREMENTS = re.compile(r"fg(\d+)-pg(\d+)(-seen)?")
ADD_ONE = re.compile(r"add-one(?:-k([1-9]\d*))?")


class Protocol(Struct, frozen=True, forbid_unknown_fields=True):
    """The data that a step is learned from, and the score that chooses its epoch.

    Attributes:
        assign: the task of a train sentence. ``random``: one task, at random, in parts as large as the tasks' shares;
            ``filter``: every task that labels one of its mentions; ``greedy``: one task, by its rarest type.
        dev: the dev sentences of a step: ``same`` (assigned as train is), ``whole``, or ``mentions`` (dev sentences
            that hold a mention of a type in ``dev_labels``).
        train_labels: the types that a step's train sentences are labelled with: ``new`` (the step's) or ``seen`` (all
            types so far).
        dev_labels: the types that a step's dev sentences are labelled with: ``new`` or ``seen``.
        selection: the epoch that is kept: the best on dev by ``macro``- or ``micro``-F1 over the dev labels, or the
            ``last``.
        max_words: the length to which sentences of all parts are cut. Mentions that reach beyond are dropped.
        blurry: the number of further train sentences from other tasks, as a share of the task's own.
        sentences: the largest number of train sentences of a step.
        shots: the number of mentions for each of a step's types up to which train sentences are drawn.
    """

    assign: Assign = "random"
    dev: Dev = "same"
    train_labels: Labels = "new"
    dev_labels: Labels = "new"
    selection: Selection = "macro"
    max_words: Positive | None = None
    blurry: AtLeast0 = 0.0
    sentences: Positive | None = None
    shots: Positive | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values that differ from the plain protocol's."""
        plain = msgspec.structs.asdict(Protocol())
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value != plain[name]}


class PlannedTask(Struct, frozen=True, forbid_unknown_fields=True):
    """Types to be learned together, before sentences are chosen.

    ``domain``: the domain of a union that gives the sentences. ``share``: the task's share of a random assignment,
    relative to the other tasks' shares. ``sentences`` and ``shots`` override the protocol's.
    """

    types: Annotated[tuple[Text, ...], Meta(min_length=1, description="a list of types")]
    name: str = ""
    domain: str = ""
    share: Above0 = 1.0
    sentences: Positive | None = None
    shots: Positive | None = None

    def __post_init__(self) -> None:
        if len({*self.types}) < len(self.types):
            raise MisfitError("types", "each type once", short(list(self.types)))


class ScenarioTable(Protocol, frozen=True):
    """The keys of a table that describes a scenario: the keys of a protocol, and ``like``, its base scenario."""

    name: str = ""
    like: str = "split"
    types: Annotated[tuple[Text, ...], Meta(description="a list of different types")] = ()
    orders: Annotated[
        tuple[tuple[Whole, ...], ...], Meta(description="permutations of the tasks, numbered from 0")
    ] = ()
    tasks: tuple[PlannedTask, ...] = ()
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        if self.like not in BUILT_IN and not INCREMENTS.fullmatch(self.like) and not ADD_ONE.fullmatch(self.like):
            names = f"{', '.join(BUILT_IN)}, fg8-pg2, fg8-pg2-seen, add-one, add-one-k20"
            raise MisfitError("like", f"a built-in scenario ({names})", short(self.like))
        if len({*self.types}) < len(self.types):
            raise MisfitError("types", "a list of different types", short(list(self.types)))
        if self.types and not INCREMENTS.fullmatch(self.like):
            raise MisfitError("types", 'them beside like = "fgA-pgB" only, which cuts them')
        if self.tasks and INCREMENTS.fullmatch(self.like):
            raise MisfitError("tasks", 'none beside like = "fgA-pgB", which makes them')
        if self.tasks and ADD_ONE.fullmatch(self.like):
            raise MisfitError("tasks", 'none beside like = "add-one", which makes them')
        if len({bool(task.domain) for task in self.tasks}) > 1:
            raise MisfitError("tasks", "a domain for all tasks or for none")
        if self.orders and not self.tasks:
            raise MisfitError("orders", "them beside [[tasks]] only, which they permute")
        if any(sorted(order) != list(range(len(self.tasks))) for order in self.orders):
            raise MisfitError("orders", f"permutations of the {len(self.tasks)} tasks, numbered from 0")


class Scenario(Struct, frozen=True):
    """A protocol and the tasks it is applied to.

    The first of these that is set gives the tasks; without any, they are the card's:

    - ``tasks``: the listed tasks;
    - ``increments`` (A, B): the ``types`` (by default all, in alphabetical order), cut into A, then B a step;
    - ``add_one``: all types but one, then the newcomer, from this number of mentions (0: all of its slice);
    - ``by_domain``: a task for each domain of the corpus.
    """

    name: str
    protocol: Protocol = Protocol()
    tasks: tuple[PlannedTask, ...] = ()
    increments: tuple[int, int] | None = None
    add_one: int | None = None
    types: tuple[str, ...] = ()
    by_domain: bool = False
    orders: tuple[tuple[int, ...], ...] = ()
    own: bool = False  # True if a card or a file defines it in a table; else its name says all

    @property
    def own_tasks(self) -> bool:
        """True if the tasks are the scenario's own, so the card's orders do not apply."""
        return bool(self.tasks or self.increments or self.add_one is not None or self.by_domain)

    def to_json(self) -> dict[str, Any]:
        """Return all that decides the tasks and their data; the name does not."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        hidden = ("name", "own", *(["add_one"] if self.add_one is None else []))  # others keep their old JSON
        return {name: value for name, value in values.items() if name not in hidden}


GREEDY = Protocol(assign="greedy", dev="whole", selection="micro")
SEEN = Protocol(assign="greedy", dev="mentions", dev_labels="seen", selection="last", max_words=128)
BUILT_IN = {
    "split": Scenario("split"),
    "filter": Scenario("filter", Protocol(assign="filter")),
    "domains": Scenario("domains", by_domain=True),
}
SCENARIOS = {
    "split": "every train and dev sentence belongs to one task, at random (SpanKL, AAAI 2023)",
    "filter": "a task has every sentence that names one of its types (SpanKL, AAAI 2023)",
    "fgA-pgB": "A types first, then B a step, slices by the rarest type, whole dev (CFNER, EMNLP 2022)",
    "fgA-pgB-seen": "the same slices; dev with all types seen, without empty sentences and not used to choose "
    "an epoch; 128 words at most (Learn or Recall, ACL 2024)",
    "add-one": "all types but one, then that one from a random slice; each type in turn is an order",
    "add-one-kN": "the same, the new type from N mentions only (add-one-k20)",
    "domains": "each corpus of a union is a task of all its types (domain-incremental)",
    "FILE.toml": "a scenario of your own: tasks of uneven size, types that come back, blurry borders, few shots",
}


def find_scenario(name: str, card: Card) -> Scenario:
    """Return the scenario that ``name`` means for a dataset: a built-in one, one of its card, or a TOML file.

    Raises UserError for an unknown name (with the nearest known one) and for a malformed file.
    """
    match = INCREMENTS.fullmatch(name)
    if match:
        return Scenario(name, SEEN if match[3] else GREEDY, increments=(int(match[1]), int(match[2])))
    if match := ADD_ONE.fullmatch(name):
        return Scenario(name, add_one=int(match[1] or 0))
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name in card.scenarios:
        return parse_scenario(card.scenarios[name], name, card, f"card {card.name}: scenarios.{name}")
    if name.endswith(".toml"):
        return read_scenario(Path(name), card)
    for other in list_cards().values():
        if name in other.scenarios:
            raise UserError(f"--scenario: {name} is a scenario of the dataset {other.name}, not of {card.name}.")
    known = [*SCENARIOS, *card.scenarios]
    near = did_you_mean(name, known)
    raise UserError(f"--scenario: unknown {name!r}; known are {', '.join(known)} (A, B, N: numbers, as fg8-pg2).{near}")


def read_scenario(file: Path, card: Card) -> Scenario:
    """Return the scenario in a TOML file. Raises UserError that names the file and the key."""
    table = read_toml(file, f"--scenario {file}:")
    scenario = parse_scenario(table, file.stem, card, f"--scenario {file}")
    named = scenario.name in BUILT_IN or scenario.name in card.scenarios
    if named or INCREMENTS.fullmatch(scenario.name) or ADD_ONE.fullmatch(scenario.name):
        raise UserError(
            f'--scenario {file}: {scenario.name!r} is the name of another scenario. Give an own name, as name = "mine".'
        )
    return scenario


def parse_scenario(table: Mapping[str, Any], name: str, card: Card, where: str) -> Scenario:
    """Return the scenario that a table describes (:class:`ScenarioTable`). ``where`` begins messages.

    Raises UserError for unknown keys, and for values that do not fit their key or the card.
    """
    found = convert(table, ScenarioTable, where)
    base = find_scenario(found.like, card)
    given = {key: getattr(found, key) for key in Protocol.__struct_fields__ if key in table}
    _check_types(found.types, card, f"{where}: key 'types'")
    left_out = [t for t in card.types if t not in found.types] if found.types else []
    if left_out:
        expected = f"all types of {card.name}, as it orders them; missing are {', '.join(left_out)}"
        raise UserError(f"{where}: key 'types': expected {expected}.")
    protocol = replace(base.protocol, **given)
    tasks: list[PlannedTask] = []
    for k, task in enumerate(found.tasks):
        key = f"{where}: key 'tasks[{k}]"
        _check_types(task.types, card, f"{key}.types'")
        task = replace(task, name=task.name or _task_name(task.types, k, tasks))
        if "share" in table["tasks"][k] and protocol.assign != "random":
            raise UserError(f'{key}.share\': expected it with assign = "random" only, which deals by shares.')
        if task.name in {other.name for other in tasks}:
            raise UserError(f"{key}.name': expected a name that no other task has, found {short(task.name)}.")
        tasks.append(task)
    return replace(
        base,
        name=found.name or name,
        protocol=protocol,
        tasks=tuple(tasks) or base.tasks,
        types=found.types or base.types,
        orders=found.orders or base.orders,
        own=True,
    )


def _task_name(types: Sequence[str], number: int, before: Sequence[PlannedTask]) -> str:
    """Return the name of a task without one: its one type (``PER 2`` if it comes back), or its number."""
    if len(types) > 1:
        return f"task{number + 1}"
    times = 1 + sum(task.types == tuple(types) for task in before)
    return types[0] if times == 1 else f"{types[0]} {times}"


def _check_types(types: Collection[str], card: Card, where: str) -> None:
    for type_ in types:
        if card.types and type_ not in card.types:
            near = did_you_mean(type_, list(card.types))
            raise UserError(f"{where}: {card.name} has no type {type_!r}; it has {', '.join(card.types)}.{near}")
