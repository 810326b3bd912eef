"""The data of one more step: its sentences, the types to learn, and notes on unused labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from cl_ner_bench.corpora import aliases
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.find import find_card, options_of
from cl_ner_bench.corpora.load import load_corpus, rows_of
from cl_ner_bench.corpora.readers.folder import part_files, part_rows
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Sentence
from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.scenarios.task import StepData


@dataclass(frozen=True)
class NewData:
    """Sentences with all of their labels, and the types that the step learns, in learning order.

    A part of ``corpus`` is empty if the folder lacks this part. ``notes`` name left-out labels and decisions.
    """

    corpus: Corpus
    types: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sentences(self) -> dict[str, Sequence[Sentence]]:
        """The sentences of each part that has any, with all of their labels."""
        return {part: self.corpus.parts[part] for part in PARTS if self.corpus.parts[part]}

    @cached_property
    def unlabelled(self) -> dict[str, list[Sentence]]:
        """The same sentences without labels."""
        return {part: [s.only(()) for s in sentences] for part, sentences in self.sentences.items()}

    def step_data(self, step: int, known: Sequence[str]) -> StepData:
        """Return the data of the step, labelled with its types only. ``known`` are the types of the model."""
        train, dev = (tuple(s.only(self.types) for s in self.corpus.parts[part]) for part in ("train", "dev"))
        types = (*known, *(t for t in self.types if t not in known))
        return StepData(step, types, self.types, train, dev, self.types)


def read_new_data(
    data: str, known: Sequence[str], wanted: Sequence[str] | None, division: Division | None = None
) -> NewData:
    """Return the data of a corpus folder, of one file (train), or of a card. A folder may lack dev and test.

    Args:
        known: the types of the model.
        wanted: the types to learn. None means all types of train, if the model knows none of them.
        division: the division of a file, or of a folder that lacks parts.

    Raises:
        UserError: the data cannot be read, or the types to learn are unclear.
    """
    corpus = _read(data, division)
    notes = list(corpus.remarks)
    counts = corpus.type_counts
    types = _chosen(data, counts["train"], known, wanted)
    if absent := [part for part in ("dev", "test") if not corpus.parts[part]]:
        notes.append(f"{data} has no {' and no '.join(absent)} part")
    unused = {t: n for t, n in sorted(counts["train"].items()) if t not in types}
    if unused:
        listed = ", ".join(f"{t} ({n:,})" for t, n in unused.items())
        notes.append(f"labels of other types in train are not learned from: {listed}")
    return NewData(corpus, types, tuple(notes))


class _PartsMayMiss(Report):
    """A report that accepts a folder without a file for a part."""

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__()
        self._folders = folders

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        if kind != "missing" or path not in self._folders:
            super().problem(kind, path, line, text, fix)


def _read(data: str, division: Division | None) -> Corpus:
    """Return a corpus. Its dev and test parts may be empty. One file is the train part."""
    try:
        card, folder = find_card(data)
        options = options_of(card)
        if division is not None or folder is None or not isinstance(options, ReaderOptions):
            return load_corpus(data, parts=division)
        report = _PartsMayMiss((folder, folder / options.subfolder))
        if folder.is_file():
            parts = {"train": _sentences(part_rows([folder], "train", options, report))}
        elif all(part_files(folder, options, report).values()):
            return load_corpus(data)
        else:
            parts = {part: _sentences(rows) for part, rows in rows_of(card, folder, report).items()}
    except UserError as error:
        raise UserError(str(error).replace("--dataset", "--data", 1)) from None
    if not parts["train"]:
        part_files(folder, options, Report())  # raises the error for the missing file
    return _corpus(card, {part: parts.get(part, ()) for part in PARTS}, str(folder), report.remarks)


def _sentences(rows: Iterable[Row]) -> tuple[Sentence, ...]:
    return tuple(Sentence(i, row.words, row.mentions) for i, row in enumerate(rows))


def _corpus(card: Card, parts: Mapping[str, tuple[Sentence, ...]], source: str, remarks: Iterable[str]) -> Corpus:
    """Return a corpus with the mentions of the card's types, as ``load_corpus`` does for complete corpora."""
    counts = Counter(m.type for sentences in parts.values() for s in sentences for m in s.mentions)
    said = [*remarks]
    if not card.tasks:
        card = replace(card, tasks={t: (t,) for t in sorted(counts)})
    if renamed := aliases.read_as(card, sorted(counts)):
        said.append(aliases.remark(renamed))
    if dropped := {t: n for t, n in sorted(counts.items()) if renamed.get(t, t) not in card.types}:
        listed = ", ".join(f"{t} ({n:,})" for t, n in dropped.items())
        said.append(f"mentions of types that the card does not use are left out: {listed}")

    def of_card(s: Sentence) -> Sentence:
        named = [m._replace(type=renamed.get(m.type, m.type)) for m in s.mentions]
        return Sentence(s.id, s.words, tuple(sorted(m for m in named if m.type in card.types)))

    return Corpus(card, {part: tuple(map(of_card, found)) for part, found in parts.items()}, source, tuple(said))


def _chosen(data: str, present: Counter[str], known: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the types to learn. Raise UserError if they are unclear."""
    if not present:
        raise UserError(f"--data {data}: train has no mention of any type; expected sentences that label the new type")
    of_data = sorted(present)
    if wanted is not None:
        for type_ in wanted:
            if type_ not in present:
                raise UserError(
                    f"--types {type_}: train of {data} has no mention of it, only of {', '.join(of_data)}."
                    f"{did_you_mean(type_, of_data)}"
                )
        if not wanted:
            raise UserError(f"--types: expected at least one type of {data}: {', '.join(of_data)}")
        return tuple(dict.fromkeys(wanted))
    new, old = [t for t in of_data if t not in known], [t for t in of_data if t in known]
    if old:
        mentions = sum(present[t] for t in old)
        alone = f"--types {','.join(new)} learns {', '.join(new)} alone; " if new else "It labels no new type; "
        raise UserError(
            f"--data {data}: labels {', '.join(old)} ({counted(mentions, 'mention')} in train), which the model knows. "
            f"{alone}--types {','.join(of_data)} learns {', '.join(old)} further from these labels, for which every "
            "mention must be labelled"
        )
    for type_, old_type in ((t, k) for t in new for k in known if aliases.are_one(t, k, Card("", ""))):
        raise UserError(
            f"--data {data}: labels {type_}, and the model knows {old_type}: rename it where it is the same type, as "
            f"{aliases.rename({type_: old_type})} in a card, or pass --types {','.join(new)} where it is another"
        )
    return tuple(new)
