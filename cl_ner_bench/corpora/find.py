"""The card, the reader options and the folder of text of a dataset, card or folder that a user names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards, read_card
from cl_ner_bench.corpora.readers.conll2012 import Conll2012Options
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.synthetic.generate import GeneratorOptions
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.validation import FilePath, PathBelow, Text, convert


class MemberOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """One corpus of a union: a dataset, or a folder below the union's; docs/data.md has an example."""

    dataset: FilePath | None = None
    data: PathBelow | None = None
    rename: Mapping[str, Annotated[str, Meta(description='a new type; "" drops the old one')]] = {}
    types: Annotated[tuple[Text, ...], Meta(description="a list of types")] = ()


class UnionOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The reader options of a union of corpora."""

    corpora: Mapping[str, MemberOptions] = {}
    path: FilePath | None = None


Options = ReaderOptions | Conll2012Options | GeneratorOptions | UnionOptions
_OPTIONS: Mapping[str, type[Options]] = {
    "auto": ReaderOptions,
    "conll2012": Conll2012Options,
    "synthetic": GeneratorOptions,
    "union": UnionOptions,
}


def find_card(dataset: str, data: Path | None = None) -> tuple[Card, Path | None]:
    """Return the card that ``dataset`` names and the folder (or the one file) of its text, None for text that is
    generated or on the hub.

    Raises UserError for an unknown name, for wrong reader options of a card, and for missing text; the message says
    where to get the text and what to pass.
    """
    path = Path(dataset)
    cards = list_cards()
    if dataset in cards:
        card, folder = cards[dataset], data
    elif path.suffix == ".toml":
        card, folder = read_card(path), data
    elif os.path.isdir(path):  # Path.is_dir raises an error for a name that is too long
        card, folder = Card(path.resolve().name, path.resolve().name), data or path
    elif os.path.isfile(path):
        name = Path(path.name.removesuffix(".gz")).stem
        card, folder = Card(name, name), data or path
    elif os.sep in dataset or path.suffix:
        raise UserError(
            f"--dataset: {short(dataset)}: no such file, folder or card.{did_you_mean(dataset, _places(path.parent))}"
        )
    else:
        raise UserError(
            f"--dataset: {short(dataset)} is no dataset, card or folder."
            f"{did_you_mean(dataset, [*_places(Path()), *cards])} Known datasets are {', '.join(cards)}.{cards.unread}"
        )
    options = options_of(card)
    if isinstance(options, GeneratorOptions):
        if data is not None:
            raise UserError(
                f"--data: {card.name} is generated and has no files; leave --data out. For files of your own, pass "
                f"--dataset {data}, or their corpus beside --data ({', '.join(_read_from_files(cards))})."
            )
        return card, None
    if folder is None and options.path is not None:
        folder = Path(options.path)
    if folder is None and card.hub is not None:
        return card, None
    if folder is None and path.suffix == ".toml":
        folder = path.parent
    if folder is None:
        raise UserError(f"{card.title} is not part of this package.{how_to_get(card)}")
    is_file = os.path.isfile(folder)
    if not os.path.isdir(folder) and not (is_file and isinstance(options, ReaderOptions)):
        where = f"{card.where}: key 'reader_options.path'" if data is None else "--data"
        if is_file:
            raise UserError(f"{where}: {folder} is a file. Give its folder.")
        raise UserError(f"{where}: {folder} is no folder.{how_to_get(card)}")
    return card, folder


def how_to_get(card: Card) -> str:
    """Return the advice for a missing corpus, as the end of a message."""
    return f" {card.how_to_get} Then pass --data PATH." if card.how_to_get else " Pass --data PATH, the corpus' folder."


def _read_from_files(cards: Mapping[str, Card]) -> list[str]:
    return [name for name, card in cards.items() if card.reader not in ("synthetic", "union")]


def _places(folder: Path) -> list[str]:
    """Return the paths in a folder, which ``dataset`` may name too."""
    with suppress(OSError):
        return [str(path) for path in folder.iterdir()]
    return []


def options_of(card: Card) -> Options:
    """Return a card's reader options. If the card has only one type, tags without a type get it.

    Raises UserError for options that the card's reader does not have or that do not fit.
    """
    options = convert(card.reader_options, _OPTIONS[card.reader], card.where, key="reader_options")
    if isinstance(options, ReaderOptions) and not options.type and len(card.types) == 1:
        options = replace(options, type=card.types[0])
    return options
