"""Places of words and tags in a file of columns, as its first rows show them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cl_ner_bench.corpora import schemes
from cl_ner_bench.corpora.readers.counts import Rows, before_words, look_like_counts
from cl_ner_bench.corpora.readers.lines import lines
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report, SilentReport
from cl_ner_bench.errors import short

_Split = Callable[[str], list[str]]

_PLAIN = ReaderOptions()
_LOOK = 1000  # rows that are looked at
_MARKS = (",", ";")  # separators of a table; blanks beside them mean nothing
_BLANKS = re.compile("[ \t]+")
_BEHIND_COMMA = re.compile(r'(?:"[^"]*"|[^,"\t]+), ')
_COMMENT = re.compile(r"#(?:\s|#|\Z|[\w.:-]+=)")  # not #hashtag, which may be a word

# Names of the columns of a table, in lower case and without blanks and marks.
_WORDS = {"word", "words", "token", "tokens", "form"}
_TAGS = {
    *("tag", "tags", "label", "labels", "entity", "entities", "entitytag", "ner", "nertag", "nertags"),
    *("ne", "netag", "netags", "iob", "iobtag", "bio", "biotag", "bioes"),
}
_SENTENCES = {
    *("sentence", "sentenceid", "sentenceidx", "sentenceindex", "sentenceno", "sentencenum", "sentencenumber"),
    *("sent", "sentid", "sentidx", "sentno", "sentnum"),
}
_DOCUMENTS = {"document", "documentid", "doc", "docid", "dockey", "pmid"}
_COREFERENCE = re.compile(r"(?:^|\|)Entity=")  # CorefUD, GUM
_KEYS = ("ner", "ne", "nertag", "netag")  # attributes that may hold tags


class Layout(NamedTuple):
    """The columns of a file.

    Attributes:
        split: the function that splits a row.
        width: the number of columns.
        word: the column of words.
        tags: the columns of tags.
        header: the line that names the columns (0: none).
        sentence: the column whose change begins a sentence (-1: none).
        counter: the column that counts the words (-1: none).
        document: the column that names the document (-1: none); a document may come back later.
        key: the attribute that holds the tag in its column, as in ``NER=B-PER|SpaceAfter=No`` ("": the whole cell).
        tags_seen: the tags of the first rows.
    """

    split: _Split
    width: int
    word: int = 0
    tags: tuple[int, ...] = (-1,)
    header: int = 0
    sentence: int = -1
    counter: int = -1
    document: int = -1
    key: str = ""
    tags_seen: Collection[str] = ()

    def is_row(self, text: str, tags: Callable[[], Collection[str]]) -> bool:
        """Return whether a line has all columns and possible tags.

        If the file's tags are bare types, an unseen one is possible in a line without blanks or if ``tags`` gives it.
        """
        cells = self.split(text)
        if len(cells) != self.width or not all(cells[column] for column in self.tags):
            return False
        others = {cells[column] for column in self.tags if not is_tag(cells[column])}.difference(self.tags_seen)
        if others and not all(map(is_tag, self.tags_seen)):
            return " " not in text or others <= {*tags()}
        return not others


def find_layout(path: Path, options: ReaderOptions, report: Report) -> Layout | None:
    """Return the layout of a file; None if it has no rows, or after a problem (``columns``).

    This function finds what ``options`` leave open: the separator; a first row that names the columns; first columns
    that count the words, which stand behind them; if the last column holds no tags, another column of tags, or
    attributes. Notes: ``header``, ``columns found``. Convention: ``other columns``.
    """
    sentences = _sample(path, options)
    if not sentences:
        return None
    number, first = sentences[0][0]
    texts = [text for rows in sentences for _, text in rows]
    layout = _by_names(number, texts, options)
    if layout is None:
        if not options.comment and first.startswith("#") and _is_comment(texts, options):
            fix = 'Comment lines? Name them in a card: [reader_options] comment = "#"'
            report.problem("columns", path, number, f"the first row begins with '#': {short(first)}", fix)
            return None
        separator = options.separator or "," * _behind_commas(texts)
        layout = Layout(*splitter(first, separator), options.word_column, options.tag_columns)
        below = {splitter(text, separator)[1] for text in texts[1:6]}
        if len(texts) > 2 and len(below) == 1 and layout.width not in below and not is_tag(layout.split(first)[-1]):
            what = f"{layout.width} columns, and no tag, where all rows below have {below.pop()}: {short(first)}"
            fix = "Take it out, if it is a title or a comment"
            if not first[0].isalnum():
                fix += f", or say in a card: [reader_options] comment = {json.dumps(first[0])}"
            report.problem("columns", path, number, what, fix)
            return None
    if layout.width < 2:
        fix = "Separate them by a tab or a blank, or name the 'separator' in a card"
        report.problem("columns", path, number, f"1 column, expected a word and a tag: {short(first)}", fix)
        return None
    rows = [[cells for _, text in s if len(cells := layout.split(text)) == layout.width] for s in sentences]
    if layout.header:
        rows[0] = rows[0][1:]
    if not layout.header:
        found = _by_cells(path, layout, rows, options)
        if found is None:
            what = f"the last of {layout.width} columns holds no tags, and no attribute like NER=B-PER"
            fix = "Name the columns in a card: 'word_column', 'tag_columns'"
            if any(_COREFERENCE.search(row[-1]) for s in rows for row in s):
                what = f"the last of {layout.width} columns holds marks of coreference (Entity=), and no tags"
                fix = "Write the names as tags there, NER=B-PER, or in a column of their own"
            report.problem("columns", path, number, what, fix)
            return None
        layout = found
    columns = [layout.word, *layout.tags]
    if any(not -layout.width <= c < layout.width for c in columns) or len({c % layout.width for c in columns}) < len(
        columns
    ):
        text = f"{layout.width} columns, expected a word in column {columns[0]} and tags in {columns[1:]}"
        fix = "Correct 'word_column' and 'tag_columns': they count from 0, or from the end with -1"
        report.problem("columns", path, number, text, fix)
        return None
    word, *tags = (column % layout.width for column in columns)
    seen = {row[column] for s in rows for row in s for column in tags}
    layout = layout._replace(word=word, tags=tuple(tags), tags_seen=seen)
    _tell(path, number, layout, rows, first, options, report)
    return layout


def looks_like_comment(text: str) -> bool:
    """Return whether a line has the form of a comment: ``# text``, ``#KEY=...``, ``##``; not ``#hashtag``."""
    return _COMMENT.match(text) is not None


