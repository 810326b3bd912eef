"""From what a user names (a dataset, a card, a folder) to a corpus."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards, read_card
from cl_ner_bench.corpora.readers.conll2012 import read_conll2012
from cl_ner_bench.corpora.readers.folder import find_parts, read_file
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Sentence
from cl_ner_bench.errors import UserError, did_you_mean

Parts = Mapping[str, Collection[Sentence]]
# Readers and the keys that a card may give them in ``reader_options``.
_OPTIONS = {
    "auto": ["path", "subfolder"],
    "conll2012": ["path", "ids", "exclude"],
    "synthetic": ["size", "types", "co_occurrence", "ambiguity", "unseen_rate", "seed"],
}


def load_corpus(
    dataset: str,
    data: Path | None = None,
    tasks: str | None = None,
    max_sentences: int | None = None,
    split_seed: int = 1,
) -> Corpus:
    """The corpus that ``dataset`` names: a card's name, the path of a card, or a folder with train/dev/test files.

    ``data`` is where the text lies, for a card that does not say it. ``tasks`` ("ORG;PERSON;GPE,DATE") replaces
    the card's tasks; a card's task name stands for its types. Without card and ``tasks`` each type is a task, in
    alphabetical order. Mentions of types without a task are dropped. ``max_sentences`` draws a sample
    (``Corpus.sample``) of that many train sentences, and of dev and test in proportion, seeded by
    ``split_seed``.

    Raises UserError for an unknown name, a corpus that is not there, malformed files, and unknown or repeated
    types.
    """
    card, folder = find_card(dataset, data)
    remarks: list[str] = []
    parts = _read(card, folder, remarks)
    present = sorted({m.type for sentences in parts.values() for s in sentences for m in s.mentions})
    if tasks is not None:
        # Orders of the card number the card's tasks: they do not hold for others.
        card = replace(card, tasks=parse_tasks(tasks, card, present), orders=())
    elif not card.tasks:
        card = replace(card, tasks={t: (t,) for t in present})
    if not card.types:
        raise UserError(f"{folder or dataset}: no mention of any type was found; a corpus needs labelled names.")
    in_train = {m.type for s in parts["train"] for m in s.mentions}
    missing = [t for t in card.types if t not in in_train]
    if missing:
        near = did_you_mean(missing[0], present)
        remarks.append(f"types that never occur in train: {', '.join(missing)}.{near}")
    used = frozenset(card.types)
    kept = {part: tuple(s.only(used) for s in sentences) for part, sentences in parts.items()}
    remarks += _differences(card, kept) if tasks is None else []
    sample = None
    if max_sentences is not None and max_sentences < len(kept["train"]):
        sample = _sample({part: len(sentences) for part, sentences in kept.items()}, max_sentences, split_seed)
    return Corpus(card, kept, "generated" if folder is None else str(folder), tuple(remarks), sample)


def find_card(dataset: str, data: Path | None = None) -> tuple[Card, Path | None]:
    """The card that ``dataset`` names and the folder of its text (None where it is generated).

    Raises UserError for an unknown name and for text that is not there: where to get it, what to pass.
    """
    path = Path(dataset)
    cards = list_cards()
    if dataset in cards:
        card, folder = cards[dataset], data
    elif path.suffix == ".toml":
        card, folder = read_card(path), data or path.parent
    elif path.is_dir():
        card, folder = Card(path.resolve().name, path.resolve().name), data or path
    else:
        raise UserError(
            f"--dataset: {dataset!r} is no dataset, card or folder; known datasets are {', '.join(cards)}."
            f"{did_you_mean(dataset, list(cards))}"
        )
    if card.reader == "synthetic":
        return card, None
    if data is None and "path" in card.reader_options:
        folder = Path(card.reader_options["path"])
    if folder is None:
        raise UserError(f"{card.title} is not part of this package. {card.how_to_get} Then pass --data PATH.")
    if not folder.is_dir():
        raise UserError(f"--data: {folder} is no folder. {card.how_to_get} Then pass --data PATH.")
    return card, folder


def parse_tasks(text: str, card: Card, present: Collection[str]) -> dict[str, tuple[str, ...]]:
    """``--tasks``: tasks separated by ``;``, their types by ``,``.

    A one-type task bears its type's name, one with the types of a card's task that one's, any other its types
    joined by ``+``.
    Raises UserError for an unknown type (with the nearest known one), a repeated one, or none.
    """
    known = sorted({*present, *card.types})
    names = {frozenset(types): name for name, types in card.tasks.items()}
    tasks: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for group in filter(None, (g.strip() for g in text.split(";"))):
        types: list[str] = []
        for word in filter(None, (w.strip() for w in group.split(","))):
            if word not in known and word not in card.tasks:
                near = did_you_mean(word, [*known, *card.tasks])
                raise UserError(f"--tasks: unknown type {word!r}; known are {', '.join(known)}.{near}")
            types += [word] if word in known else card.tasks[word]
        for type_ in types:
            if type_ in seen:
                raise UserError(f"--tasks: type {type_!r} is named twice; a type is learned in one task.")
            seen.add(type_)
        if types:
            tasks[types[0] if len(types) == 1 else names.get(frozenset(types), "+".join(types))] = tuple(types)
    if not tasks:
        raise UserError('--tasks: no types given; write e.g. --tasks "ORG;PERSON;GPE,DATE".')
    return tasks


def _read(card: Card, folder: Path | None, remarks: list[str]) -> Parts:
    options = card.reader_options
    _known(card, "reader", [card.reader], list(_OPTIONS))
    _known(card, "reader_options", options, _OPTIONS[card.reader])
    if card.reader == "synthetic":
        from cl_ner_bench.corpora.synthetic import generate

        return generate(**options)
    assert folder is not None
    if card.reader == "conll2012":
        ids = {part: frozenset(Path(p).read_text().split()) for part, p in options.get("ids", {}).items()}
        return read_conll2012(folder, ids, options.get("exclude", ()), remarks)
    subfolder = folder / options.get("subfolder", ".")
    files = find_parts(subfolder if subfolder.is_dir() else folder)
    parts = {part: tuple(read_file(path, remarks)) for part, path in files.items()}
    for part, sentences in parts.items():
        if not sentences:
            raise UserError(f"{files[part]}: no sentences; expected the {part} part here.")
    return parts


def _known(card: Card, key: str, found: Iterable[str], known: list[str]) -> None:
    for word in found:
        if word not in known:
            near = did_you_mean(word, known)
            raise UserError(f"card {card.name}: key '{key}': unknown {word!r}, known are {', '.join(known)}.{near}")


def _differences(card: Card, parts: Parts) -> list[str]:
    """What differs from the card's published counts."""
    remarks = []
    for part in PARTS:
        found = {
            "sentences": len(parts[part]),
            "words": sum(len(s.words) for s in parts[part]),
            "mentions": sum(len(s.mentions) for s in parts[part]),
        }
        for key, expected in card.counts.get(part, {}).items():
            if key in found and found[key] != expected:
                remarks.append(f"{part}: {found[key]:,} {key}, published are {expected:,}")
    return remarks


def _sample(sizes: Mapping[str, int], n_train: int, seed: int) -> dict[str, tuple[int, ...]]:
    if n_train < 1:
        raise UserError(f"--max-sentences: expected a number of at least 1, found {n_train}.")
    sample = {}
    for part, size in sizes.items():
        count = n_train if part == "train" else max(1, round(size * n_train / sizes["train"]))
        sample[part] = tuple(sorted(Random(seed).sample(range(size), min(count, size))))
    return sample
