"""Protocols as values: every published way to cut a corpus into tasks is a point in one space.

A :class:`Scenario` says which types are learned together and, by its :class:`Protocol`, from which sentences, with
which labels and by which dev score the best epoch is chosen. Names of the field (``split``, ``fg8-pg2``) and TOML files
mean scenarios; docs/protocols.md sets them side by side.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.untrusted import read_toml

ASSIGN = ("random", "filter", "greedy")
DEV = ("same", "whole", "mentions")
DEV_LABELS = ("new", "seen")
SELECTION = ("macro", "micro", "last")


@dataclass(frozen=True)
class Protocol:
    """What a step is learned from and chosen by.

    Attributes:
        assign: to which task a train sentence goes. ``random``: each to one, at random, in parts as large as the
            tasks' shares; ``filter``: to every task that labels one of its mentions; ``greedy``: each to one, by its
            rarest type.
        dev: which dev sentences a step has: ``same`` (assigned as train is), ``whole``, or ``mentions`` (those of the
            whole dev part that hold a mention of the labels allowed).
        dev_labels: ``new`` (the step's types) or ``seen`` (all types so far).
        selection: the epoch that is kept: best on dev by ``macro``- or ``micro``-F1 over the dev labels, or the
            ``last``.
        max_words: sentences are cut behind so many words, mentions that reach beyond are dropped, in all parts.
        blurry: so many further train sentences, as a share of the task's own, come from other tasks.
        sentences: a step has at most so many train sentences.
        shots: a step's train sentences are drawn until each of its types has so many mentions.
    """

    assign: str = "random"
    dev: str = "same"
    dev_labels: str = "new"
    selection: str = "macro"
    max_words: int | None = None
    blurry: float = 0.0
    sentences: int | None = None
    shots: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What differs from the plain protocol."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(Protocol(), name)}


@dataclass(frozen=True)
class PlannedTask:
    """Types to be learned together, before sentences are chosen.

    ``domain``: of a corpus made of several, the one that gives the sentences. ``share``: the task's part of a random
    assignment, relative to the others'. ``sentences`` and ``shots`` stand above the protocol's.
    """

    name: str
    types: tuple[str, ...]
    domain: str = ""
    share: float = 1.0
    sentences: int | None = None
    shots: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A protocol and the tasks it is applied to.

    The tasks are those listed; else, with ``increments`` (A, B), the ``types`` (all in alphabetical order where none
    are named) cut into A, then B a step; else, with ``by_domain``, the domains of the corpus; else the card's.
    """

    name: str
    protocol: Protocol = Protocol()
    tasks: tuple[PlannedTask, ...] = ()
    increments: tuple[int, int] | None = None
    types: tuple[str, ...] = ()
    by_domain: bool = False
    orders: tuple[tuple[int, ...], ...] = ()
    own: bool = False  # whether a table defines it, of a card or a file; else its name says all

    @property
    def own_tasks(self) -> bool:
        """Whether the tasks are the scenario's, so that the orders of the card do not hold."""
        return bool(self.tasks or self.increments or self.by_domain)

    def to_json(self) -> dict[str, Any]:
        """What it means, whatever it is called."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "own")}


GREEDY = Protocol(assign="greedy", dev="whole", selection="micro")
SEEN = Protocol(assign="greedy", dev="mentions", dev_labels="seen", selection="last", max_words=128)
BUILT_IN = {
    "split": Scenario("split"),
    "filter": Scenario("filter", Protocol(assign="filter")),
    "domains": Scenario("domains", by_domain=True),
}
INCREMENTS = re.compile(r"fg(\d+)-pg(\d+)(-seen)?")
SCENARIOS = {
    "split": "every train and dev sentence belongs to one task, at random (SpanKL, AAAI 2023)",
    "filter": "a task has every sentence that names one of its types (SpanKL, AAAI 2023)",
    "fgA-pgB": "A types first, then B a step, slices by the rarest type, whole dev (CFNER, EMNLP 2022)",
    "fgA-pgB-seen": "the same slices; dev with all types seen, without empty sentences and not used to choose "
    "an epoch; 128 words at most (Learn or Recall, ACL 2024)",
    "domains": "each corpus of a union is a task of all its types (domain-incremental)",
    "FILE.toml": "a scenario of your own: tasks of uneven size, types that come back, blurry borders, few shots",
}


def find_scenario(name: str, card: Card) -> Scenario:
    """The scenario that ``name`` means for a dataset: a built-in one, one of its card's, or a TOML file.

    Raises UserError for an unknown name (with the nearest known one) and for a file that is malformed.
    """
    match = INCREMENTS.fullmatch(name)
    if match:
        return Scenario(name, SEEN if match[3] else GREEDY, increments=(int(match[1]), int(match[2])))
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
    raise UserError(f"--scenario: unknown {name!r}; known are {', '.join(known)} (A, B: numbers, as fg8-pg2).{near}")


def read_scenario(file: Path, card: Card) -> Scenario:
    """The scenario in a TOML file. Raises UserError that names the file and the key."""
    table = read_toml(file, f"--scenario {file}:")
    scenario = parse_scenario(table, file.stem, card, f"--scenario {file}")
    if scenario.name in BUILT_IN or scenario.name in card.scenarios or INCREMENTS.fullmatch(scenario.name):
        raise UserError(
            f'--scenario {file}: {scenario.name!r} is the name of another scenario. Give an own name, as name = "mine".'
        )
    return scenario


_OF_PROTOCOL = tuple(f.name for f in fields(Protocol))
_OF_TASK = tuple(f.name for f in fields(PlannedTask))
_OF_SCENARIO = ("schema", "name", "like", "types", "orders", "tasks", *_OF_PROTOCOL)


def parse_protocol(table: Mapping[str, Any], where: str, base: Protocol = Protocol()) -> Protocol:
    """``base`` with the values of a table. Raises UserError for unknown keys and values that do not fit."""
    numbers = {"sentences": int, "shots": int, "max_words": int, "blurry": float}
    choices = {"assign": ASSIGN, "dev": DEV, "dev_labels": DEV_LABELS, "selection": SELECTION}
    for key, value in table.items():
        if key not in _OF_PROTOCOL:
            raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(key, list(_OF_PROTOCOL))}")
        good = value in choices[key] if key in choices else _is_number(value, numbers[key])
        if not good:
            expected = f"one of {', '.join(choices[key])}" if key in choices else _number(numbers[key])
            raise UserError(f"{where}: key '{key}': expected {expected}.")
    return replace(base, **table)


def parse_scenario(table: Mapping[str, Any], name: str, card: Card, where: str) -> Scenario:
    """The scenario in a table: keys of :class:`Protocol`, and ``name``, ``like``, ``types``, ``orders``, ``tasks``.

    ``like`` names the built-in scenario that it starts from (split). ``where`` stands in messages. Raises UserError.
    """

    def check(good: bool, key: str, expected: str) -> None:
        if not good:
            raise UserError(f"{where}: key '{key}': expected {expected}.")

    def known(keys: Collection[str], names: Sequence[str], inside: str = "") -> None:
        for key in keys:
            if key not in names:
                raise UserError(f"{where}: unknown key '{inside}{key}'.{did_you_mean(key, list(names))}")

    known(table, _OF_SCENARIO)
    check(table.get("schema", 1) == 1, "schema", "1")
    for key in ("name", "like"):
        check(isinstance(table.get(key, ""), str), key, "a text")
    like = table.get("like", "split")
    built_in = like in BUILT_IN or INCREMENTS.fullmatch(like) is not None
    check(built_in, "like", f"a built-in scenario ({', '.join(BUILT_IN)}, fg8-pg2, fg8-pg2-seen)")
    base = find_scenario(like, card)
    protocol = parse_protocol({key: table[key] for key in _OF_PROTOCOL if key in table}, where, base.protocol)
    types = table.get("types", [])
    check(_is_texts(types) and len(set(types)) == len(types), "types", "a list of different types")
    check(not types or base.increments is not None, "types", 'them beside like = "fgA-pgB" only, which cuts them')
    _check_types(types, card, f"{where}: key 'types'")
    left_out = [t for t in card.types if t not in types] if types else []
    check(not left_out, "types", f"all types of {card.name}, as it orders them; missing are {', '.join(left_out)}")
    rows = table.get("tasks", [])
    check(isinstance(rows, list), "tasks", "[[tasks]] tables")
    tasks: list[PlannedTask] = []
    for k, row in enumerate(rows):
        inside = f"tasks[{k}]"
        check(isinstance(row, Mapping), inside, "a table")
        known(row, _OF_TASK, f"{inside}.")
        check(_is_texts(row.get("types")) and bool(row["types"]), f"{inside}.types", "a list of types")
        check(len(set(row["types"])) == len(row["types"]), f"{inside}.types", "each type once")
        _check_types(row["types"], card, f"{where}: key '{inside}.types'")
        row = {"name": _task_name(row["types"], k, tasks), **row}
        for key in ("name", "domain"):
            check(isinstance(row.get(key, ""), str), f"{inside}.{key}", "a text")
        for key, kind in (("share", float), ("sentences", int), ("shots", int)):
            check(key not in row or _is_number(row[key], kind), f"{inside}.{key}", _number(kind))
        check(row.get("share", 1) > 0, f"{inside}.share", "a number above 0")
        by_share = protocol.assign == "random"
        check(
            "share" not in row or by_share, f"{inside}.share", 'it with assign = "random" only, which deals by shares'
        )
        check(row["name"] not in {t.name for t in tasks}, f"{inside}.name", "a name that no other task has")
        tasks.append(PlannedTask(**{**row, "types": tuple(row["types"])}))
    check(len({bool(t.domain) for t in tasks}) < 2, "tasks", "a domain for all tasks or for none")
    check(not tasks or base.increments is None, "tasks", 'none beside like = "fgA-pgB", which makes them')
    orders = table.get("orders", [])
    check(not orders or bool(tasks), "orders", "them beside [[tasks]] only, which they permute")
    of = list(range(len(tasks)))
    numbers = isinstance(orders, list) and all(isinstance(o, list) and all(type(k) is int for k in o) for o in orders)
    good = numbers and all(sorted(order) == of for order in orders)
    check(good, "orders", f"permutations of the {len(of)} tasks, numbered from 0")
    return replace(
        base,
        name=table.get("name", name),
        protocol=protocol,
        tasks=tuple(tasks) or base.tasks,
        types=tuple(types) or base.types,
        orders=tuple(map(tuple, orders)) or base.orders,
        own=True,
    )


def _task_name(types: Sequence[str], number: int, before: Sequence[PlannedTask]) -> str:
    """What a task without a name is called: its one type (``PER 2`` where that comes back), or its number."""
    if len(types) > 1:
        return f"task{number + 1}"
    times = 1 + sum(task.types == tuple(types) for task in before)
    return types[0] if times == 1 else f"{types[0]} {times}"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v for v in value)


def _is_number(value: Any, kind: type) -> bool:
    good = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return good and (value >= 1 if kind is int else 0 <= value < float("inf"))


def _number(kind: type) -> str:
    return "a whole number of at least 1" if kind is int else "a number of at least 0"


def _check_types(types: Collection[str], card: Card, where: str) -> None:
    for type_ in types:
        if card.types and type_ not in card.types:
            near = did_you_mean(type_, list(card.types))
            raise UserError(f"{where}: {card.name} has no type {type_!r}; it has {', '.join(card.types)}.{near}")
