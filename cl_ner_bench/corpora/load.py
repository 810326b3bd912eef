"""The loader of corpora: their text lies in a folder or on the hub, and parsed corpora in the local cache."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from cl_ner_bench.corpora import aliases, cache
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.find import GeneratorOptions, UnionOptions, find_card, options_of
from cl_ner_bench.corpora.published_counts import CountDifference, Counts, differences, present_types
from cl_ner_bench.corpora.readers.conll2012 import open_conll2012
from cl_ner_bench.corpora.readers.folder import open_parts, part_files
from cl_ner_bench.corpora.readers.lines import Row, some
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention, Sentence
from cl_ner_bench.corpora.synthetic.generate import generate, generator_files
from cl_ner_bench.corpora.tasks import check_mentions, parse_tasks
from cl_ner_bench.corpora.union import members_of
from cl_ner_bench.errors import UserError, did_you_mean

_FOLDER = "{folder}/"  # replaces the folder in stored remarks, because it may move


class _Loaded(NamedTuple):
    """Sentences by part with all their mentions, their source, the ids of each domain of a union, and the ids of the
    test sentences that begin a document."""

    parts: Mapping[str, tuple[Sentence, ...]]
    source: str
    domains: Mapping[str, Mapping[str, range]] = {}
    documents: tuple[int, ...] = ()
    differences: tuple[CountDifference, ...] = ()  # of a union's corpora


@contextmanager
def _no_collection() -> Iterator[None]:
    # A corpus is hundreds of thousands of small values without cycles. The collector would walk them again and again
    # for nothing, which takes a third of the time of a second start.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_no_collection()
def load_corpus(
    dataset: str,
    data: Path | None = None,
    tasks: str | None = None,
    max_sentences: int | None = None,
    split_seed: int = 1,
    parts: Division | None = None,
) -> Corpus:
    """Return the corpus that ``dataset`` names: a card's name, the path of a card, a folder with train/dev/test
    files, or a file or folder that ``parts`` divides into these.

    Args:
        data: the folder or file of the text, if the card does not name it. Without a folder, a card's hub corpus comes
            from the local cache, else from the hub (``Corpus.source`` says from which).
        tasks: tasks that replace the card's, such as "ORG;PERSON;GPE,DATE"; the name of a card's task stands for its
            types. Without card and ``tasks`` each type is a task, in alphabetical order. Mentions of types without a
            task are dropped.
        max_sentences: the number of train sentences of a sample (``Corpus.sample``), with dev and test in proportion.
        split_seed: the seed of the sample.
        parts: the rule that divides sentences without parts, or with too few (``Corpus.division``).

    Raises:
        UserError: unknown name, missing corpus, malformed files, unknown or repeated types.
    """
    card, folder = find_card(dataset, data)
    remarks: list[str] = []
    loaded, counts = _with_names_of(card, _load(card, folder, remarks, parts), remarks)
    present = present_types(counts)
    other = (*loaded.differences, *_unlike_published(card, counts))
    if tasks is not None:
        # The card's orders number the card's tasks, so they do not hold for other tasks.
        card = replace(card, tasks=parse_tasks(tasks, card, present), orders=())
    elif not card.tasks:
        card = replace(card, tasks={t: (t,) for t in present})
    check_mentions(card, counts, folder or Path(dataset), Report())
    missing = [t for t in card.types if t not in counts["train"].types]
    if missing:
        remarks.append(f"types that never occur in train: {', '.join(missing)}.{aliases.as_renamed(card, present)}")
    used = frozenset(card.types)
    kept = {
        part: sentences if counts[part].types.keys() <= used else tuple([s.only(used) for s in sentences])
        for part, sentences in loaded.parts.items()
    }
    sample = None
    if max_sentences is not None and max_sentences < len(kept["train"]):
        sample = _sample({part: len(sentences) for part, sentences in kept.items()}, max_sentences, split_seed)
    return Corpus(
        card,
        kept,
        loaded.source,
        tuple(remarks),
        sample,
        loaded.domains,
        loaded.documents,
        other,
        _dropped(loaded.parts, counts, used, sample),
        parts,
    )


def _unlike_published(card: Card, counts: Mapping[str, Counts]) -> Iterator[CountDifference]:
    """Yield the differences between a corpus and the published one with its card's name."""
    known = list_cards().get(card.name)
    if known is not None and not known.says_the_same(card):
        of = f"its card is {card.file}" if card.file else "it has no card"
        text = f"only the name is that of the dataset {card.name}: {of}, so that published counts were not compared"
        yield CountDifference(text, False)
    yield from differences(card, counts)


def _dropped(
    parts: Mapping[str, tuple[Sentence, ...]],
    counts: Mapping[str, Counts],
    used: Collection[str],
    sample: Mapping[str, tuple[int, ...]] | None,
) -> dict[str, dict[str, int]]:
    """Return the number of mentions of each type that is not ``used``, by part; of the sample, if there is one."""
    found = {part: n.types for part, n in counts.items()}
    if sample is not None:
        found = {part: Counter([m.type for i in ids for m in parts[part][i].mentions]) for part, ids in sample.items()}
    types = sorted({type_ for n in found.values() for type_ in n}.difference(used))
    return {type_: {part: n[type_] for part, n in found.items()} for type_ in types}


