"""Where cards come from: the TOML files of ``datasets/``, plug-ins, a user's own file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from cl_ner_bench import HOME
from cl_ner_bench.corpora.card import Card, Explained, Hub
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.corpora.validation import (
    COUNT,
    NAME,
    TABLE,
    TEXT,
    Each,
    Shape,
    Value,
    check,
    is_below,
    is_list_of,
    is_number,
    is_path,
    is_text,
    is_whole,
    one_of,
)
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.plugins import Entry, Registry, add_plug_ins, locate
from cl_ner_bench.untrusted import leads_out, read_toml

ENTRY_POINTS = "cl_ner_bench.datasets"
_GENERIC = HOME / "datasets" / "generic.toml"  # no dataset: recipes for all of them
ARCHITECTURES = ("span", "token")


def read_card(path: Path) -> Card:
    """The card in a TOML file. Relative paths in ``reader_options`` are relative to it.

    Raises UserError that names the file and the key for broken TOML, unknown keys, wrong types, and orders that
    are no permutations of the tasks.
    """
    table = read_toml(path, f"{path}: the card")
    check(table, str(path), _CARD)
    table.pop("schema", None)
    table.setdefault("name", path.stem)
    table.setdefault("title", table["name"])
    tasks = {name: tuple(types) for name, types in table.get("tasks", {}).items()}
    counted = Counter(type_ for types in tasks.values() for type_ in types)
    for type_, times in counted.items():
        if times > 1:
            raise UserError(f"{path}: key 'tasks': expected each type in one task only, found {short(type_)} twice.")
    orders = tuple(tuple(order) for order in table.get("orders", []))
    for order in orders:
        if sorted(order) != list(range(len(tasks))):
            expected = f"permutations of the {len(tasks)} tasks, numbered from 0"
            raise UserError(f"{path}: key 'orders': expected {expected}, found {short(order)}.")
    hub: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.get("hub", {}).items()}
    if hub and "repo" not in hub:
        raise UserError(f"{path}: key 'hub.repo': expected the name of a dataset on the hub, found none.")
    return Card(
        **{
            **table,
            "tasks": tasks,
            "orders": orders,
            "hub": Hub(**hub) if hub else None,
            "reader_options": _from(path, table.get("reader_options", {})),
            "explained_counts": tuple(Explained(**row) for row in table.get("explained_counts", [])),
            "undertrained_below": float(table.get("undertrained_below", Card.undertrained_below)),
            "file": str(path),
        }
    )


def _whole(least: int) -> Value:
    return Value(f"a whole number of at least {least}", lambda value: is_whole(value) and value >= least)


_AT_LEAST_0 = Value("a number of at least 0", lambda value: is_number(value) and value >= 0)
_SHARE = Value("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)

# The hyper-parameters of a recipe, within the bounds of the options of the same names.
_RECIPE: Mapping[str, Shape] = {
    **dict.fromkeys(("epochs", "batch_size"), _whole(1)),
    **dict.fromkeys(("lr", "head_lr", "weight_decay"), _AT_LEAST_0),
    "dropout": _SHARE,
    "clip": Value("a number above 0", lambda value: is_number(value) and value > 0),
    "warmup_updates": _whole(0),
    "warmup_share": _SHARE,
    "max_length": _whole(8),
    "max_span_width": COUNT,
    "pool": _whole(1),
}


def _is_explained(value: Any) -> bool:
    shapes = {"part": str, "key": str, "value": int, "means": str, "accepted": bool}
    return (
        isinstance(value, Mapping)
        and {key: type(v) for key, v in ({"accepted": False} | dict(value)).items()} == shapes
        and value["part"] in PARTS
        and is_whole(value["value"])
    )


_CARD: Mapping[str, Shape] = {
    "schema": Value("1", lambda value: type(value) is int and value == 1),
    **dict.fromkeys(("name", "title", "reader"), NAME),
    **dict.fromkeys(("licence", "citation", "how_to_get"), TEXT),
    "tasks": Each(Value('a list of types like ["PERSON", "ORG"]', partial(is_list_of, is_text, least=1))),
    "orders": Value("a list of orders like [[0, 1], [1, 0]]", partial(is_list_of, partial(is_list_of, is_whole))),
    "hub": {
        **dict.fromkeys(("repo", "revision"), NAME),
        **dict.fromkeys(("config", "folder"), TEXT),
        "tags": Value("a list of columns", partial(is_list_of, is_text)),
    },
    "reader_options": TABLE,  # load.find_card checks them: a reader has its own
    "counts": {part: {"sentences": COUNT, "words": COUNT, "mentions": COUNT, "types": Each(COUNT)} for part in PARTS},
    "explained_counts": Value(
        "a list of tables with part, key, value (a whole number), means and, where that is so, accepted = true",
        partial(is_list_of, _is_explained),
    ),
    "undertrained_below": _AT_LEAST_0,
    "joint_steps": one_of("all", "last"),
    "scenarios": Each(Value("a table that describes a protocol", TABLE.fits)),
    "recipes": Each({**_RECIPE, **dict.fromkeys(ARCHITECTURES, _RECIPE)}),
}


def _from(card: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Reader options whose files are found from the card's folder. What is no file stays, for the check of the options.

    Raises UserError for what leads out of that folder: a card may be another's.
    """

    def file(name: Any) -> Any:
        if not is_path(name):
            return name
        path = card.parent / name
        if not is_below(name) or leads_out(path, card.parent):
            raise UserError(
                f"{card}: key 'reader_options': {short(name)} leads out of the card's folder, which a card must not. "
                "Where the text lies elsewhere, say it with --data PATH."
            )
        return str(path)

    def member(entry: Any) -> Any:
        dataset = file(entry["dataset"]) if isinstance(entry, dict) and "dataset" in entry else None
        # Else it is a name, of a dataset or (load.members_of) of a folder beside the card.
        written_as_path = isinstance(dataset, str) and ("/" in entry["dataset"] or dataset.endswith(".toml"))
        return entry | {"dataset": dataset} if written_as_path and os.path.exists(str(dataset)) else entry

    found = dict(options)
    if "path" in options:
        found["path"] = file(options["path"])
    for key, beside in (("ids", file), ("corpora", member)):
        if isinstance(options.get(key), dict):
            found[key] = {name: beside(value) for name, value in options[key].items()}
    return found


