"""Cost table: time, memory and size of each method beside its score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons, group_of, group_title, most_stored
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import Cell, Section, Table
from cl_ner_bench.storage.run_record import RunRecord

KIB, MIB = 2**10, 2**20
# Column of the CSV file -> printed name and the unit that it is divided by.
COSTS = {
    "last_step_seconds": ("Last step s", 1),
    "train_seconds": ("All steps s", 1),
    "learning_seconds": ("Learning s", 1),
    "teacher_seconds": ("Teacher s", 1),
    "dev_seconds": ("Dev s", 1),
    "predict_seconds": ("Predict s", 1),
    "train_sentences_per_second": ("Train sent./s", 1),
    "test_sentences_per_second": ("Test sent./s", 1),
    "peak_memory_bytes": ("RAM MiB", MIB),
    "parameters": ("Parameters M", 10**6),
    "carried_bytes": ("Carried MiB", MIB),
    "stored_sentences": ("Stored sent.", 1),
    "stored_bytes": ("Stored KiB", KIB),
}
IN_CSV_ALONE = ("train_sentences_per_second", "test_sentences_per_second", "stored_bytes")
SIZES = ("peak_memory_bytes", "parameters", "carried_bytes", "stored_sentences")  # printed without their spread
QUALITY = "task_macro_f1"
_MEANING = (
    "Seconds of wall clock. Last step: learning step T, in which joint training learns everything at once. All steps: "
    "their sum, a shared step in each of its runs; it consists of learning, the teacher's outputs and dev scores. "
    "Predict: the test parts, not in the sum. RAM: the most memory of the run's process. Carried: the largest state "
    "kept for a next step. Stored: the most sentences of earlier steps that a method keeps. A dash: not recorded."
)


def run_costs(run: RunRecord) -> dict[str, float]:
    """Return the costs of a finished run by the names of ``COSTS``, from ``learned`` of its record.

    Costs that are not recorded are nan. Rates are over all steps together. Memory, carried and stored sizes are the
    largest over steps. Parameters are those of the last model.
    """
    learned = run.learned
    if not learned:
        return dict.fromkeys(COSTS, math.nan)
    seconds, teacher, dev = (_total(learned, key) for key in ("seconds", "teacher_seconds", "dev_seconds"))
    return {
        "last_step_seconds": _values(learned[-1:], "seconds")[0],
        "train_seconds": seconds,
        "learning_seconds": seconds - teacher - dev,
        "teacher_seconds": teacher,
        "dev_seconds": dev,
        "predict_seconds": _total(learned, "predict_seconds"),
        "train_sentences_per_second": _rate(_total(learned, "examples", "epochs"), seconds),
        "test_sentences_per_second": _rate(_total(learned, "predicted"), _total(learned, "predict_seconds")),
        "peak_memory_bytes": max(_values(learned, "peak_memory_bytes")) or math.nan,  # 0: unknown
        "parameters": _values(learned[-1:], "parameters")[0],
        "carried_bytes": max(_values(learned, "carried_bytes")),
        "stored_sentences": _stored(run, "sentences"),
        "stored_bytes": _stored(run, "bytes"),
    }


def cost_tables(results: Results) -> list[Table]:
    """Return a table per comparison: the costs of each method, mean over its runs, and ``task_macro_f1``."""
    return [_cost_table(c) for c in comparisons(results)]


def _cost_table(c: Comparison) -> Table:
    names = [*COSTS, QUALITY]
    frame = c.per_model(cost_frame(c), *names)
    printed = [name for name in names if name not in IN_CSV_ALONE and frame[name].notna().any()]
    units = {name: unit for name, (_, unit) in COSTS.items()} | {QUALITY: 1}
    sections: list[Section] = []
    data: list[dict[str, object]] = []
    for group, rows in c.groups:
        lines: list[tuple[str | Cell, ...]] = []
        for row in rows:
            own = row.of(frame)
            means, stds = own[names].mean(), own[names].std(ddof=1)
            cells = (
                Cell(means[name] / units[name], math.nan if name in SIZES else stds[name] / units[name])
                for name in printed
            )
            lines.append((row.label, str(len(own)), *cells))
            data.append(
                {**row.identity, "n": len(own)}
                | {f"{n}_{part}": of[n] for n in names for part, of in (("mean", means), ("std", stds))}
            )
        sections.append((group_title(group), tuple(lines)))
    notes = (*notes_of(c), *machine_notes(c))
    spread = " Mean ± standard deviation over trained models." if len(c.runs) > len(c.rows) else ""
    caption = (
        f"{c.title}: cost of each method beside its {NAMES[QUALITY].name} (all test sentences). {_MEANING}{spread}"
    )
    titles = {name: title for name, (title, _) in COSTS.items()} | {QUALITY: NAMES[QUALITY].title}
    header = ("Method", "n", *(titles[name] for name in printed))
    return Table.of(f"cost-all-{c.slug}", caption, header, sections, notes, data)


def cost_frame(c: Comparison) -> pd.DataFrame:
    """Return a row per run of the comparison: ``run_id, method, config``, the columns of COSTS, ``task_macro_f1``."""
    quality = c.measures[c.measures["view"] == "all"].set_index("run_id")[QUALITY]
    keys = ("run_id", "method", "config")
    return pd.DataFrame(
        [{k: getattr(run, k) for k in keys} | run_costs(run) | {QUALITY: quality[run.run_id]} for run in c.runs]
    )  # fmt: skip


def machine_notes(c: Comparison) -> list[str]:
    """Return a note if the runs come from different kinds of machines."""
    kinds = {tuple(sorted((k, str(v)) for k, v in run.machine.items())) for run in c.runs if run.machine}
    return [f"times and memory come from {len(kinds)} kinds of machines: not comparable"] if len(kinds) > 1 else []


def _values(learned: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    """Return the key's value at each step. All are nan if one step lacks it, because the sum would be too small."""
    values = [step.get(key) for step in learned]
    return [math.nan if None in values else float(value or 0) for value in values]


def _stored(run: RunRecord, unit: str) -> float:
    """Return the largest size of a run's memory: 0 without memory, nan for joint training and if not recorded."""
    stored = most_stored(run).get(unit)
    if stored is None and (run.data == "union" or group_of(run) == "exemplar"):
        return math.nan
    return float(stored or 0)


def _total(learned: Iterable[Mapping[str, Any]], *keys: str) -> float:
    """Return the sum over steps of the product of the keys' values."""
    columns = [_values(learned, key) for key in keys]
    return math.fsum(math.prod(values) for values in zip(*columns, strict=True))


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else math.nan