def rows_of(
    card: Card, folder: Path | None, report: Report, division: Division | None = None
) -> dict[str, Iterator[Row]]:
    """Return the sentences of train, dev and test as their source holds them, streamed. ``find_card`` gives ``folder``.

    Problems of the files go to ``report``. Raises UserError if the hub gives nothing, if a list of ids or a corpus of a
    union is missing, and for a ``division`` of a corpus that has parts.
    """
    options = options_of(card)
    if division is not None:
        _refuse_division(card, folder)
    if isinstance(options, ReaderOptions):
        if folder is not None:
            parts = open_parts(folder, options, report, division)
        else:
            from cl_ner_bench.corpora.hub import hub_rows

            parts = hub_rows(card, options, report)
        parts[PARTS[-1]] = chain(parts[PARTS[-1]], _remark_on_renames(options, report))
        return parts
    if isinstance(options, GeneratorOptions):
        made, where = generate(options), Path(card.name)
        return {p: (Row(where, s.id + 1, s.words, s.mentions) for s in sentences) for p, sentences in made.items()}
    if isinstance(options, UnionOptions):
        members = [(m, rows_of(m.card, m.folder, report)) for m in members_of(card, folder).values()]
        return {part: chain(*[m.rows(rows[part]) for m, rows in members]) for part in PARTS}
    assert folder is not None
    ids: dict[str, frozenset[str]] = {part: _ids(Path(path), card) for part, path in options.ids.items()}
    return open_conll2012(folder, ids, options, report)


