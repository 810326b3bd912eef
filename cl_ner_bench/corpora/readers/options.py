"""The reader options of a card: how the plain files of a corpus are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from cl_ner_bench.corpora.readers.formats import Format
from cl_ner_bench.corpora.readers.lines import Encoding
from cl_ner_bench.corpora.readers.words import Rule
from cl_ner_bench.corpora.schemes import Scheme
from cl_ner_bench.corpora.sentence import PARTS, Mention
from cl_ner_bench.errors import short
from cl_ner_bench.validation import BELOW, FilePath, MisfitError, Text, Whole, convert

_LONG, _FORM = 300, '"each old type" = "its new one"'
_INSIDE = rf"(?!\.\Z){BELOW}"
_COLUMN = "whole number{}; columns count from 0, from the last backwards with -1, -2"
_FILES = f"a table with a file name or glob (relative to the folder) for each of {', '.join(PARTS)}"


def rename(names: Mapping[str, str]) -> str:
    """Return the line of a card that renames types, as a message proposes it: whole, or only its form if it is long."""
    rows = ", ".join(f"{json.dumps(old, ensure_ascii=False)} = {json.dumps(new)}" for old, new in names.items())
    return f"[reader_options] rename = {{ {rows if len(rows) < _LONG else _FORM} }}"


class ReaderOptions(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The reader options of a card for plain files; the defaults find out what they can.

    Places: ``subfolder`` of the corpus' folder (used if it exists); ``files``, a file name or glob for each part; or
    ``documents``, a glob of files with one document each. ``parts_rule`` shares these out: of the documents sorted by
    path, numbers 0, 10, 20... are dev, numbers 1, 11, 21... test, and the rest train. Without these options, parts are
    found by file names. ``path``, the place of the corpus, is used before a reader starts.

    Columns: ``separator`` ("" finds out), ``word_column``, ``tag_columns`` (several are layers or nesting levels,
    each decoded on its own), ``comment`` (prefix of lines to skip before a sentence), ``encoding`` ("auto" is UTF-8,
    or Windows-1252 for files that look like it: see ``lines``). Tags: ``scheme``, and ``tag_names`` for tags that are
    written as numbers.
    Running text: ``words`` is the rule that cuts it, see ``words.cut``.
    Annotations: if several annotators marked a text, ``annotator`` says whose marks are read: ``first`` or ``last``
    in the file (marks of the ground truth before all others), or an annotator's id or e-mail address.
    Types: ``type`` is the type of tags without one (B, I, O). ``type_until`` ends the type: "-" makes ``person`` of
    ``person-actor``. Then ``rename`` renames a type or, with "", drops its mentions.
    """

    format: Literal["auto", Format] = "auto"
    separator: Annotated[str, Meta(min_length=1, description="a text, like a tab or a comma")] = ""
    word_column: Annotated[Whole, Meta(description="a " + _COLUMN.format(""))] = 0
    tag_columns: Annotated[tuple[Whole, ...], Meta(min_length=1, description="a list of " + _COLUMN.format("s"))] = (
        -1,
    )
    encoding: Encoding = "auto"
    scheme: Literal["auto", Scheme] = "auto"
    comment: Annotated[str, Meta(min_length=1, description="a text, like #")] = ""
    tag_names: Annotated[
        tuple[Text, ...],
        Meta(min_length=1, description='a list of tags like ["O", "B-PER", "I-PER"], at the index of their number'),
    ] = ()
    words: Rule = "finest"
    annotator: Annotated[
        str, Meta(min_length=1, description='"first", "last", or the id or e-mail address of an annotator')
    ] = "first"
    rename: Annotated[
        Mapping[str, str], Meta(description='a table like {"old type" = "new type"}; "" drops a type')
    ] = {}
    type: Annotated[str, Meta(min_length=1, description="a type, like DISEASE")] = ""
    type_until: Annotated[str, Meta(min_length=1, description='a text, like "-"')] = ""
    subfolder: Annotated[
        str, Meta(max_length=999, pattern=_INSIDE, description="a folder's name, relative to the corpus")
    ] = ""
    files: Annotated[Mapping[str, Annotated[str, Meta(max_length=999, pattern=_INSIDE)]], Meta(description=_FILES)] = {}
    documents: Annotated[
        str,
        Meta(max_length=999, pattern=_INSIDE, description="a glob of files, relative to the folder, like *.tsv"),
    ] = ""
    parts_rule: Literal["every tenth"] = "every tenth"
    path: FilePath | None = None

    def __post_init__(self) -> None:
        if self.files and self.files.keys() != {*PARTS}:
            raise MisfitError("files", _FILES, short(dict(self.files)))
        if self.files and self.documents:
            raise MisfitError("files", "either 'files' or 'documents', not both")

    @staticmethod
    def of(options: Mapping[str, Any], where: str) -> ReaderOptions:
        """Return the typed ``reader_options`` of a card. ``where`` (the card's file) begins messages.

        Raises UserError for unknown keys and for values that do not fit.
        """
        return convert(options, ReaderOptions, where, key="reader_options")

    @cached_property
    def seen(self) -> set[str]:
        """The types that were found so far, before ``rename``. Empty if no option changes types."""
        return set()

    def of_types(self, mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
        """Return the mentions with their types cut and renamed, sorted, each once. Add types before ``rename`` to
        ``seen``.
        """
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
