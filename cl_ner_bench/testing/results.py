"""Small made-up results folders in the stored format (docs/results.md), with scores that a test chooses."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_ner_bench.analysis.literature.settings import ENCODERS
from cl_ner_bench.running.planned_runs import file_word
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.validation import convert

Triple = Sequence[int]
ALL = {"train": 1_000, "dev": 200, "test": 400}  # mentions


def published_encoder(name: str) -> dict[str, Any]:
    """Return the identity of a published encoder, as `bench run` stores it."""
    known = ENCODERS[name]
    shape = {key: getattr(known, key) for key in ("layers", "width", "heads", "vocabulary", "cased")}
    commit = known.revision or "0" * 40
    hub = {"source": "hub", "repository": known.repository, "revision": commit}
    return (hub if known.repository else {"source": "package"}) | shape


# label, architecture, group of the methods that tests use
METHODS = {
    "spankl": ("SpanKL", "span", "memory-free"),
    "frozen-span": ("Frozen (span)", "span", "memory-free"),
    "finetune-span": ("Fine-tuning (span)", "span", "memory-free"),
    "extendner": ("ExtendNER", "token", "memory-free"),
    "seqstar": ("SEQ*", "token", "memory-free"),
    "finetune-token": ("Fine-tuning (token)", "token", "memory-free"),
    "analytic-span": ("Analytic (span)", "span", "closed-form"),
    "joint-span": ("Joint (span)", "span", "reference"),
    "joint-token": ("Joint (token)", "token", "reference"),
}


def triple(f1: float, n: int = 100_000) -> list[int]:
    """Return counts with ``n`` gold mentions whose F1 is ``f1`` (0..100), up to rounding."""
    tp = round(n * f1 / 100)
    return [tp, n - tp, n - tp]


def run_record(n_steps: int = 3, **changes: Any) -> RunRecord:
    """Return the record of a made-up run with one type per task; ``changes`` replace keys."""
    tasks = [{"name": f"t{k}", "types": [f"T{k}"], "learned_at": k} for k in range(1, n_steps + 1)]
    words = dict.fromkeys(
        ("run_id", "method", "registry_name", "label", "dataset", "scenario", "encoder", "config", "setting"), "x"
    )
    known = {"order": 0, "seed": 0, "architecture": "span", "group": "memory-free", "status": "running"}
    sizes = {"n_steps": n_steps, "steps": [*range(1, n_steps + 1)], "tasks": tasks, "settings": {}}
    return convert({**words, **known, **sizes, **changes}, RunRecord)


def write_run(
    folder: Path,
    method: str = "spankl",
    counts: Mapping[int, Mapping[str, Triple]] | None = None,
    tasks: Sequence[Mapping[str, Any]] | None = None,
    filter_counts: Mapping[int, Mapping[str, Triple]] | None = None,
    filter_last: Mapping[int, Mapping[str, Triple]] | None = None,
    **changes: Any,
) -> Path:
    """Write one run, and return its folder.

    ``counts[step][type]`` are of view ``all``; other views default to them. Without ``tasks`` each type of the last
    step is a task. ``changes`` replace keys of the record. Corpus and encoder are recorded as the published ones.
    """
    counts = counts or {1: {"PER": [8, 2, 2]}}
    last = counts[max(counts)]
    tasks = tasks or [{"name": t, "types": [t], "learned_at": i} for i, t in enumerate(last, 1)]
    label, architecture, group = METHODS.get(changes.get("registry_name", method), (method, "span", "memory-free"))
    run: dict[str, Any] = {
        "schema": 1,
        "method": method,
        "registry_name": method,
        "label": label,
        "dataset": "toy",
        "scenario": "split",
        "order": 0,
        "seed": 0,
        "encoder": "minilm",
        "config": f"{zlib.crc32(method.encode()):08x}",
        "architecture": architecture,
        "group": group,
        "status": "done",
        "reason": "",
        "n_steps": len(tasks),
        "steps": sorted(counts),
        "tasks": list(tasks),
        "setting": f"{zlib.crc32(architecture.encode()):08x}",
        "settings": {"recipe": "paper", "max_sentences": None, "epochs": 10, "lr": 5e-5, "split_seed": 1},
        "corpus": {"differences": [], "accepted": [], "n_mentions": ALL, "without_task": {}},
        "uncased": False,
        "undertrained_below": 20.0,
        "learned": [
            {"step": k, "updates": 300, "warmup_updates": 30, "selected_epoch": 3, "seconds": 1.5}
            for k in sorted(counts)
        ],
        "fingerprints": {"data": "d0", "split": "s0", "encoder": "e0"},
        "versions": {"cl-ner-bench": "0.1.0", "torch": "2.9"},
        "machine": {"cpu": "x86_64"},
        "times": {"started": "2024-01-01T00:00:00Z"},
    }
    run |= changes
    if run["encoder"] in ENCODERS:
        run.setdefault("encoder_identity", published_encoder(run["encoder"]))
    names = (str(run[key]) for key in ("method", "dataset", "order", "seed", "config"))
    run.setdefault("run_id", "-".join(map(file_word, names)))
    home = folder / "runs" / str(run["run_id"])
    home.mkdir(parents=True)
    (home / "run.json").write_text(json.dumps(run, ensure_ascii=False), encoding="utf-8")
    if run["status"] != "done":
        return home
    for step, by_type in counts.items():
        views = {
            "all": by_type,
            "filter": (filter_counts or counts)[step],
            "filter_last": (filter_last or counts)[step],
        }
        where = home / f"step-{step}"
        where.mkdir()
        stored = {view: {"test": {t: list(map(int, c)) for t, c in of.items()}} for view, of in views.items()}
        (where / "counts.json").write_text(json.dumps({"schema": 1, "step": step, "views": stored}))
        with gzip.open(where / "predictions.jsonl.gz", "wt", encoding="utf-8") as file:
            for i, type_ in enumerate(by_type):
                row = {"id": i, "gold": [[0, 2, type_]], "pred": [[0, 2, type_, 0.75], [3, 4, type_, 0.5]]}
                file.write(json.dumps(row) + "\n")
    return home


def write_matrix(folder: Path, matrix: Sequence[Sequence[float]], types: Sequence[str], **more: Any) -> Path:
    """Write a run with one type per task, in which type i has F1 ``matrix[k - 1][i]`` after step k."""
    counts = {k: {t: triple(f) for t, f in zip(types, row, strict=False)} for k, row in enumerate(matrix, 1)}
    tasks = [{"name": t, "types": [t], "learned_at": i} for i, t in enumerate(types, 1)]
    return write_run(folder, counts=counts, tasks=tasks, **more)


def write_grid(
    folder: Path,
    methods: Sequence[str] = tuple(METHODS),
    n_steps: int = 8,
    runs: Sequence[tuple[int, int]] = ((0, 0),),
    joint_last: bool = False,
    **more: Any,
) -> Path:
    """Write a made-up but plausible grid of every method for every (order, seed) in ``runs``; returns ``folder``."""
    names = ["location", "person", "organization", "building", "art", "product", "event", "other"][:n_steps]
    for method in methods:
        for order, seed in runs:
            rng = np.random.default_rng([zlib.crc32(method.encode()), order, seed])
            tasks = names[order:] + names[:order]
            base = {t: 62 + 28 * (zlib.crc32(t.encode()) % 97) / 97 for t in names}
            loss = {"spankl": 1.5, "extendner": 2.5, "frozen": 0.1, "seqstar": 0.1}
            keep = 0.0 if method.startswith("joint") else next((v for m, v in loss.items() if method.startswith(m)), 45)
            drop = 14 if method in ("frozen-span", "seqstar") else 0
            matrix = [
                [
                    float(np.clip(base[t] - (drop if i else 0) - keep * (k - i) + rng.normal(0, 1.2), 0, 100))
                    for i, t in enumerate(tasks[: k + 1])
                ]
                for k in range(n_steps)
            ]
            only_last = joint_last and method.startswith("joint") and n_steps > 1
            counts = {
                k + 1: {t: triple(f) for t, f in zip(tasks, row, strict=False)}
                for k, row in enumerate(matrix)
                if not only_last or k + 1 == n_steps
            }
            order_tasks = [{"name": t, "types": [t], "learned_at": i} for i, t in enumerate(tasks, 1)]
            write_run(folder, method, counts, order_tasks, order=order, seed=seed, **more)
    return folder


def write_add_one(
    folder: Path,
    scores: Mapping[str, Sequence[tuple[float, float, float]]],
    types: Sequence[str] = ("CAR", "DOG", "TEA"),
    orders: Sequence[int] = (0, 1, 2),
    seeds: Sequence[int] = (0,),
    joint_last: bool = False,
    **more: Any,
) -> Path:
    """Write a grid of scenario `add-one`, and return ``folder``.

    ``scores`` holds for each method and newcomer the F1 of the newcomer, and of the old types before and after. All
    scores are two points higher with each further seed.
    """
    for method, by_order in scores.items():
        for order, seed in ((order, seed) for order in orders for seed in seeds):
            new, before, after = (f1 + 2 * seed for f1 in by_order[order])
            others = [t for t in types if t != types[order]]
            counts = {1: dict.fromkeys(others, triple(before)), 2: dict.fromkeys(others, triple(after))}
            counts[2][types[order]] = triple(new)
            if joint_last and method.startswith("joint"):
                del counts[1]
            tasks = [
                {"name": f"all but {types[order]}", "types": others, "learned_at": 1},
                {"name": types[order], "types": [types[order]], "learned_at": 2},
            ]
            at: dict[str, Any] = {"order": order, "seed": seed, "scenario": "add-one", "order_of": "newcomer"}
            write_run(folder, method, counts, tasks, **at, **more)
    return folder