def is_tag(cell: str) -> bool:
    return cell == "O" or schemes.has_prefix(cell)


def sentences_of(
    numbered: Iterable[tuple[int, str]], is_comment: Callable[[int, str], bool], documents: list[int]
) -> Iterator[tuple[list[int], list[str]]]:
    """Yield the lines of each sentence with their numbers. Sentences end at blank lines and at ``-DOCSTART-`` lines,
    whose numbers are added to ``documents``. Comments are left out if no sentence has begun.
    """
    numbers, texts = list[int](), list[str]()
    for number, text in numbered:
        if not text or text.isspace() or text.startswith("-DOCSTART-"):
            if text[:1] == "-":
                documents.append(number)
            if texts:
                yield numbers, texts
                numbers, texts = [], []
        elif texts or not is_comment(number, text):
            numbers.append(number)
            texts.append(text)
    if texts:
        yield numbers, texts


def _behind_commas(texts: Sequence[str]) -> bool:
    """Return whether rows are a table with blanks behind its commas: the first words of text do not all end so."""
    return len(texts) > 2 and all(_BEHIND_COMMA.match(text) for text in texts)


def splitter(row: str, separator: str) -> tuple[_Split, int]:
    """Return the function that splits rows, and the number of columns, as the first row shows them."""
    if not separator:
        separator = "\t" if "\t" in row else " " if " " in row.strip(" ") or "," not in row else ","

    def at_blanks(text: str) -> list[str]:
        if "  " in text or "\t" in text or text[-1] == " " or text[0] == " ":
            return _BLANKS.split(text.strip("\t "))
        return text.split(" ")

    if separator == " ":
        return at_blanks, len(at_blanks(row))
    first = row.rstrip(" ").split(separator)
    if len(quoted := _quoted(row, separator)) > 1:
        first = quoted
    width = len(first) - (len(first) > 2 and not first[-1])
    is_table = separator in _MARKS

    def at_separator(text: str) -> list[str]:
        cells = text.rstrip(" ").split(separator) if text[-1] == " " else text.split(separator)
        if '"' in text and len(quoted := _quoted(text, separator)) in (width, width + 1):
            cells = quoted
        if is_table and " " in text:
            cells = [cell.strip(" ") for cell in cells]
        if len(cells) == width + 1 and not cells[-1]:
            cells.pop()
        return cells

    return at_separator, width


