"""Where cards come from: the TOML files of ``datasets/``, plug-ins, a user's own file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from cl_ner_bench import HOME
from cl_ner_bench.corpora.card import Card, Explained, Hub
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError, did_you_mean

ENTRY_POINTS = "cl_ner_bench.datasets"
ARCHITECTURES = ("span", "token")
COUNTED = ("sentences", "words", "mentions")
_Check = Callable[[bool, str, str], None]


def read_card(path: Path) -> Card:
    """The card in a TOML file. Relative paths in ``reader_options`` are relative to it.

    Raises UserError that names the file and the key for broken TOML, unknown keys, wrong types, and orders that
    are no permutations of the tasks.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: the card cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the card is not TOML: {error}.") from None

    def check(good: bool, key: str, expected: str) -> None:
        if not good:
            raise UserError(f"{path}: key '{key}': expected {expected}, found {table.get(key.split('.')[0])!r}.")

    known = {f.name for f in fields(Card)} | {"schema"}
    for key in table:
        if key not in known:
            raise UserError(f"{path}: unknown key '{key}'.{did_you_mean(key, sorted(known))}")
    check(table.pop("schema", 1) == 1, "schema", "1")
    table.setdefault("name", path.stem)
    table.setdefault("title", table["name"])
    for key in ("name", "title", "licence", "citation", "how_to_get", "reader"):
        check(isinstance(table.get(key, ""), str), key, "a text")
    for key in ("tasks", "hub", "reader_options", "counts", "scenarios", "recipes"):
        check(isinstance(table.get(key, {}), dict), key, "a table")
    number = table.get("undertrained_below", 0)
    check(isinstance(number, int | float) and not isinstance(number, bool), "undertrained_below", "a number")
    check(table.get("joint_steps", "all") in ("all", "last"), "joint_steps", '"all" or "last"')

    tasks = {}
    for name, types in table.get("tasks", {}).items():
        good = isinstance(types, list) and types and all(isinstance(t, str) for t in types)
        check(bool(good), f"tasks.{name}", 'a list of types like ["PERSON", "ORG"]')
        tasks[name] = tuple(types)
    all_types = [t for types in tasks.values() for t in types]
    check(len(set(all_types)) == len(all_types), "tasks", "each type in one task only")
    orders = table.get("orders", [])
    numbers = list(range(len(tasks)))
    good = isinstance(orders, list) and all(isinstance(o, list) and sorted(o) == numbers for o in orders)
    check(good, "orders", f"permutations of the {len(tasks)} tasks, numbered from 0")
    _check_counts(table, check)
    for name, scenario in table.get("scenarios", {}).items():
        check(isinstance(scenario, dict), f"scenarios.{name}", "a table that describes a protocol")
    for name, recipe in table.get("recipes", {}).items():
        check(isinstance(recipe, dict), f"recipes.{name}", "a table of hyper-parameters")
    _check_hub(table.get("hub", {}), check)

    options = dict(table.get("reader_options", {}))
    if "path" in options:
        options["path"] = str(path.parent / options["path"])
    if "ids" in options:
        check(isinstance(options["ids"], dict), "reader_options.ids", "a file of document ids by part")
        options["ids"] = {part: str(path.parent / file) for part, file in options["ids"].items()}
    if isinstance(options.get("corpora"), dict):
        options["corpora"] = {name: _beside(path, entry) for name, entry in options["corpora"].items()}
    hub: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.get("hub", {}).items()}
    return Card(
        **{
            **table,
            "tasks": tasks,
            "orders": tuple(tuple(o) for o in orders),
            "hub": Hub(**hub) if hub else None,
            "reader_options": options,
            "explained_counts": tuple(Explained(**row) for row in table.get("explained_counts", [])),
            "undertrained_below": float(table.get("undertrained_below", Card.undertrained_below)),
        }
    )


