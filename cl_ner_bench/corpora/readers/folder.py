"""The parts of a corpus folder: the files of each part, and the reader of each file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cl_ner_bench.corpora.division import PROPOSED, Division
from cl_ner_bench.corpora.readers.brat import read_brat
from cl_ner_bench.corpora.readers.columns import read_columns
from cl_ner_bench.corpora.readers.divide import SHARD, divide
from cl_ner_bench.corpora.readers.formats import format_of
from cl_ner_bench.corpora.readers.jsonl import read_jsonl
from cl_ner_bench.corpora.readers.lines import Row, some
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import LEFT_OUT, Report
from cl_ner_bench.corpora.readers.pubtator import read_pubtator
from cl_ner_bench.corpora.readers.webanno import read_webanno
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError, counted, short
from cl_ner_bench.untrusted import leads_out

_PART_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "development", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}
LONG = 200
"""In words. No sentence of a text is so long: where one is, the blank lines between sentences may be missing."""
_READERS = {
    "columns": read_columns,
    "jsonl": read_jsonl,
    "brat": read_brat,
    "pubtator": read_pubtator,
    "webanno": read_webanno,
}
# Endings of files that lie beside data and hold none.
_NO_DATA = {".md", ".toml", ".ids", ".py", ".log", ".zip", ".tar", ".pdf", ".html", ".sha256", ".ann"}
# Endings of files that are data only if no other file is.
_RARELY_DATA = {".json", ".csv"}
# Names of files about data. They count only if no name says which files are data.
_ABOUT_DATA = re.compile(r"(readme|licen[cs]e|copying|notice|changelog|citation|authors)(?![a-z])", re.IGNORECASE)


def open_parts(
    folder: Path, options: ReaderOptions, report: Report, division: Division | None = None
) -> dict[str, Iterator[Row]]:
    """Return the sentences of the train, dev and test part of a folder; files are opened when they are read.

    Without ``options.files`` and ``options.documents`` a part is the file or the folder with its name (``train.txt``,
    ``a.dev.conll``, ``eng.testa``, ``validation/``). All files of such a folder belong to the part. So do all shards of
    a file (``train-00000-of-00002.parquet``). With a ``division``, ``folder`` may be a single file, file names need
    not name parts, and missing dev and test parts are taken from train, which is then read at once.
    Problems: ``missing`` (a part), ``ambiguous`` (several files could be it), ``empty`` (a part without sentences).
    """
    files = part_files(folder, options, report, division)
    parts = {part: part_rows(paths, part, options, report) for part, paths in files.items()}
    if division is None:
        return parts
    into = [part for part, paths in files.items() if part == "train" or not paths]
    watcher = _Watcher(report)
    rows = [*part_rows(files["train"], "train", options, watcher)]
    if len(rows) < len(into) and not watcher.found_problem:
        text = f"too few sentences to divide ({len(rows)}), expected at least one for each of {', '.join(into)}"
        longest = max((len(row.words) for row in rows), default=0)
        fix = f"Are blank lines missing between sentences? One has {longest:,} words" if longest > LONG else ""
        report.problem("missing", folder, 0, text, fix or "Give more sentences")
    divided = divide(rows, into, division, report)
    return parts | {part: iter(rows) for part, rows in divided.items()}


def part_files(
    folder: Path, options: ReaderOptions, report: Report, division: Division | None = None
) -> dict[str, list[Path]]:
    """Return the files of each part (of a brat document, the text). Problems: ``missing``, ``ambiguous``, ``outside``
    (a link that leads out of the folder).

    Parts that a ``division`` makes have no files. Raises UserError if the ``division`` has nothing to divide.
    """
    if os.path.isfile(folder):
        own = [folder] if is_inside(folder.with_suffix(".ann"), folder.parent, report) else []
        return _whole(own, "one file, without train, dev and test parts", folder, report, division)
    parts = _part_files(folder, options, report, division)
    if division is not None and all(parts.values()):
        raise UserError(f"--parts: {folder} has train, dev and test files already; leave --parts out.")
    return {part: [path for path in paths if is_inside(path, folder, report)] for part, paths in parts.items()}


def is_inside(path: Path, folder: Path, report: Report) -> bool:
    """Return whether a file, and the brat marks beside it, lie in the corpus' folder. Problem: ``outside``."""
    outside = [file for file in (path, path.with_suffix(".ann")) if leads_out(file, folder)]
    for file in outside:
        fix = "Put a copy in its place, or point --data to the real folder"
        report.problem("outside", file, 0, f"a link to {os.path.realpath(file)}, out of the corpus' folder", fix)
    return not outside


