"""Which file of a folder is which part, and which reader it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cl_ner_bench.corpora.readers.columns import read_columns
from cl_ner_bench.corpora.readers.jsonl import read_jsonl
from cl_ner_bench.corpora.readers.lines import lines
from cl_ner_bench.corpora.sentence import PARTS, Sentence
from cl_ner_bench.errors import UserError

_PART_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "development", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}
# Files that lie beside data and are none.
_NO_DATA = {
    ".md",
    ".toml",
    ".ids",
    ".py",
    ".log",
    ".csv",
    ".json",
    ".zip",
    ".tar",
    ".pdf",
    ".html",
    ".sha256",
}


def read_file(path: Path, remarks: list[str]) -> Iterator[Sentence]:
    """The sentences of one file: JSON lines where its name says ``.jsonl`` or it begins with ``{``, else columns."""
    first = next((text.lstrip() for _, text in lines(path) if text.strip()), "")
    if ".jsonl" in path.suffixes or first.startswith(("{", "[{")):
        return read_jsonl(path)
    return read_columns(path, remarks)


def find_parts(folder: Path) -> dict[str, Path]:
    """The train, dev and test file of a folder, told by their names: ``train.txt``, ``a.dev.conll``, ``eng.testa``.

    Raises UserError where a part is missing or several files could be it.
    """
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    files = [p for p in files if Path(p.name.removesuffix(".gz")).suffix.lower() not in _NO_DATA]
    found = {}
    for part in PARTS:
        pattern = re.compile(rf"(?<![a-z])({'|'.join(_PART_NAMES[part])})(?![a-z])")
        candidates = [p for p in files if pattern.search(p.name.lower())]
        exact = [p for p in candidates if p.name.lower().split(".")[0] in _PART_NAMES[part]]
        candidates = exact or candidates
        if not candidates:
            names = ", ".join(p.name for p in files[:8]) or "no files"
            raise UserError(
                f"{folder}: no {part} file among {names}. Expected one with {part!r} in its name, "
                f"like {part}.txt, {part}.conll or {part}.jsonl."
            )
        if len(candidates) > 1:
            names = ", ".join(p.name for p in candidates)
            raise UserError(f"{folder}: several files could be the {part} part: {names}. Keep one in the folder.")
        found[part] = candidates[0]
    return found
