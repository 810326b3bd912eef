"""Names of the files in a results folder. docs/results.md describes each file.

Only the package ``storage`` uses these names. All other code uses :class:`~cl_ner_bench.storage.folder.ResultsFolder`.
"""

from __future__ import annotations

RUNS = "runs"  # a folder for each run id, with step-1, step-2, ...
REPLACED = "replaced"  # runs that `bench run --replace` set aside; nothing reads them
STORE = "store"  # for each step key KEY: the model KEY/, and KEY.checkpoint while the step is learned
LEASES = "leases"

# At the top.
EXPERIMENT = "experiment.toml"
MENTIONS = "mentions.csv.gz"
SCENARIOS = "scenarios"
RECIPES = "recipes"  # the recipe files of grids
METHODS = "methods"  # the code of users' own methods as their runs used it
TUNED = "recipe.toml"  # the recipe that `bench tune` found
SUMS = "sums.json"  # checksums of the six above; a file that is being replaced has two
REPORT_SUMS = "report-sums.json"  # checksums of a report's files
REPORT = "report.html"  # written by the report; storage only checks if it exists

# Of a run.
RECORD = "run.json"
SPLIT = "split.json"
LOG = "log.txt"
PROGRESS = "progress.json"
TRAINING_CHECK = "training-check.json"
OUTCOMES = "reduced.json.gz"
RUN_FILES = (SPLIT, TRAINING_CHECK, PROGRESS, RECORD)
"""Files of a run that machines share. The record is last, because it says that the run is done."""

# Of a step.
STEP_SUMS = "step.json"
COUNTS = "counts.json"
PREDICTIONS = "predictions.jsonl.gz"
STEP_FILES = (COUNTS, PREDICTIONS)

# Of a model.
MODEL_SUMS = "model-sums.json"
