"""Where cards come from: the TOML files of ``datasets/``, plug-ins, a user's own file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from cl_ner_bench import HOME
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError, did_you_mean

ENTRY_POINTS = "cl_ner_bench.datasets"
ARCHITECTURES = ("span", "token")


def read_card(path: Path) -> Card:
    """The card in a TOML file. Relative paths in ``reader_options`` are relative to it.

    Raises UserError that names the file and the key for broken TOML, unknown keys, wrong types and orders
    that are no permutations of the tasks.
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
    for key in ("tasks", "reader_options", "counts", "recipes"):
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
    for part, counts in table.get("counts", {}).items():
        good = part in PARTS and isinstance(counts, dict) and all(type(n) is int for n in counts.values())
        check(good, f"counts.{part}", "whole numbers by part (train, dev, test)")
    for name, recipe in table.get("recipes", {}).items():
        check(isinstance(recipe, dict), f"recipes.{name}", "a table of hyper-parameters")

    options = dict(table.get("reader_options", {}))
    if "path" in options:
        options["path"] = str(path.parent / options["path"])
    if "ids" in options:
        check(isinstance(options["ids"], dict), "reader_options.ids", "a file of document ids by part")
        options["ids"] = {part: str(path.parent / file) for part, file in options["ids"].items()}
    return Card(
        **{
            **table,
            "tasks": tasks,
            "orders": tuple(tuple(o) for o in orders),
            "reader_options": options,
            "undertrained_below": float(table.get("undertrained_below", Card.undertrained_below)),
        }
    )


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
