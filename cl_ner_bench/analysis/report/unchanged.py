"""The digest of all inputs of a report; an equal digest shows that the report exists already."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench import __version__
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.folder import ResultsFolder

_CODE = Path(__file__).parents[2]
_LIBRARIES = ("fonttools", "jinja2", "matplotlib", "numpy", "pandas", "scipy")


def digest_of_report(results: Results, *options: Any) -> str:
    """Return the sha256 (hex) of the results' files, the ``options`` of the report, the code and its libraries.

    Predictions of finished runs count through the outcomes, which hold the digest of their source.
    """
    made_from = {
        "runs": msgspec.to_builtins([*results.runs, *results.trials]),
        "files": {f"{at}/{path.name}": _sha256(path) for at, path in _read_by(results)},
        "damaged": [str(fault) for fault in results.damaged],
        "chosen": results.chosen,
        "options": msgspec.to_builtins(options),
        "code": [__version__, {str(path.relative_to(_CODE)): _sha256(path) for path in _code()}],
        "libraries": [sys.version, *map(version, _LIBRARIES)],
    }
    return digest(made_from)


def _read_by(results: Results) -> Iterator[tuple[str, Path]]:
    """Yield the files that a report reads, each after a name for its place in the results folders."""
    homes: dict[Path, int] = {}
    for run in results.finished:
        folder = results.folders[run.run_id]
        home = homes.setdefault(folder.home, len(homes))
        for path in (folder.split_file, folder.outcomes_file, folder.training_check_file):
            yield f"{home}/{run.run_id}", path
        for step in run.steps:
            yield f"{home}/{run.run_id}/{step}", folder.counts_file(step)
    for trial in results.trials:
        folder = results.folders[trial.run_id]
        for step in trial.steps:
            yield f"{trial.run_id}/{step}", folder.counts_file(step)
            yield f"{trial.run_id}/{step}", folder.predictions_file(step)
    for path, home in homes.items():
        yield str(home), ResultsFolder.open(path).mentions_file


def _code() -> Iterator[Path]:
    yield from sorted(_CODE.glob("*.py"))
    for package in ("analysis", "storage"):
        yield from sorted(p for p in (_CODE / package).rglob("*") if p.is_file() and p.parent.name != "__pycache__")


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
