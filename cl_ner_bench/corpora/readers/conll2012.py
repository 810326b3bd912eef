"""OntoNotes in CoNLL-2012 form: folders of ``*.gold_conll`` or ``*.v4_gold_conll`` files.

Which documents count is decided by lists of document ids, as the standard NER split is made (CoNLL-2012
shared task; Pradhan et al. 2013): the larger distribution also holds documents without a name layer, whose
names would be read as "no name", and the column cannot tell the two apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path

from cl_ner_bench.corpora.readers.lines import fail, lines
from cl_ner_bench.corpora.sentence import PARTS, Mention, Sentence
from cl_ner_bench.errors import UserError

_COMPONENTS = {
    "train": "train",
    "development": "dev",
    "dev": "dev",
    "test": "test",
    "conll-2012-test": "test",
}
_BEGIN = re.compile(r"#begin document \(?([^\s);]+)")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LCB-": "{", "-RCB-": "}", "-LSB-": "[", "-RSB-": "]"}
_NE_COLUMN, _MIN_COLUMNS = 10, 12  # words, ..., speaker, named entities, predicates' arguments, coreference


def read_conll2012(
    folder: Path, ids: Mapping[str, Collection[str]], exclude: Collection[str], remarks: list[str]
) -> dict[str, list[Sentence]]:
    """The sentences of each part, documents in the order of their ids.

    A file's part is told by its path (``train``, ``development``, ``test``, ``conll-2012-test``), else by
    ``ids``. Where ``conll-2012-test`` exists it alone is the test part. A part with a list in ``ids`` keeps
    its documents and no others; documents whose id begins with one of ``exclude`` are left out everywhere.
    Remarks say what was left out.
    Raises UserError for a folder without such files or without a part, and for malformed lines.
    """
    documents: dict[str, dict[str, Path]] = {part: {} for part in PARTS}
    official: dict[str, Path] = {}
    n_files = 0
    for path in sorted(folder.rglob("*gold_conll")):
        steps = path.relative_to(folder).parts[:-1]
        if not path.name.endswith((".gold_conll", ".v4_gold_conll")) or {"chinese", "arabic"} & set(steps):
            continue
        n_files += 1
        name = _document_id(path)
        part = next((_COMPONENTS[step] for step in steps if step in _COMPONENTS), None)
        part = part or next((p for p in PARTS if name in ids.get(p, ())), "test")
        if "conll-2012-test" in steps:
            official.setdefault(name, path)
        else:
            documents[part].setdefault(name, path)
    documents["test"] = official or documents["test"]
    if not n_files:
        raise UserError(f"{folder}: no *.gold_conll or *.v4_gold_conll files below it.")
    kept = 0
    parts: dict[str, list[Sentence]] = {}
    for part, found in documents.items():
        names = [n for n in sorted(found) if not n.startswith(tuple(exclude)) and n in ids.get(part, (n,))]
        if not names:
            raise UserError(f"{folder}: no documents of the {part} part; expected a folder '{part}' with annotations.")
        missing = len([n for n in ids.get(part, ()) if n not in found and not n.startswith(tuple(exclude))])
        if missing:
            remarks.append(f"{part}: {missing} documents of the card's list are not there")
        kept += len(names)
        rows = chain.from_iterable(_sentences(found[name]) for name in names)
        parts[part] = [Sentence(i, *row) for i, row in enumerate(rows)]
    if kept < n_files:
        without = f", without {', '.join(exclude)}" if exclude else ""
        remarks.append(f"{kept} of {n_files} files were read: the documents of the card's lists{without}")
    return parts


def normalise(word: str) -> str:
    r"""The word as it was written: CoNLL-2012 escapes some.

    ``/.`` ``/?`` ``/-`` (a slash and one punctuation mark) lose the slash; ``-LRB-`` and its kin become
    brackets; ``%um`` (a filled pause) loses the per cent sign; ``\/`` and ``\*`` lose the backslash.
    """
    if word in _BRACKETS:
        return _BRACKETS[word]
    if len(word) == 2 and word[0] == "/" and not word[1].isalnum():
        return word[1]
    if len(word) > 1 and word[0] == "%" and word[1:].isalpha():
        return word[1:]
    return word.replace("\\/", "/").replace("\\*", "*")


def _document_id(path: Path) -> str:
    first = next((text for _, text in lines(path)), "")
    match = _BEGIN.match(first)
    if match:
        return match[1]
    below = path.as_posix().split("/annotations/")[-1]
    return re.sub(r"\.(v\d+_)?(auto_|gold_)*conll$", "", below)


def _sentences(path: Path) -> Iterator[tuple[tuple[str, ...], tuple[Mention, ...]]]:
    words: list[str] = []
    mentions: list[Mention] = []
    opened: list[tuple[int, str, int]] = []  # first word, type, line
    for number, text in chain(lines(path), [(0, "")]):
        if not text.strip() or text.startswith("#"):
            if opened:
                fail(
                    path,
                    opened[-1][2],
                    f"'({opened[-1][1]}' is never closed",
                    "Close it in the same sentence",
                )
            if words:
                yield tuple(words), tuple(sorted(mentions))
                words, mentions = [], []
            continue
        cells = text.split()
        if len(cells) < _MIN_COLUMNS:
            fail(path, number, f"{len(cells)} columns, expected 12 or more", "Give whole CoNLL-2012 rows")
        if cells[3] == "[WORD]":
            fail(path, number, "the words are missing ([WORD])", "Run skeleton2conll with the LDC's text first")
        for type_ in re.findall(r"\(([^()*]+)", cells[_NE_COLUMN]):
            opened.append((len(words), sys.intern(type_), number))
        words.append(normalise(cells[3]))
        for _ in range(cells[_NE_COLUMN].count(")")):
            if not opened:
                fail(path, number, "')' closes no name", "Check the named-entity column (the 11th)")
            start, type_, _ = opened.pop()
            mentions.append(Mention(start, len(words), type_))
