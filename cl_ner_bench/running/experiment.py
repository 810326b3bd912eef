"""The files at the top of a results folder: its grids and its test mentions."""

from __future__ import annotations

import csv
import gzip
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.method_code import method_sources
from cl_ner_bench.registry import resolve
from cl_ner_bench.running.options import NOT_OF_THE_GRID, Options
from cl_ner_bench.running.runs import Plan
from cl_ner_bench.scenarios.statistics import MENTION_COLUMNS, mention_rows
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.untrusted import read_toml, unpacked

log = logging.getLogger(__name__)

_Tested = tuple[Corpus, Iterable[TaskSplit]]


def write_experiment(folder: ResultsFolder, plans: Sequence[Plan], replaced: Sequence[RunRecord] = ()) -> list[Path]:
    """Add the grids of ``plans``, their test mentions and the code of users' methods to the folder.

    Return the files of grids and mentions. Make damaged files again from this command alone. Move a damaged file of
    grids aside, because it may hold grids of other commands. Remove methods whose runs are ``replaced`` by those of
    ``plans`` from earlier grids. Leave out the trials of `bench tune`, because `bench run` cannot repeat them.
    """
    grids = [plan.options for plan in plans]
    corpora = [(plan.corpus, [run.split for run in plan.runs]) for plan in plans]
    with folder.lease_of_top():  # other commands may add to the same files
        contents = _scenarios(folder, grids) | _recipes(folder, grids) | _methods(folder, grids)
        lasting = [plan.options for plan in plans if plan.corpus.scored == "test"]
        if lasting or replaced:
            contents[folder.experiment_file] = _experiment(folder, lasting, replaced)
        contents[folder.mentions_file] = _mentions(folder, corpora)
        folder.write_top(contents)
    return [file for file in (folder.experiment_file, folder.mentions_file) if file.exists()]


def write_mentions(folder: ResultsFolder, corpus: Corpus, split: TaskSplit) -> None:
    """Add the test mentions of a split that belongs to no grid."""
    with folder.lease_of_top():
        folder.write_top({folder.mentions_file: _mentions(folder, [(corpus, [split])])})


def _experiment(folder: ResultsFolder, grids: Sequence[Options], replaced: Sequence[RunRecord]) -> bytes:
    known: list[dict[str, Any]] = []
    file = folder.experiment_file
    if file.exists():
        try:
            if folder.wrong_at_top(file):
                raise ValueError("it is not what was stored")
            known = read_toml(file, "it").get("grid", [])
            if not isinstance(known, list) or not all(isinstance(table, dict) for table in known):
                raise ValueError("its grids are no [[grid]] tables")
        except (UserError, ValueError) as error:
            known, aside = [], file.with_name("experiment.damaged.toml")
            file.replace(aside)
            log.info(
                f"{file}: {error}; moved to {aside.name} and rebuilt: repeat the other commands to add their grids"
            )
    tables = [_table(folder, grid) for grid in grids]
    for record in replaced:
        known = [table if table in tables else _without(table, record) for table in known]
    known = [table for table in known if table.get("methods")]
    known += [table for table in tables if table not in known]
    return tomli_w.dumps({"schema": 1, "grid": known}).encode()


def _without(table: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """Return an earlier grid without a method whose runs are replaced.

    If repeated with that method, the grid would contradict the new runs.
    """
    inputs, scenario = record.inputs, table.get("scenario", "")
    if [table.get(key) for key in ("dataset", "encoder")] != [inputs.get(key) for key in ("dataset", "encoder")]:
        return table
    if record.scenario not in (scenario, Path(scenario).stem):
        return table
    settings = {label: own for label, own in table.get("set", {}).items() if label != record.method}
    methods = [spec for spec in table.get("methods", ()) if spec != inputs["method"]]
    return {**table, "methods": methods, **({"set": settings} if "set" in table else {})}


def _scenarios(folder: ResultsFolder, grids: Sequence[Options]) -> dict[Path, bytes]:
    """Return copies of the scenarios' files. With these, a command can repeat the grids without the originals."""
    files = [Path(grid.scenario) for grid in grids if grid.scenario.endswith(".toml")]
    for file in files:
        kept = folder.scenario_file(file)
        if kept.exists() and kept.samefile(file) and folder.wrong_at_top(kept):
            raise UserError(f"{kept} is not what was stored: give the scenario's own file (--scenario FILE.toml)")
    return {folder.scenario_file(file): file.read_bytes() for file in files}


def _recipes(folder: ResultsFolder, grids: Sequence[Options]) -> dict[Path, bytes]:
    """Return copies of the recipes' files. With these, a command can repeat the grids without the originals."""
    files = [Path(grid.recipe) for grid in grids if grid.recipe and grid.recipe.endswith(".toml")]
    return {folder.recipe_file(file): file.read_bytes() for file in files}


def _methods(folder: ResultsFolder, grids: Sequence[Options]) -> dict[Path, bytes]:
    """Return copies of the code of users' own methods, because the files themselves may change."""
    cards = [variant.card for grid in grids for variant in resolve(grid.methods)]
    return {
        folder.method_file(name): file.read_bytes() for card in cards for name, file in method_sources(card).items()
    }


def _table(folder: ResultsFolder, options: Options) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if value is not None and value != {} and field.name not in NOT_OF_THE_GRID:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    if options.scenario.endswith(".toml"):
        table["scenario"] = folder.scenario_file(Path(options.scenario)).relative_to(folder.path).as_posix()
    if options.recipe and options.recipe.endswith(".toml"):
        table["recipe"] = folder.recipe_file(Path(options.recipe)).relative_to(folder.path).as_posix()
    return table


def _mentions(folder: ResultsFolder, corpora: Iterable[_Tested]) -> bytes:
    """Return the stored test mentions and the test mentions of ``corpora``, for each split."""
    rows: list[list[str]] = []
    file = folder.mentions_file
    if file.exists():
        try:
            if folder.wrong_at_top(file):
                raise ValueError("it is not what was stored")
            rows = _read_mentions(file)
        except (OSError, ValueError, csv.Error) as error:
            log.info(f"{file}: {error}; rebuilt: repeat the other commands to add their mentions")
    known = {row[1] for row in rows}
    for corpus, splits in corpora:
        for split in splits:
            if split.hash not in known:
                known.add(split.hash)
                rows += [[str(row[c]) for c in MENTION_COLUMNS] for row in mention_rows(corpus, split)]
    rows.sort(key=lambda row: (*row[:2], *(int(n) for n in row[2:5]), row[5]))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MENTION_COLUMNS, *rows])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _read_mentions(file: Path) -> list[list[str]]:
    header, *rows = csv.reader(io.StringIO(unpacked(file.read_bytes()).decode(), newline=""))
    if tuple(header) != MENTION_COLUMNS:
        raise ValueError(f"its columns are not {', '.join(MENTION_COLUMNS)}")
    if any(len(row) != len(MENTION_COLUMNS) or not all(map(_is_whole, row[2:5])) for row in rows):
        raise ValueError("it has rows that are no mentions")
    return rows


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) < 20
