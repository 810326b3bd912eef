"""The sources of the page's numbers: orders, data and protocol, settings, versions and machines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from cl_ner_bench.analysis.comparison.compare import Comparison, learning_order
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.literature.settings import SHAPE
from cl_ner_bench.storage.run_record import EncoderIdentity, RunRecord, Task


def orders(c: Comparison) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return the tasks of each order as learned, with their test mentions (after the last step, all sentences)."""
    final = c.counts[(c.counts["view"] == "all") & (c.counts["step"] == c.n_steps)]
    gold = (final["tp"] + final["fn"]).groupby([final["run_id"], final["task"]]).sum()

    def task_row(run: RunRecord, task: Task) -> dict[str, Any]:
        return msgspec.to_builtins(task) | {"mentions": gold.get((run.run_id, task.name), math.nan)}

    firsts = {run.order: run for run in reversed(c.runs)}
    return [(order, [task_row(run, task) for task in learning_order(run)]) for order, run in sorted(firsts.items())]


def facts(c: Comparison) -> list[tuple[str, str]]:
    """Return the names and values of data and protocol that the records hold."""

    def values(of: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in of if value not in (None, "", {}, [])))

    def number(value: float) -> str:
        return f"{value:g}"

    runs = c.runs
    found = {
        "Dataset": c.dataset,
        "Scenario": c.scenario,
        "Encoder": c.encoder + (" (uncased)" if any(run.uncased for run in runs) else ""),
        "Encoder's origin and shape": values(_identity(run.encoder_identity) for run in runs if run.encoder_identity),
        "Tasks, types": f"{c.n_steps} steps, {c.counts['type'].nunique()} types",
        "Methods, runs": f"{len(c.rows)} methods, {len(runs)} runs: {len(c.orders)} order(s), "
        f"{len({run.seed for run in runs})} seed(s); {len(c.pairs)} (order, seed) pair(s) finished by all methods",
        "Task split seed": values(run.settings.get("split_seed") for run in runs),
        "Sample of training sentences": values(run.settings.get("max_sentences") for run in runs),
        "Recipe": values(run.settings.get("recipe") for run in runs),
        "Training labels": values(run.data for run in runs),
        "Protocol beyond the plain one": values(
            ", ".join(f"{k} = {v}" for k, v in sorted(run.protocol.items())) for run in runs
        ),
        "Mentions of types in no task (train, dev, test)": values(_without_task(run) for run in runs),
        "Test mentions dropped by a limit": values(run.lost_mentions or None for run in runs),
        "Highest possible recall": values(
            number(run.recall_ceiling) for run in runs if run.recall_ceiling not in (None, 1)
        ),
        **{
            f"Fingerprint of the {what}": values(run.fingerprints.get(what) for run in runs)
            for what in ("data", "encoder")
        },
    }
    return [(name, value) for name, value in found.items() if value]


def _identity(encoder: EncoderIdentity) -> str:
    """Return an encoder's origin and shape in words."""
    origin = " ".join(filter(None, (encoder.source, encoder.repository, encoder.revision)))
    sizes = {word: getattr(encoder, key) for key, word in SHAPE.items()}
    shape = (f"{size:,} {word}" for word, size in sizes.items() if size is not None)
    return f"{origin}: {', '.join(shape)}, {'cased' if encoder.cased else 'uncased'}"


def _without_task(run: RunRecord) -> str:
    """Return the train, dev and test mentions of each type that no task learns."""
    found = run.corpus.without_task if run.corpus else {}
    return "; ".join(f"{type_} {n.train:,}, {n.dev:,}, {n.test:,}" for type_, n in found.items())


def configurations(results: Results) -> list[tuple[RunRecord, int]]:
    """Return the first run of each dataset, scenario, method and config, and the number of runs that share them."""
    found: dict[tuple[str, str, str, str], list[RunRecord]] = {}
    for run in results.runs:
        found.setdefault((run.dataset, run.scenario, run.method, run.config), []).append(run)
    return [(runs[0], len(runs)) for _, runs in sorted(found.items(), key=lambda item: item[0])]


def environments(results: Results) -> list[tuple[Any, Any, list[str]]]:
    """Return each pair of versions and machine with its runs."""
    found: dict[str, tuple[Any, Any, list[str]]] = {}
    for run in results.runs:
        versions, machine = run.versions, run.machine
        key = json.dumps([versions, machine], sort_keys=True)
        found.setdefault(key, (versions, machine, []))[2].append(run.run_id)
    return list(found.values())