def _beside(card: Path, entry: Any) -> Any:
    """A corpus of a union, its dataset found from the card's folder where it is no name of a dataset."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), str):
        return entry
    found = card.parent / entry["dataset"]
    return entry | {"dataset": str(found)} if found.exists() else entry


def _check_counts(table: Mapping[str, Any], check: _Check) -> None:
    for part, counts in table.get("counts", {}).items():
        good = part in PARTS and isinstance(counts, dict) and isinstance(counts.get("types", {}), dict)
        check(good, f"counts.{part}", "whole numbers by part (train, dev, test)")
        numbers = {key: n for key, n in counts.items() if key != "types"}
        good = set(numbers) <= set(COUNTED)
        good = good and all(type(n) is int for n in [*numbers.values(), *counts.get("types", {}).values()])
        check(good, f"counts.{part}", f"whole numbers of {', '.join(COUNTED)}, and of mentions by type under 'types'")
    explained = table.get("explained_counts", [])
    check(isinstance(explained, list), "explained_counts", "a list of tables")
    shapes = {"part": str, "key": str, "value": int, "means": str}
    for row in explained:
        good = isinstance(row, dict) and {k: type(v) for k, v in row.items()} == shapes and row["part"] in PARTS
        check(good, "explained_counts", "tables with part, key, value (a number) and means")


def _check_hub(hub: Mapping[str, Any], check: _Check) -> None:
    known = [f.name for f in fields(Hub)]
    for key, value in hub.items():
        check(key in known, f"hub.{key}", f"one of {', '.join(known)}")
        if key == "tags":
            good = isinstance(value, list) and all(isinstance(column, str) for column in value)
            check(good, "hub.tags", "a list of columns")
        else:
            check(isinstance(value, str), f"hub.{key}", "a text")
    check(not hub or bool(hub.get("repo")), "hub.repo", "the name of a dataset on the hub")


@cache
def list_cards() -> dict[str, Card]:
    """All datasets by name: the cards of ``datasets/`` and those of the entry-point group ``cl_ner_bench.datasets``.

    An entry point gives a Card, the path of a TOML file, or a function that returns either. Raises UserError
    for two cards of one name.
    """
    from importlib.metadata import entry_points

    cards: dict[str, Card] = {}
    origins: dict[str, str] = {}
    found: list[tuple[str, Any]] = [(str(p), p) for p in sorted((HOME / "datasets").glob("*.toml"))]
    found = [(origin, path) for origin, path in found if path.stem != "generic"]
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        value = point.load()
        found.append((point.value, value() if callable(value) else value))
    for origin, value in found:
        card = value if isinstance(value, Card) else read_card(Path(value))
        if card.name in cards:
            raise UserError(f"two datasets are named {card.name!r}: {origins[card.name]} and {origin}. Rename one.")
        cards[card.name], origins[card.name] = card, origin
    return cards


@cache
def generic() -> Card:
    """The card whose recipes hold for every dataset and for corpora without a card."""
    return read_card(HOME / "datasets" / "generic.toml")


def recipe_names(card: Card) -> tuple[str, ...]:
    """The recipes that exist for a dataset: its own and the generic ones."""
    return tuple(dict.fromkeys([*generic().recipes, *card.recipes]))


def recipe(card: Card, name: str, architecture: str) -> dict[str, Any]:
    """The hyper-parameters of a recipe for one architecture (``span`` or ``token``).

    Weakest first: the generic recipe, its table of the architecture, the card's recipe, its table of the
    architecture.
    Raises UserError for an unknown name.
    """
    names = recipe_names(card)
    if name not in names:
        known = ", ".join(names)
        raise UserError(
            f"--recipe: no recipe {name!r} for {card.name}; known are {known}.{did_you_mean(name, list(names))}"
        )
    merged: dict[str, Any] = {}
    for source in (generic(), card):
        layer: Mapping[str, Any] = source.recipes.get(name, {})
        merged |= {key: value for key, value in layer.items() if key not in ARCHITECTURES}
        merged |= layer.get(architecture, {})
    return merged
