"""Imported runs: predictions of other code, scored and stored beside the suite's own runs.

Their records hold no times, memory or training, because the suite did not measure them.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import environment
from cl_ner_bench.running.experiment import write_mentions
from cl_ner_bench.running.grid import check_folder, results_path
from cl_ner_bench.running.grid_data import check_split_options, dataset_name, given_tasks, load, make_splits
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.planned_runs import name_run, of_data
from cl_ner_bench.running.predictions_file import Mentions, ScoredPart, read_predictions
from cl_ner_bench.running.steps import score
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import canonical, digest, gzipped
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import IDENTITY, ImportedFile, RunRecord

IMPORTED = "imported"  # in place of the unknown architecture, group and registered name


@dataclass(frozen=True)
class Origin:
    """The user's description of predictions of other code: the method's name, its encoder or model, and its settings
    ("" if not given)."""

    method: str
    encoder: str = "unknown"
    about: str = ""


@dataclass(frozen=True)
class _Step:
    """A step's predictions, ready to store."""

    step: int
    file: ImportedFile
    key: str
    blob: bytes
    views: Mapping[str, Any]


def import_predictions(
    files: Sequence[Path], steps: Sequence[int] | None, origin: Origin, given: Mapping[str, Any], replace: bool = False
) -> tuple[Path, RunRecord]:
    """Check and score predictions, and store them as a run. Return the results folder and the run's record.

    Args:
        files: the predictions, one file per step.
        steps: the step of each file. With None, one file is the last step, and as many files as steps are all steps.
        given: options of `bench run` that choose the data, one order, one seed and the results folder.
        replace: replace earlier imports of the same run and steps.

    Raises:
        UserError: a file does not fit the data, or the folder holds something else under this name.
    """
    layered = layer(given)[0]
    options = layered.options
    for flag, values in (("--order", options.orders), ("--seed", options.seeds)):
        if len(values) != 1 or values == "all":
            raise UserError(f"{flag}: the predictions are of one run; give one number")
    if not origin.method.strip() or not origin.encoder.strip():
        raise UserError("--method and --encoder: expected a name that is not empty")
    corpus = load(options)
    split = make_splits(options, corpus)[0]
    if options.split is not None:
        check_split_options(layered, split)
    numbers = _steps(files, steps, split.n_steps)
    folder = ResultsFolder.open(results_path([layered]))
    check_folder(folder)
    record = _record(options, origin, corpus, split)
    _check_data(folder, record)
    found = [_read(file, step, record, corpus, split) for file, step in zip(files, numbers, strict=True)]
    return folder.path, _store(folder, record, found, corpus, split, replace)


def _steps(files: Sequence[Path], steps: Sequence[int] | None, n_steps: int) -> Sequence[int]:
    """Return the step of each file."""
    if steps is None:
        if len(files) not in (1, n_steps):
            raise UserError(f"--step: {len(files)} files for {n_steps} steps; say which step each is of (--step 1,2)")
        numbers = [re.findall(r"\d+", file.name) for file in files]
        if all(numbers) and (last := [int(found[-1]) for found in numbers]) != sorted(last):  # after-10 before after-2
            raise UserError("--step: the files are not in the order of the numbers in their names; say their steps")
        return [n_steps] if len(files) == 1 else range(1, n_steps + 1)
    if len(steps) != len(files) or len({*steps}) < len(steps):
        raise UserError(f"--step {','.join(map(str, steps))}: expected one step for each of the {len(files)} files")
    if wrong := [step for step in steps if not 1 <= step <= n_steps]:
        raise UserError(f"--step {wrong[0]}: the scenario has the steps 1 to {n_steps}")
    return steps


def _record(options: Options, origin: Origin, corpus: Corpus, split: TaskSplit) -> RunRecord:
    """Return the record of a run that has no steps yet."""
    settings = {
        "max_sentences": options.max_sentences if corpus.sample else None,
        "split_seed": options.split_seed,
        "about": origin.about,
    }
    tasks = digest(sorted(corpus.card.tasks.items()))
    known = {"data": corpus.fingerprint, "tasks": tasks, **{k: v for k, v in settings.items() if k != "about"}}
    given = given_tasks(options, corpus, split)
    what = {IMPORTED: origin.method, "encoder": origin.encoder, "scenario": split.scenario, "split": given, **known}
    config = digest(what)[:8]
    seed = options.seeds[0]
    return RunRecord(
        **of_data(corpus, split),
        run_id=name_run(origin.method, split, seed, origin.encoder, config),
        method=origin.method,
        registry_name=IMPORTED,
        label=f"{origin.method} (imported)",
        seed=seed,
        encoder=origin.encoder,
        config=config,
        architecture=IMPORTED,
        group=IMPORTED,
        status="waiting",
        steps=[split.n_steps],
        setting=config,
        settings=settings,
        fingerprints={"data": corpus.fingerprint, "split": split.hash, "tasks": tasks},
        versions=environment.versions(),
        inputs={
            "dataset": dataset_name(options),
            "data": options.data and str(Path(options.data).resolve()),
            "tasks": options.tasks,
            **({"parts": corpus.division.to_json()} if corpus.division else {}),
        },
        code=environment.code(),
    )


