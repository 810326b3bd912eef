"""The sources of cards: the TOML files of ``datasets/``, plug-ins, a user's own file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench import HOME
from cl_ner_bench.corpora.card import Card, CardTable, HyperParameters, Recipe
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.plugins import Entry, Registry, add_plug_ins, locate
from cl_ner_bench.untrusted import leads_out, read_toml
from cl_ner_bench.validation import FilePath, PathBelow, convert, fits

ENTRY_POINTS = "cl_ner_bench.datasets"
_GENERIC = HOME / "datasets" / "generic.toml"  # not a dataset: recipes and aliases for all datasets


def read_card(path: Path) -> Card:
    """Return the card in a TOML file. Relative paths in ``reader_options`` start at the file's folder.

    Raises UserError that names the file and the key for broken TOML, unknown keys, wrong types, and orders that
    are no permutations of the tasks.
    """
    table = read_toml(path, f"{path}: the card")
    name = table.get("name", path.stem)
    card = convert({"name": name, "title": name} | table, CardTable, str(path))
    values = msgspec.structs.asdict(card)
    return Card(**values | {"reader_options": _from(path, card.reader_options), "file": str(path)})


def _from(card: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return reader options with the card's folder put before their relative paths. Values that are no paths stay as
    they are; ``find.options_of`` checks them.

    Raises UserError for a path that leads out of the folder, because a card may come from a stranger.
    """

    def file(name: Any) -> Any:
        if not fits(name, FilePath):
            return name
        path = card.parent / name
        if not fits(name, PathBelow) or leads_out(path, card.parent):
            raise UserError(
                f"{card}: key 'reader_options': {short(name)} leads out of the card's folder, which a card must not. "
                "Where the text lies elsewhere, say it with --data PATH."
            )
        return str(path)

    def member(entry: Any) -> Any:
        dataset = file(entry["dataset"]) if isinstance(entry, dict) and "dataset" in entry else None
        # Otherwise it is a name: of a dataset, or of something beside the card (union.members_of).
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
    """Return the card whose recipes hold for every dataset and for corpora without a card."""
    return read_card(_GENERIC)


def recipe_names(card: Card) -> tuple[str, ...]:
    """Return the recipes that exist for a dataset: its own and the generic ones."""
    return tuple(dict.fromkeys([*generic().recipes, *card.recipes]))


def recipe(
    card: Card,
    name: str,
    architecture: str,
    scenario: str = "",
    of_method: Mapping[str, HyperParameters] | None = None,
) -> dict[str, Any]:
    """Return the stated hyper-parameters of a recipe for one architecture (``span`` or ``token``).

    Later sources override earlier ones: the generic recipe, its table for the architecture, its tables that fit the
    scenario; the same three of the dataset's recipe; the method's own recipe.

    Args:
        of_method: a method's recipes by name.

    Raises:
        UserError: no recipe has the name.
    """
    own = of_method or {}
    names = tuple(dict.fromkeys([*recipe_names(card), *own]))
    if name not in names:
        known = ", ".join(names)
        raise UserError(
            f"--recipe: no recipe {short(name)} for {card.name}; known are {known}.{did_you_mean(name, list(names))}"
        )
    merged: dict[str, Any] = {"max_span_width": 0, "pool": 1}  # off, unless a recipe states them
    for source in (generic(), card):
        layer = source.recipes.get(name, Recipe())
        fitting = (values for pattern, values in layer.scenarios.items() if fnmatchcase(scenario, pattern))
        for values in (layer, getattr(layer, architecture), *fitting):
            merged |= values.given()
    return merged | own.get(name, HyperParameters()).given()
