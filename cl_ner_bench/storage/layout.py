"""Names of the files in a results folder. docs/results.md says what each holds.

Only the package ``storage`` knows them; everybody else asks a :class:`~cl_ner_bench.storage.folder.ResultsFolder`.
"""

from __future__ import annotations

from pathlib import Path

RUNS = "runs"
STORE = "store"  # models and checkpoints, by step key
LEASES = "leases"

# At the top.
EXPERIMENT = "experiment.toml"
MENTIONS = "mentions.csv.gz"
SCENARIOS = "scenarios"
SUMS = "sums.json"  # checksums of the three above
REPORT_SUMS = "report-sums.json"  # checksums of what a report wrote
REPORT = "report.html"  # the report's own: whether there is one is all that storage asks

# Of a run.
RECORD = "run.json"
SPLIT = "split.json"
LOG = "log.txt"
PROGRESS = "progress.json"
TRAINING_CHECK = "training-check.json"
OUTCOMES = "reduced.json.gz"
RUN_FILES = (SPLIT, TRAINING_CHECK, PROGRESS, RECORD)
"""Files of a run that machines share; the record comes last, as it says that the run is done."""

# Of a step.
STEP_SUMS = "step.json"
COUNTS = "counts.json"
PREDICTIONS = "predictions.jsonl.gz"
STEP_FILES = (COUNTS, PREDICTIONS)

# Of a model.
MODEL_SUMS = "model-sums.json"


def run_folder(home: Path, run_id: str) -> Path:
    return home / RUNS / run_id


def step_folder(run: Path, step: int) -> Path:
    return run / f"step-{step}"


def model_folder(home: Path, key: str) -> Path:
    return home / STORE / key


def checkpoint_file(home: Path, key: str) -> Path:
    return home / STORE / f"{key}.checkpoint"


def record_files(home: Path) -> list[Path]:
    """Return the record of every run, sorted."""
    return sorted(home.glob(f"{RUNS}/*/{RECORD}"))


def manifest_name(folder: Path) -> str:
    """Return the name of the checksum file in the folder of a model or a step."""
    return MODEL_SUMS if folder.parent.name == STORE else STEP_SUMS


def results_folder_of(path: Path) -> Path:
    """Return the results folder of a file of a run or a model."""
    return next(parent.parent for parent in path.parents if parent.name in (RUNS, STORE))
