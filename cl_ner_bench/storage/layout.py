"""Names of the files in a results folder. docs/results.md says what each holds.

Only the package ``storage`` knows them; everybody else asks a :class:`~cl_ner_bench.storage.folder.ResultsFolder`.
"""

from __future__ import annotations

RUNS = "runs"  # of each run a folder by its id, which holds step-1, step-2, ...
REPLACED = "replaced"  # runs of other settings that `bench run --replace` set aside; nothing reads them
STORE = "store"  # of each step key KEY: the model KEY/, and KEY.checkpoint while the step is learned
LEASES = "leases"

# At the top.
EXPERIMENT = "experiment.toml"
MENTIONS = "mentions.csv.gz"
SCENARIOS = "scenarios"
RECIPES = "recipes"  # the recipe files of grids
METHODS = "methods"  # the code of users' own methods, as their runs used it
TUNED = "recipe.toml"  # what `bench tune` found
SUMS = "sums.json"  # checksums of the six above: for each file one, and two while it is replaced
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