def _remark_on_renames(options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield no rows, but remark on types of ``rename`` that no earlier row had."""
    absent = [type_ for type_ in options.rename if type_ not in options.seen]
    if absent:
        near = did_you_mean(absent[0], sorted(options.seen))
        report.remark(f"'rename' names types that never occur: {some(absent)}.{near}")
    yield from ()


def _refuse_division(card: Card, folder: Path | None) -> None:
    """Raise UserError for a corpus that ``--parts`` cannot divide: its parts do not come from file names."""
    if folder is None:
        where = "from the hub" if card.hub else "generated"
        raise UserError(f"--parts divides files of your own, and {card.name} is {where}; leave --parts out.")
    if card.reader != "auto":
        raise UserError(f"--parts: the reader of {card.name} knows which files are which part; leave --parts out.")


def _load(card: Card, folder: Path | None, remarks: list[str], division: Division | None = None) -> _Loaded:
    """Return the whole corpus. It comes from the cache if its source has not changed since it was parsed."""
    if division is not None:
        _refuse_division(card, folder)
    if card.reader == "synthetic":
        return _generated(card, remarks)
    if card.reader == "union":
        return _union(card, folder, remarks)
    if folder is None:
        assert card.hub is not None
        source = home = f"the Hugging Face hub ({card.hub.repo}, revision {card.hub.revision})"
        key = cache.content_key(["hub", msgspec.structs.asdict(card.hub), dict(card.reader_options)])
    else:
        source = str(folder)
        home = str(_home(folder))
        options = {k: v for k, v in card.reader_options.items() if k not in ("path", "ids")}
        only = card.types if len(card.types) == 1 else ()  # tags without a type get it
        rule = [] if division is None else [division.to_json()]
        key = cache.content_key([card.reader, options, only, *rule], _files(card, folder, division))
    parsed = cache.read(key, remarks)
    if parsed is not None and folder is None:
        source = f"the local cache of {source}"
    if parsed is None:
        report = Report()
        parts, begins = _parse(rows_of(card, folder, report, division), source, report)
        known = card.reader == "conll2012" or "documents" in card.reader_options  # a file is a document
        if division is not None:
            others = {document for part in ("train", "dev") for document, _ in begins[part]}
            known = len(begins["test"]) > 1 and not others & {document for document, _ in begins["test"]}
        known &= len({document for document, _ in begins["test"]}) == len(begins["test"])  # no document is in pieces
        said = tuple(remark.replace(f"{home}/", _FOLDER) for remark in report.remarks)
        parsed = cache.Parsed(parts, said, tuple(i for _, i in begins["test"]) if known else ())
        cache.write(key, parsed, remarks)
    remarks += [remark.replace(_FOLDER, f"{home}/") for remark in parsed.remarks]
    if folder is None:
        remarks.append(f"the corpus comes from {source}")
    return _Loaded(parsed.parts, source, documents=parsed.documents)


def _generated(card: Card, remarks: list[str]) -> _Loaded:
    """Return a generated corpus. It comes from the cache if its options and the generator's files are unchanged.

    Generating takes a third of a second, and every process of a grid needs the corpus.
    """
    key = cache.content_key([card.reader, dict(card.reader_options)], generator_files())
    parsed = cache.read(key, remarks)
    if parsed is None:
        parsed = cache.Parsed(_parse(rows_of(card, None, Report()), card.title, Report())[0])
        cache.write(key, parsed, remarks)
    return _Loaded(parsed.parts, "generated")


def _parse(
    rows: Mapping[str, Iterable[Row]], source: str, report: Report
) -> tuple[dict[str, tuple[Sentence, ...]], dict[str, list[tuple[tuple[Path, str], int]]]]:
    """Return the sentences of each part, and each place where a document begins or goes on: the document and the id of
    the first sentence. A document is a file, or a part of a file that the file marks as a document.
    """
    parts: dict[str, tuple[Sentence, ...]] = {}
    begins: dict[str, list[tuple[tuple[Path, str], int]]] = {}
    for part, found in rows.items():
        made: list[Sentence] = []
        begins[part] = []
        file, document = None, ""
        for i, row in enumerate(found):
            if row.path is not file or row.document != document:
                file, document = row.path, row.document
                begins[part].append(((file, document), i))
            made.append(Sentence(i, row.words, row.mentions))
        parts[part] = tuple(made)
    for part, sentences in parts.items():
        if not sentences and not (part != "train" and report.left_out):
            raise UserError(f"{source}: no sentences in the {part} part; a corpus needs train, dev and test.")
    return parts, begins


def _home(folder: Path) -> Path:
    """Return the folder of a corpus that may be a single file."""
    return folder.parent if folder.is_file() else folder


def _files(card: Card, folder: Path, division: Division | None) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file of a corpus. Raises UserError if a part has no file, or several could be it."""
    for part, path in card.reader_options.get("ids", {}).items():
        yield f"ids of {part}", Path(path)
    if card.reader == "conll2012":
        paths: Iterable[Path] = folder.rglob("*gold_conll")
    else:
        options = options_of(card)
        assert isinstance(options, ReaderOptions)
        found = part_files(folder, options, Report(), division)
        paths = chain.from_iterable((path, path.with_suffix(".ann")) for path in chain(*found.values()))
    for path in sorted({path for path in paths if path.is_file()}):
        yield path.relative_to(_home(folder)).as_posix(), path


def _union(card: Card, folder: Path | None, remarks: list[str]) -> _Loaded:
    parts: dict[str, list[Sentence]] = {part: [] for part in PARTS}
    domains: dict[str, dict[str, range]] = {}
    documents: list[tuple[int, ...]] = []
    sources: list[str] = []
    other: list[CountDifference] = []
    for domain, member in members_of(card, folder).items():
        own: list[str] = []
        loaded, counts = _with_names_of(member.card, _load(member.card, member.folder, own), own)
        member.check_types(counts)
        other += [d._replace(text=f"{domain}: {d.text}") for d in _unlike_published(member.card, counts)]
        remarks += [f"{domain}: {remark}" for remark in own]
        sources.append(f"{domain}: {loaded.source}")
        domains[domain] = {}
        documents.append(tuple(len(parts["test"]) + i for i in loaded.documents))
        for part, sentences in loaded.parts.items():
            start = len(parts[part])
            parts[part] += [Sentence(start + s.id, s.words, member.of_types(s.mentions)) for s in sentences]
            domains[domain][part] = range(start, len(parts[part]))
    whole = {part: tuple(sentences) for part, sentences in parts.items()}
    begins = tuple(chain(*documents)) if all(documents) else ()
    return _Loaded(whole, "; ".join(sources), domains, begins, tuple(other))


def _ids(path: Path, card: Card) -> frozenset[str]:
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        raise UserError(f"{card.where}: key 'reader_options.ids': {path} cannot be read ({error}).") from None


def _count(sentences: Collection[Sentence]) -> Counts:
    types = Counter([m.type for s in sentences for m in s.mentions])
    return Counts(len(sentences), sum([len(s.words) for s in sentences]), types)


def _with_names_of(card: Card, loaded: _Loaded, remarks: list[str]) -> tuple[_Loaded, dict[str, Counts]]:
    """Return a corpus whose types have the card's names instead of other names, and its counts by part."""
    counts = {part: _count(sentences) for part, sentences in loaded.parts.items()}
    if not (names := aliases.read_as(card, present_types(counts))):
        return loaded, counts
    remarks.append(aliases.remark(names))
    parts = {part: _renamed(sentences, names) for part, sentences in loaded.parts.items()}
    return loaded._replace(parts=parts), {part: _count(sentences) for part, sentences in parts.items()}


def _renamed(sentences: Iterable[Sentence], names: Mapping[str, str]) -> tuple[Sentence, ...]:
    """Return sentences with their types renamed by ``names``."""

    def named(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
        return tuple(sorted(m._replace(type=names.get(m.type, m.type)) for m in mentions))

    return tuple(Sentence(s.id, s.words, named(s.mentions)) for s in sentences)


def _sample(sizes: Mapping[str, int], n_train: int, seed: int) -> dict[str, tuple[int, ...]]:
    if n_train < 1:
        raise UserError(f"--max-sentences: expected a number of at least 1, found {n_train}.")
    sample = {}
    for part, size in sizes.items():
        count = n_train if part == "train" else max(1, round(size * n_train / sizes["train"]))
        sample[part] = tuple(sorted(Random(seed).sample(range(size), min(count, size))))
    return sample
