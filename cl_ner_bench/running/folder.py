"""The files at the top of a results folder: the grids that were asked for, and the test mentions."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.foreign import read_toml, unpacked
from cl_ner_bench.running.options import NOT_OF_THE_GRID, Options
from cl_ner_bench.running.store import write_bytes
from cl_ner_bench.scenarios.task import TaskSplit

MENTIONS = (
    *("dataset", "split", "id", "start", "end", "type"),
    *("train_freq_surface", "train_freq_type", "seen", "hidden_rate"),
)


def write_experiment(out: Path, grids: Sequence[Options]) -> Path:
    """Add resolved grids to ``experiment.toml``; `bench run --config` of it repeats them all."""
    file = out / "experiment.toml"
    known: list[dict[str, Any]] = []
    if file.exists():
        known = read_toml(file, f"{file}:").get("grid", [])
        if not isinstance(known, list):
            raise UserError(f"{file}: expected [[grid]] tables; move it away")
    for grid in grids:
        table = _table(grid)
        if grid.scenario.endswith(".toml"):
            table["scenario"] = _keep_scenario(out, Path(grid.scenario))
        if table not in known:
            known.append(table)
    write_bytes(file, tomli_w.dumps({"schema": 1, "grid": known}).encode())
    return file


def _keep_scenario(out: Path, file: Path) -> str:
    """Copy a scenario's file into the folder, so that the grid can be repeated without it; where it is from there."""
    kept = Path("scenarios") / file.name
    if not (out / kept).exists() or not (out / kept).samefile(file):
        write_bytes(out / kept, file.read_bytes())
    return kept.as_posix()


def _table(options: Options) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if value is not None and value != {} and field.name not in NOT_OF_THE_GRID:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def write_mentions(out: Path, corpus: Corpus, splits: Iterable[TaskSplit]) -> Path:
    """Add the test mentions under each split that ``mentions.csv.gz`` does not hold yet."""
    from cl_ner_bench.scenarios.overview import mention_rows

    file = out / "mentions.csv.gz"
    rows = _read_mentions(file) if file.exists() else []
    known = {row[1] for row in rows}
    for split in {s.hash: s for s in splits}.values():
        if split.hash not in known:
            rows += [[str(row[c]) for c in MENTIONS] for row in mention_rows(corpus, split)]
    rows.sort(key=lambda row: (*row[:2], *(int(n) for n in row[2:5]), row[5]))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MENTIONS, *rows])
    data = gzip.compress(text.getvalue().encode(), mtime=0)
    if not file.exists() or file.read_bytes() != data:
        write_bytes(file, data)
    return file


def _read_mentions(file: Path) -> list[list[str]]:
    try:
        header, *rows = csv.reader(io.StringIO(unpacked(file.read_bytes()).decode(), newline=""))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read ({error}); remove it, it is written anew") from None
    numbers = [n for row in rows for n in row[2:5]]
    if tuple(header) != MENTIONS or any(len(row) != len(MENTIONS) for row in rows) or not all(map(_is_whole, numbers)):
        raise UserError(f"{file}: its rows are not {', '.join(MENTIONS)}; remove it, it is written anew")
    return rows


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) < 20
