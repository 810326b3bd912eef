"""How the plain files of a corpus are to be read: the reader options of its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.schemes import SCHEMES
from cl_ner_bench.corpora.sentence import PARTS, Mention
from cl_ner_bench.errors import UserError, did_you_mean

_CHOICES = {
    "format": ("auto", "columns", "jsonl", "parquet", "brat"),
    "scheme": ("auto", *SCHEMES),
    "parts_rule": ("every tenth",),
}
_EXPECTED = {
    "separator": "a text, like a tab or a comma",
    "comment": "a text, like #",
    "type_until": 'a text, like "-"',
    "subfolder": "a folder's name",
    "documents": "a glob of files, relative to the folder, like *.tsv",
    "word_column": "a whole number; columns count from 0, from the last backwards with -1, -2",
    "tag_columns": "a list of whole numbers; columns count from 0, from the last backwards with -1, -2",
    "tag_names": 'a list of tags like ["O", "B-PER", "I-PER"], at the index of their number',
    "rename": 'a table like {"old type" = "new type"}; "" drops a type',
    "files": f"a table with a file name or glob (relative to the folder) for each of {', '.join(PARTS)}",
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

    @staticmethod
    def of(options: Mapping[str, Any], where: str) -> Reading:
        """The reading that a card's options ask for. ``where`` (``card x: key 'reader_options'``) begins messages.

        Raises UserError for unknown keys and for values that are none.
        """
        known = [f.name for f in fields(Reading)]
        for key, value in options.items():
            if key not in known:
                raise UserError(
                    f"{where}: unknown key {key!r}; known are {', '.join(known)}.{did_you_mean(key, known)}"
                )
            if key in _CHOICES:
                choices = list(_CHOICES[key])
                if value not in choices:
                    near = did_you_mean(str(value), choices)
                    raise UserError(f"{where}: {key}: expected {', '.join(choices)}, found {value!r}.{near}")
            elif not _fits(key, value):
                raise UserError(f"{where}: {key}: expected {_EXPECTED[key]}, found {value!r}.")
        if "files" in options and "documents" in options:
            raise UserError(f"{where}: 'files' and 'documents' exclude each other. Keep one.")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        return Reading(**values)

    def of_types(self, mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
        """The mentions under the types that are wanted, sorted, each once."""
        if not mentions or not (self.rename or self.type_until):
            return mentions
        found = set()
        for start, end, type_ in mentions:
            if self.type_until:
                type_ = type_.split(self.type_until, 1)[0]
            type_ = self.rename.get(type_, type_)
            if type_:
                found.add(Mention(start, end, type_))
        return tuple(sorted(found))


def _fits(key: str, value: Any) -> bool:
    if key == "word_column":
        return type(value) is int
    if key == "tag_columns":
        return isinstance(value, list | tuple) and bool(value) and all(type(n) is int for n in value)
    if key == "tag_names":
        return isinstance(value, list | tuple) and bool(value) and all(isinstance(t, str) and t for t in value)
    if key in ("rename", "files"):
        texts = isinstance(value, Mapping) and all(isinstance(t, str) for t in value.values())
        return texts and (key == "rename" or (set(value) == set(PARTS) and all(map(_is_below, value.values()))))
    return isinstance(value, str) and value != "" and (key != "documents" or _is_below(value))


def _is_below(pattern: str) -> bool:
    return pattern not in ("", ".") and not Path(pattern).is_absolute()
