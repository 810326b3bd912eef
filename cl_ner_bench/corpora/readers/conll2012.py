"""OntoNotes in CoNLL-2012 form: folders of ``*.gold_conll`` or ``*.v4_gold_conll`` files.

Lists of document ids decide which documents count, as in the standard NER split (CoNLL-2012 shared task; Pradhan et
al. 2013). The larger distribution also holds documents without a name layer. Their names would be read as "no name",
because the column cannot tell the two apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from cl_ner_bench.corpora.card import Part
from cl_ner_bench.corpora.readers.folder import is_inside
from cl_ner_bench.corpora.readers.lines import Row, head, lines
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS, Mention
from cl_ner_bench.errors import short
from cl_ner_bench.validation import FilePath, Text

_COMPONENTS = {
    "train": "train",
    "development": "dev",
    "dev": "dev",
    "test": "test",
    "conll-2012-test": "test",
}


class Conll2012Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The reader options of OntoNotes in CoNLL-2012 form.

    ``ids`` names for each part a file with a list of document ids. A part with a list keeps only the documents in it.
    Documents whose id begins with one of ``exclude`` are left out everywhere. ``normalise`` gives words as they were
    written (``unescape``). ``test_folder`` is the folder of the test part; by default it is ``conll-2012-test`` if that
    exists, else ``test``.
    """

    ids: Mapping[Part, FilePath] = {}
    exclude: Annotated[tuple[Text, ...], Meta(description='a list of how ids of documents begin, like ["pt/"]')] = ()
    normalise: bool = True
    test_folder: Literal["test", "conll-2012-test"] | None = None
    path: FilePath | None = None


_BEGIN = re.compile(rb"#begin document \(?([^\s);]+)")
_BLANKS = re.compile("[ \t]+")
_NAME = re.compile(r"\(([^()*]+)")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LCB-": "{", "-RCB-": "}", "-LSB-": "[", "-RSB-": "]"}
_WORD_COLUMN, _NAME_COLUMN, _MIN_COLUMNS = 3, 10, 12  # behind them: predicates' arguments, coreference


def open_conll2012(
    folder: Path, ids: Mapping[str, Collection[str]], options: Conll2012Options, report: Report
) -> dict[str, Iterator[Row]]:
    """Return the sentences of each part, documents in the order of their ids; files are opened when they are read.

    A file's part is found by its path (``train``, ``development``, ``test``, ``conll-2012-test``), else by ``ids`` (the
    lists that ``options`` name); else it is test. Remarks say what was left out. A folder without such files, a part
    without documents and malformed lines are problems (kinds ``missing``, ``columns``, ``words``, ``brackets``).
    """
    exclude, test_folder = options.exclude, options.test_folder
    documents: dict[str, dict[str, Path]] = {part: {} for part in PARTS}
    official: dict[str, Path] = {}
    n_files = 0
    for path in sorted(folder.rglob("*gold_conll")):
        steps = path.relative_to(folder).parts[:-1]
        if not path.name.endswith((".gold_conll", ".v4_gold_conll")) or {"chinese", "arabic"} & set(steps):
            continue
        if not is_inside(path, folder, report):
            continue
        n_files += 1
        name = _document_id(path)
        part = next((_COMPONENTS[step] for step in steps if step in _COMPONENTS), None)
        part = part or next((p for p in PARTS if name in ids.get(p, ())), "test")
        if "conll-2012-test" in steps:
            official.setdefault(name, path)
        else:
            documents[part].setdefault(name, path)
    if test_folder == "conll-2012-test" or (test_folder is None and official):
        documents["test"] = official
    if not n_files:
        report.problem(
            "missing",
            folder,
            0,
            "no *.gold_conll or *.v4_gold_conll files below it",
            "Point to the folder of OntoNotes in CoNLL-2012 form",
        )
        return {part: iter(()) for part in PARTS}
    kept = 0
    parts: dict[str, Iterator[Row]] = {}
    for part, found in documents.items():
        names = [n for n in sorted(found) if not n.startswith(exclude) and n in ids.get(part, (n,))]
        if not names:
            where = test_folder if part == "test" and test_folder else part
            fix = f"Expected a folder '{where}' with annotations"
            report.problem("missing", folder, 0, f"no documents of the {part} part", fix)
        missing = len([n for n in ids.get(part, ()) if n not in found and not n.startswith(exclude)])
        if missing:
            report.remark(f"{part}: {missing} documents of the card's list are not there")
        kept += len(names)
        parts[part] = _rows([found[name] for name in names], options.normalise, report)
    if kept < n_files:
        reasons = ["the documents of the card's lists"] * bool(ids) + [f"without {start}" for start in exclude]
        report.remark(f"{kept} of {n_files} files were read: {', '.join(reasons) or 'one for each document'}")
    return parts


def unescape(word: str) -> str:
    r"""Return the word as it was written: CoNLL-2012 escapes some.

    ``/.`` ``/?`` ``/-`` (a slash and one punctuation mark) lose the slash; ``-LRB-`` and its kin become
    brackets; ``%um`` (a filled pause) loses the per cent sign; ``\/`` and ``\*`` lose the backslash.
    """
    if word.isalnum():
        return word
    if word in _BRACKETS:
        return _BRACKETS[word]
    if len(word) == 2 and word[0] == "/" and not word[1].isalnum():
        return word[1]
    if len(word) > 1 and word[0] == "%" and word[1:].isalpha():
        return word[1:]
    return word.replace("\\/", "/").replace("\\*", "*")


def _document_id(path: Path) -> str:
    match = _BEGIN.match(head(path))
    if match:
        return match[1].decode(errors="replace")
    below = path.as_posix().split("/annotations/")[-1]
    return re.sub(r"\.(v\d+_)?(auto_|gold_)*conll$", "", below)


def _rows(paths: Iterable[Path], normalise: bool, report: Report) -> Iterator[Row]:
    for path in paths:
        words: list[str] = []
        mentions: list[Mention] = []
        opened: list[tuple[int, str, int]] = []  # first word, type, line
        first, good = 0, True
        for number, text in chain(lines(path, report), [(0, "")]):
            if not text.strip() or text.startswith("#"):
                if opened:
                    _, type_, line = opened.pop()
                    fix = "Close it in the same sentence"
                    report.problem("brackets", path, line, f"{short('(' + type_)} is never closed", fix)
                    good = False
                if words and good:
                    yield Row(path, first, tuple(words), tuple(sorted(mentions)))
                words, mentions, opened, good = [], [], [], True
                continue
            # Split at blanks and tabs only: a word may hold other characters that Unicode counts as blanks.
            cells = text.split() if text.isascii() else _BLANKS.split(text.strip(" \t"))
            if len(cells) < _MIN_COLUMNS:
                fix = "Give whole CoNLL-2012 rows"
                report.problem("columns", path, number, f"{len(cells)} columns, expected 12 or more", fix)
                good = False
                continue
            word, name = cells[_WORD_COLUMN], cells[_NAME_COLUMN]
            if word == "[WORD]":
                fix = "Run skeleton2conll with the LDC's text first"
                report.problem("words", path, number, "the words are missing ([WORD])", fix)
                break
            if not words:
                first = number
            if name != "*":
                for type_ in _NAME.findall(name):
                    opened.append((len(words), sys.intern(type_), number))
            words.append(sys.intern(unescape(word) if normalise else word))
            for _ in range(name.count(")")):
                if not opened:
                    fix = "Check the named-entity column (the 11th)"
                    report.problem("brackets", path, number, "')' closes no name", fix)
                    good = False
                    break
                start, type_, _ = opened.pop()
                mentions.append(Mention(start, len(words), type_))
