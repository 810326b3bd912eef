"""The files at the top of a results folder: the grids that were asked for, and the test mentions."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.options import NOT_OF_THE_GRID, Options
from cl_ner_bench.running.plan import Run
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.records import SUMS_FILE, sums_at_top, wrong_sum
from cl_ner_bench.storage.store import ordered, read_record, write_bytes, write_record
from cl_ner_bench.untrusted import read_toml, unpacked

MENTIONS = (
    *("dataset", "split", "id", "start", "end", "type"),
    *("train_freq_surface", "train_freq_type", "seen", "hidden_rate"),
)


log = logging.getLogger(__name__)
_Tested = tuple[Corpus, Iterable[TaskSplit]]


def write_top(out: Path, grids: Sequence[Options], corpora: Iterable[_Tested]) -> list[Path]:
    """Add resolved grids to ``experiment.toml`` and their test mentions to ``mentions.csv.gz``; returns both.

    ``sums.json`` holds the sha256 of these and of the scenarios' files. What is not what was stored is made anew, of
    what this command asks for; a damaged ``experiment.toml`` is moved aside, as it may tell of other grids.
    """
    told = sums_at_top(read_record(out / SUMS_FILE)) or {}
    contents = _scenarios(out, told, grids)
    contents["experiment.toml"] = _experiment(out / "experiment.toml", told.get("experiment.toml"), grids)
    contents["mentions.csv.gz"] = _mentions(out / "mentions.csv.gz", told.get("mentions.csv.gz"), corpora)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    changed = {n: c for n, c in contents.items() if not (out / n).is_file() or (out / n).read_bytes() != c}
    if changed:  # a process that is killed in between leaves files that are known, the old ones or the new
        coming = {name: [*told.get(name, ()), sums[name]] for name in contents}
        write_record(out / SUMS_FILE, {"schema": 1, "sha256": told | coming})
        for name, content in changed.items():
            write_bytes(out / name, content)
    record = {"schema": 1, "sha256": told | {name: [value] for name, value in sums.items()}}
    if read_record(out / SUMS_FILE) != record:
        write_record(out / SUMS_FILE, record)
    return [out / "experiment.toml", out / "mentions.csv.gz"]


def write_split(run: Run) -> None:
    """The split that a run follows, where it is not there as it is."""
    file, content = run.folder / "split.json", f"{ordered(run.split.to_json())}\n".encode()
    if not file.exists() or file.read_bytes() != content:
        write_bytes(file, content)


def _experiment(file: Path, told: Sequence[str] | None, grids: Sequence[Options]) -> bytes:
    known: list[dict[str, Any]] = []
    if file.exists():
        try:
            if told and wrong_sum(file, told):
                raise ValueError("it is not what was stored")
            known = read_toml(file, "it").get("grid", [])
            if not isinstance(known, list) or not all(isinstance(table, dict) for table in known):
                raise ValueError("its grids are no [[grid]] tables")
        except (UserError, ValueError) as error:
            known, aside = [], file.with_name("experiment.damaged.toml")
            file.replace(aside)
            log.info(f"{file}: {error}; moved to {aside.name} and made anew: grids of other commands need them again")
    for grid in grids:
        table = _table(grid)
        if table not in known:
            known.append(table)
    return tomli_w.dumps({"schema": 1, "grid": known}).encode()


def _scenarios(out: Path, told: Mapping[str, Sequence[str]], grids: Sequence[Options]) -> dict[str, bytes]:
    """Copies of the scenarios' files, so that the grids can be repeated without them."""
    files = [Path(grid.scenario) for grid in grids if grid.scenario.endswith(".toml")]
    for file in files:
        kept = out / _kept(file)
        if kept.exists() and kept.samefile(file) and _kept(file) in told and wrong_sum(kept, told[_kept(file)]):
            raise UserError(f"{kept} is not what was stored: give the scenario's own file (--scenario FILE.toml)")
    return {_kept(file): file.read_bytes() for file in files}


def _kept(scenario: Path) -> str:
    return f"scenarios/{scenario.name}"


def _table(options: Options) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if value is not None and value != {} and field.name not in NOT_OF_THE_GRID:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    if options.scenario.endswith(".toml"):
        table["scenario"] = _kept(Path(options.scenario))
    return table


def _mentions(file: Path, told: Sequence[str] | None, corpora: Iterable[_Tested]) -> bytes:
    """The test mentions under each split, those that are stored and those of ``corpora``."""
    from cl_ner_bench.scenarios.statistics import mention_rows

    rows: list[list[str]] = []
    if file.exists():
        try:
            if told and wrong_sum(file, told):
                raise ValueError("it is not what was stored")
            rows = _read_mentions(file)
        except (OSError, ValueError, csv.Error) as error:
            log.info(f"{file}: {error}; made anew: the mentions of other commands need them again")
    known = {row[1] for row in rows}
    for corpus, splits in corpora:
        for split in splits:
            if split.hash not in known:
                known.add(split.hash)
                rows += [[str(row[c]) for c in MENTIONS] for row in mention_rows(corpus, split)]
    rows.sort(key=lambda row: (*row[:2], *(int(n) for n in row[2:5]), row[5]))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MENTIONS, *rows])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _read_mentions(file: Path) -> list[list[str]]:
    header, *rows = csv.reader(io.StringIO(unpacked(file.read_bytes()).decode(), newline=""))
    if tuple(header) != MENTIONS:
        raise ValueError(f"its columns are not {', '.join(MENTIONS)}")
    if any(len(row) != len(MENTIONS) or not all(map(_is_whole, row[2:5])) for row in rows):
        raise ValueError("it has rows that are no mentions")
    return rows


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) < 20