def _check_data(folder: ResultsFolder, record: RunRecord) -> None:
    """Raise UserError if the folder's runs of this order have other data or another task split."""

    def what(run: RunRecord) -> list[Any]:
        sample = [run.settings.get(key) for key in ("max_sentences", "split_seed")]
        return [run.dataset, run.scenario, run.order, run.inputs.get("tasks"), *sample]

    for other in folder.runs.values():
        for key in ("data", "split"):
            a, b = other.fingerprints.get(key), record.fingerprints[key]
            if what(other) == what(record) and a != b:
                raise UserError(
                    f"--out {folder.path}: its run {other.run_id} has another {key} (fingerprint {str(a)[:12]}, here "
                    f"{b[:12]}): give the same copy of the corpus and the same split, or another --out"
                )


def _read(path: Path, step: int, record: RunRecord, corpus: Corpus, split: TaskSplit) -> _Step:
    test = ScoredPart.of(split, corpus, step)
    predicted: list[Mentions] = read_predictions(path, test)
    rows = (
        canonical({"id": sentence.id, "gold": sentence.mentions, "pred": mentions})
        for sentence, mentions in zip(test.scored, predicted, strict=True)
    )
    blob = gzipped(rows)
    # Order and seed stay out of the key, because equal predictions come from one model.
    key = digest({IMPORTED: record.config, "step": step, "predictions": hashlib.sha256(blob).hexdigest()})
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    file = ImportedFile(path.name, content, time.strftime("%Y-%m-%d", time.gmtime()))
    return _Step(step, file, key, blob, score(split, corpus, step, test.scored, predicted))


def _store(
    folder: ResultsFolder, record: RunRecord, found: Sequence[_Step], corpus: Corpus, split: TaskSplit, replace: bool
) -> RunRecord:
    """Add steps to the stored run."""
    folder.make()
    run = folder.run(record.run_id)
    with folder.wait_for_lease(record.run_id):
        _refuse_conflicts(folder, record, found, replace)
        old = run.record
        for other in _others(folder, record):
            folder.set_aside(other)
        run.save_split(split.to_json())
        for one in found:
            run.commit(one.step, one.key, {"step": one.step}, one.views, one.blob)
        keys = (old.step_keys if old else {}) | {str(one.step): one.key for one in found}
        files = ((old.imported if old else None) or {}) | {str(one.step): one.file for one in found}
        steps = sorted(map(int, keys))
        done = record.n_steps in steps
        if old and not record.settings["about"]:
            record = structs.replace(record, settings=record.settings | {"about": old.settings.get("about", "")})
        record = structs.replace(
            record,
            status="done" if done else "waiting",
            reason="" if done else f"step {record.n_steps}, the last one, is not imported yet",
            steps=steps,
            step_keys=keys,
            imported=files,
        )
        run.save(record)
    write_mentions(folder, corpus, split)
    return record


def _others(folder: ResultsFolder, record: RunRecord) -> list[RunRecord]:
    """Return the runs of the same identity with other settings."""
    return [r for r in folder.runs.values() if r.identity == record.identity and r.run_id != record.run_id]


def _refuse_conflicts(folder: ResultsFolder, record: RunRecord, found: Sequence[_Step], replace: bool) -> None:
    for run in folder.runs.values():
        own = {run.method, run.registry_name, run.method.removesuffix("-span").removesuffix("-token")}
        if run.imported is None and record.method.casefold() in {name.casefold() for name in own}:
            raise UserError(
                f"--out {folder.path} holds runs of this suite's {run.method}: two rows of one name cannot be told "
                f"apart; pass another name, such as --method '{record.method} (theirs)'"
            )
    if _others(folder, record) and not replace:
        name = ", ".join(f"{key} {getattr(record, key)}" for key in IDENTITY)
        raise UserError(
            f"--out {folder.path} holds this import of other data or tasks ({name}); pass another --method, or "
            f"--replace, which moves the old run to {folder.replaced}"
        )
    old = folder.run(record.run_id).record
    for one in found if old and not replace else ():
        stored = (old.imported or {}).get(str(one.step)) if old else None
        if old and stored and old.step_keys[str(one.step)] != one.key:
            raise UserError(
                f"--out {folder.path} already holds step {one.step} of {record.method}, with other predictions "
                f"({stored.name}, imported on {stored.date}); pass --replace to take these"
            )