@cache
def list_cards() -> Registry[Card]:
    """Return all datasets by name: the cards of ``datasets/`` and those of installed packages."""
    cards: Registry[Card] = Registry("dataset")
    for entry in _cards_in(HOME / "datasets"):
        cards.add(*entry)
    add_plug_ins(cards, ENTRY_POINTS, _of_plug_in)
    return cards


def _of_plug_in(point: EntryPoint) -> Iterator[Entry[Card]]:
    places = locate(point).submodule_search_locations
    entries = [entry for place in places or () for entry in _cards_in(Path(place))]
    if not entries or ":" in point.value:
        raise UserError(
            f"expected a folder of cards (TOML files) as a dotted name like my_package.cards, found {point.value!r}"
        )
    yield from entries


def _cards_in(folder: Path) -> Iterator[Entry[Card]]:
    for path in sorted(folder.glob("*.toml")):
        if path != _GENERIC:
            try:
                card = read_card(path)
            except UserError as error:
                yield path.stem, str(path), error
            else:
                yield card.name, str(path), card


@cache
def generic() -> Card:
    """The card whose recipes hold for every dataset and for corpora without a card."""
    return read_card(_GENERIC)


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
            f"--recipe: no recipe {short(name)} for {card.name}; known are {known}.{did_you_mean(name, list(names))}"
        )
    merged: dict[str, Any] = {"max_span_width": 0, "pool": 1}  # what no paper limits, and no recipe need say
    for source in (generic(), card):
        layer: Mapping[str, Any] = source.recipes.get(name, {})
        merged |= {key: value for key, value in layer.items() if key not in ARCHITECTURES}
        merged |= layer.get(architecture, {})
    return merged