def _part_files(
    folder: Path, options: ReaderOptions, report: Report, division: Division | None
) -> dict[str, list[Path]]:
    if division is not None and (options.documents or options.files):
        raise UserError("--parts: the card's 'files' or 'documents' say which files are which part; leave --parts out.")
    if options.subfolder and os.path.isdir(folder / options.subfolder):
        folder = folder / options.subfolder
    if options.documents:
        return _share_out(folder, options, report)
    if options.files:
        return {part: _named(folder, options.files[part], report) for part in PARTS}
    return _by_name(folder, report, division)


def read_rows(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of one file, in the format of ``options.format``.

    With ``auto``, ``format_of`` finds the format. ``options.of_types`` decides the types.
    """
    format_ = format_of(path, report) if options.format == "auto" else options.format
    if format_ is None:
        return
    if format_ == "parquet":
        # pyarrow takes longer to import than most files to read.
        from cl_ner_bench.corpora.readers.parquet import read_parquet as read
    else:
        read = _READERS[format_]
    for row in read(path, options, report):
        yield row._replace(mentions=options.of_types(row.mentions))


class _Watcher(Report):
    """A report that passes everything on to another report, notes if there was a problem, and counts left-out texts."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report, self.found_problem, self.rejected = report, False, 0

    def problem(self, kind: str, path: Path, line: int, text: str, fix: str) -> None:
        self.found_problem = True
        self._report.problem(kind, path, line, text, fix)

    def convention(self, kind: str, path: Path, line: int, text: str) -> None:
        self.rejected += kind in LEFT_OUT
        self._report.convention(kind, path, line, text)

    def note(self, kind: str, path: Path, line: int, text: str) -> None:
        self._report.note(kind, path, line, text)

    def remark(self, text: str) -> None:
        self._report.remark(text)


def part_rows(paths: Sequence[Path], part: str, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of the files of a part. Problem: ``empty`` (they have none)."""
    watcher, empty = _Watcher(report), True
    for path in paths:
        for row in read_rows(path, options, watcher):
            empty = False
            yield row
    if empty and paths and not watcher.found_problem:
        if watcher.rejected:  # dev and test may be empty until a run, which refuses them
            texts = f"no sentences, but {counted(watcher.rejected, 'text')} rejected, ignored, cancelled or not yet"
            if part != "train":
                report.remark(f"the {part} part has {texts} annotated: accept some of them before a run")
                return
            fix = "Accept some of them in the annotation tool, as the train part needs one"
            report.problem("empty", paths[0], 0, f"{texts} annotated", fix)
            return
        fix = "Fill it, or point to other files"
        report.problem("empty", paths[0], 0, f"no sentences; expected the {part} part here", fix)


def _share_out(folder: Path, options: ReaderOptions, report: Report) -> dict[str, list[Path]]:
    paths = _glob(folder, options.documents)
    if len(paths) < len(PARTS):
        text = f"{len(paths)} files match documents = {short(options.documents)}, expected one for each part or more"
        above = Path(options.documents).parts[0]
        fix = "Correct the glob; it is relative to the folder"
        if not os.path.isdir(folder / above) and above != options.documents and "*" not in above:
            fix = f"Point --data to the folder that holds {short(above)}, or correct the glob"
        report.problem("missing", folder, 0, text, fix)
    parts: dict[str, list[Path]] = {part: [] for part in PARTS}
    for i, path in enumerate(paths):
        parts[{0: "dev", 1: "test"}.get(i % 10, "train")].append(path)
    return parts


def _named(folder: Path, pattern: str, report: Report) -> list[Path]:
    paths = [folder / pattern] if os.path.isfile(folder / pattern) else _glob(folder, pattern)
    if not paths:
        fix = "Correct 'files'; they are relative to the folder"
        report.problem("missing", folder, 0, f"no file {short(pattern)}", fix)
    return paths


def _by_name(folder: Path, report: Report, division: Division | None) -> dict[str, list[Path]]:
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")] if folder.is_dir() else []
    found = {part: _named_like(part, entries) for part in PARTS}
    files = _best([p for p in entries if _is_data(p) and not _ABOUT_DATA.match(p.name)])
    if files and not any(found.values()):
        names = some([p.name for p in files])
        what = f"one file, {names}, and" if len(files) == 1 else f"the files {names}, but"
        return _whole(files, f"{what} none for train, dev and test", folder, report, division)
    parts: dict[str, list[Path]] = {}
    for part, candidates in found.items():
        if not candidates and (division is None or part == "train"):
            _tell_missing(part, entries, bool(found["train"]), folder, report)
        if len({SHARD.sub("", p.name) for p in candidates}) > 1:
            text = f"several files could be the {part} part: {some([p.name for p in candidates])}"
            fix = (
                "Name in a card what belongs to it ('files': a file, or a glob for several), or keep one in the folder"
            )
            report.problem("ambiguous", folder, 0, text, fix)
            candidates = candidates[:1]
        parts[part] = [file for p in candidates for file in (_inside(p, report) if p.is_dir() else [p])]
    return parts


def _named_like(part: str, entries: Sequence[Path]) -> list[Path]:
    """Return the files and folders whose names say that they are a part."""
    pattern = re.compile(rf"(?<![a-z])({'|'.join(_PART_NAMES[part])})(?![a-z])")
    candidates = _best([p for p in entries if (p.is_dir() or _is_data(p)) and pattern.search(p.name.lower())])
    exact = [p for p in candidates if SHARD.sub("", p.name).lower().split(".")[0] in _PART_NAMES[part]]
    return exact or candidates


def _tell_missing(part: str, entries: Sequence[Path], has_train: bool, folder: Path, report: Report) -> None:
    files, folders = [p.name for p in filter(_is_data, entries)], [p.name for p in entries if p.is_dir()]
    text = f"no {part} file among {some(files) or 'no files'}"
    fix = f"Expected one with {part!r} in its name, like {part}.txt, {part}.conll or {part}.jsonl"
    if has_train:
        fix += f"; or take it from train by {PROPOSED}"
    elif folders and not files:
        text = f"no {part} file, only the folders {some(folders)}"
        fix = f"Give one of them, or name it in a card: [reader_options] subfolder = {short(folders[0])}"
    report.problem("missing", folder, 0, text, fix)


def _whole(
    files: list[Path], text: str, where: Path, report: Report, division: Division | None
) -> dict[str, list[Path]]:
    """Return files without parts as train, for a division.

    Problems: ``missing`` (no ``division``, or no content), ``ambiguous`` (files of several kinds).
    """
    if division is not None and len({*map(_suffix, files)}) > 1:
        fix = "Keep those to divide in the folder, or give one of them"
        report.problem("ambiguous", where, 0, f"files of several kinds: {some([p.name for p in files])}", fix)
    if files and not any(path.stat().st_size for path in files):
        report.problem(
            "missing",
            where,
            0,
            "the file is empty" if len(files) == 1 else "all files are empty",
            "Give sentences with their labels",
        )
    elif division is None:
        fix = f"Divide the sentences by {PROPOSED}, or name a file for each part, like train.txt, dev.txt and test.txt"
        report.problem("missing", where, 0, text, fix)
    return {"train": files, "dev": [], "test": []}


def _inside(folder: Path, report: Report) -> list[Path]:
    """Return the data files of a part's folder; if it holds brat documents, their texts."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    marks = [p for p in files if p.suffix == ".ann"]
    for mark in marks:
        if not mark.with_suffix(".txt").is_file():
            report.problem("missing", mark, 0, f"no {mark.stem}.txt beside it", "Put the text beside its marks")
    found = [p for p in files if _is_data(p)]
    found = _best([p for p in found if p.suffix == ".txt"] if marks else found)
    if not found:
        report.problem("missing", folder, 0, "no data files in it", "Put the files of this part here")
    return found


def _best(files: list[Path]) -> list[Path]:
    """Return the files that are not ``_RARELY_DATA``; all files if there are no such files."""
    return [p for p in files if _suffix(p) not in _RARELY_DATA] or files


def _is_data(path: Path) -> bool:
    return path.is_file() and _suffix(path) not in _NO_DATA


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    except (OSError, ValueError, RecursionError):  # not a valid pattern, like a**b
        return []