def _quoted(row: str, separator: str) -> list[str]:
    """Return the cells of a row of comma-separated values with quotes; [] for any other row."""
    if separator not in _MARKS or '"' not in row:
        return []
    try:
        return next(csv.reader([row], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return []


def _sample(path: Path, options: ReaderOptions) -> list[list[tuple[int, str]]]:
    """Return the first rows, by sentence."""

    def rows(is_comment: Callable[[int, str], bool]) -> list[list[tuple[int, str]]]:
        found, left = [], _LOOK
        for numbers, texts in sentences_of(lines(path, SilentReport(), encoding=options.encoding), is_comment, []):
            found.append([*zip(numbers[:left], texts[:left], strict=True)])
            left -= len(found[-1])
            if not left:
                break
        return found

    if options.comment:
        return rows(lambda _, text: text.startswith(options.comment))
    sample = rows(lambda _, text: looks_like_comment(text))
    if not sample:  # the first words are '#', or there are only comments
        sample = rows(lambda _, text: False)
        split, width = splitter(sample[0][0][1], options.separator) if sample else (str.split, 0)
        if width < 2 or not is_tag(split(sample[0][0][1])[-1]):
            return []
    return sample


def _is_comment(texts: Sequence[str], options: ReaderOptions) -> bool:
    """Return whether the first row has only one column, or no tag while the second has one or another width."""
    first, *others = [splitter(text, options.separator)[0](text) for text in texts[:2]]
    if len(first) == 1:
        return True
    return not is_tag(first[-1]) and any(len(row) != len(first) or schemes.has_prefix(row[-1]) for row in others)


def _by_names(number: int, texts: Sequence[str], options: ReaderOptions) -> Layout | None:
    """Return the layout if the first row names a column of words and one of tags, else None."""
    for separator in [options.separator] if options.separator else "\t,; ":
        if separator not in texts[0]:
            continue
        split, width = splitter(texts[0], separator)
        names = [re.sub("[^a-z]", "", name.casefold()) for name in split(texts[0])[:width]]
        words, tags, sentences, documents = (
            [i for i, name in enumerate(names) if name in known] for known in (_WORDS, _TAGS, _SENTENCES, _DOCUMENTS)
        )
        if words and tags:
            table = [cells for text in texts[1:] if len(cells := split(text)) == width]
            sure = [i for i in tags if any(is_tag(row[i]) for row in table)] or tags
            sentence, document = (next(iter(found), -1) for found in (sentences, documents))
            layout = Layout(split, width, words[0], (sure[-1],), number, sentence, document=document)
            if options.word_column != _PLAIN.word_column:
                layout = layout._replace(word=options.word_column)
            if options.tag_columns != _PLAIN.tag_columns:
                layout = layout._replace(tags=options.tag_columns)
            return layout
    return None


def _by_cells(path: Path, layout: Layout, sentences: Sequence[Rows], options: ReaderOptions) -> Layout | None:
    """Return the layout with the columns of words, tags and counts that the rows show, if ``options`` leave them open;
    None if no column holds tags.
    """
    words_are_open = options.word_column == _PLAIN.word_column
    if words_are_open:
        found = before_words(sentences, layout.width)
        if found.word not in [column % layout.width for column in layout.tags]:
            layout = layout._replace(**found._asdict())
    if options.tag_columns != _PLAIN.tag_columns:
        return layout
    rows = [row for rows in sentences for row in rows]
    last = [row[-1] for row in rows]
    if any(map(is_tag, last)):
        return layout
    if layout.width == 2:
        before = [row[0] for row in rows]
        tags_first = words_are_open and all(map(is_tag, before)) and any(map(schemes.has_prefix, before))
        return layout._replace(word=1, tags=(0,)) if tags_first else layout
    if all(cell == "_" or "=" in cell for cell in last):
        key = _key(last) or _key(_cells_behind(path, options))
        if key:
            return layout._replace(key=key)
    columns = [*zip(*rows, strict=True)]
    word = layout.word % layout.width
    others = [i for i in range(word + 1, layout.width - 1) if "O" in columns[i] and not _are_phrases(columns[i])]
    if others:
        return layout._replace(tags=(others[-1],))
    return None if all(cell in ("_", "-") or "=" in cell for cell in last) else layout


def _key(cells: Iterable[str]) -> str:
    """Return the key of the attribute that holds tags, else ""."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for attribute in cell.split("|"):
            key, is_, value = attribute.partition("=")
            if is_:
                values.setdefault(key, set()).add(value)
    named = [key for name in _KEYS for key in values if re.sub("[^a-z]", "", key.casefold()) == name]
    sure = [key for key, found in values.items() if all(map(is_tag, found)) and found != {"O"}]
    return next(iter([*named, *sure]), "")


def _cells_behind(path: Path, options: ReaderOptions) -> Iterator[str]:
    """Yield the first attribute of a file whose name says that it holds a tag."""
    pattern = re.compile(rf"[\t |]((?:{'|'.join(_KEYS)})=[^|\s]*)", re.IGNORECASE)
    found = (pattern.search(text) for _, text in lines(path, SilentReport(), encoding=options.encoding))
    return (match[1] for match in islice(filter(None, found), 1))


def _are_phrases(cells: Collection[str]) -> bool:
    return all(map(is_tag, cells)) and {cell[2:] for cell in cells} <= schemes.PHRASES


def _tell(
    path: Path,
    number: int,
    layout: Layout,
    sentences: Sequence[Rows],
    first: str,
    options: ReaderOptions,
    report: Report,
) -> None:
    """Report columns that were found elsewhere than first and last, words that look like an index, and other columns
    that look like tags.
    """
    find_words, find_tags = (getattr(options, n) == getattr(_PLAIN, n) for n in ("word_column", "tag_columns"))
    if layout.header:
        if find_words and find_tags:
            names = [short(name) for name in layout.split(first)]
            text = f"words in {names[layout.word]}, tags in {names[layout.tags[0]]}"
            text += f", sentences by {names[layout.sentence]}" * (layout.sentence >= 0)
            report.note("header", path, number, text)
    elif (find_words and layout.word) or (find_tags and (layout.key or layout.tags != (layout.width - 1,))):
        tags = f"column{'s' * (len(layout.tags) > 1)} {', '.join(map(str, layout.tags))}"
        tags = f"{layout.key}= of {tags}" if layout.key else tags
        report.note("columns found", path, number, f"words in column {layout.word}, tags in {tags}, counted from 0")
    columns = [*zip(*(row for rows in sentences for row in rows), strict=True)]
    if find_words and layout.width > 2 and look_like_counts(sentences, layout.word):
        text = f"column {layout.word}, read as words, looks like an index (as {short(columns[layout.word][0])})"
        report.remark(f"{path}: {text}; a card may name another 'word_column'")
    read = {layout.word, layout.counter, layout.sentence, *layout.tags}
    others = [i for i, column in enumerate(columns) if i not in read and i < layout.width and _look_like_tags(column)]
    if find_tags and others:
        report.convention("other columns", path, 1, f"columns {others} look like tags, too")


def _look_like_tags(cells: Collection[str]) -> bool:
    return any(cell != "O" for cell in cells) and all(map(is_tag, cells)) and not _are_phrases(cells)
