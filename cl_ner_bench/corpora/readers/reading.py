"""How the plain files of a corpus are to be read: the reader options of its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cl_ner_bench.corpora.schemes import SCHEMES
from cl_ner_bench.corpora.sentence import PARTS, Mention
from cl_ner_bench.corpora.validation import (
    PATH,
    TEXT,
    Shape,
    Value,
    check,
    is_below,
    is_list_of,
    is_table_of,
    is_text,
    is_whole,
    one_of,
)
from cl_ner_bench.errors import UserError


def _is_inside(pattern: Any) -> bool:
    return is_below(pattern) and pattern != "."


_COLUMN = "whole number{}; columns count from 0, from the last backwards with -1, -2"
_SHAPES: Mapping[str, Shape] = {
    "path": PATH,  # where the corpus lies, which is no concern of a reading
    "format": one_of("auto", "columns", "jsonl", "parquet", "brat"),
    "separator": Value("a text, like a tab or a comma", is_text),
    "word_column": Value("a " + _COLUMN.format(""), is_whole),
    "tag_columns": Value("a list of " + _COLUMN.format("s"), partial(is_list_of, is_whole, least=1)),
    "scheme": one_of("auto", *SCHEMES),
    "comment": Value("a text, like #", is_text),
    "tag_names": Value(
        'a list of tags like ["O", "B-PER", "I-PER"], at the index of their number',
        partial(is_list_of, is_text, least=1),
    ),
    "rename": Value('a table like {"old type" = "new type"}; "" drops a type', partial(is_table_of, TEXT.fits)),
    "type_until": Value('a text, like "-"', is_text),
    "subfolder": Value("a folder's name, relative to the corpus", _is_inside),
    "files": Value(
        f"a table with a file name or glob (relative to the folder) for each of {', '.join(PARTS)}",
        lambda value: is_table_of(_is_inside, value) and {*value} == {*PARTS},
    ),
    "documents": Value("a glob of files, relative to the folder, like *.tsv", _is_inside),
    "parts_rule": one_of("every tenth"),
}


@dataclass(frozen=True)
class Reading:
    """The reader options of a card for plain files; the defaults find out what they can.

    Where the files are: ``subfolder`` of the corpus' folder (used where it exists); ``files``, a file name or glob
    for each part; or ``documents``, a glob of files with one document each, which ``parts_rule`` shares out: of the
    documents sorted by path, numbers 0, 10, 20... are dev, numbers 1, 11, 21... test, and the rest train. Without
    these, parts are told by file names.

    Columns: ``separator`` ("" finds out), ``word_column``, ``tag_columns`` (several are layers or nesting levels,
    each decoded on its own), ``comment`` (prefix of lines to skip before a sentence). Tags: ``scheme``, and
    ``tag_names`` for tags that are written as numbers.
    Types: what stands before ``type_until`` is the type ("-" makes ``person-actor`` ``person``); then ``rename``
    renames it or, with "", drops its mentions.
    """

    format: str = "auto"
    separator: str = ""
    word_column: int = 0
    tag_columns: tuple[int, ...] = (-1,)
    scheme: str = "auto"
    comment: str = ""
    tag_names: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    type_until: str = ""
    subfolder: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    documents: str = ""
    parts_rule: str = "every tenth"
    seen: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @staticmethod
    def of(options: Mapping[str, Any], where: str) -> Reading:
        """The reading that a card's ``reader_options`` ask for. ``where`` (the card's file) begins messages.

        Raises UserError for unknown keys and for values that are none.
        """
        check(options, where, _SHAPES, "reader_options")
        if "files" in options and "documents" in options:
            raise UserError(f"{where}: key 'reader_options': 'files' and 'documents' exclude each other. Keep one.")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k != "path"}
        return Reading(**values)

    def of_types(self, mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
        """The mentions under the types that are wanted, sorted, each once. ``seen`` notes those before ``rename``."""
        if not mentions or not (self.rename or self.type_until):
            return mentions
        found = set()
        for start, end, type_ in mentions:
            if self.type_until:
                type_ = type_.split(self.type_until, 1)[0]
            self.seen.add(type_)
            type_ = self.rename.get(type_, type_)
            if type_:
                found.add(Mention(start, end, type_))
        return tuple(sorted(found))
