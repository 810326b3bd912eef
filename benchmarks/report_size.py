"""How long a report of a large, made-up grid takes, and how large its page is. From the repository's root:

    python -m benchmarks.report_size --out /tmp/large                       15 x 10 x 5 runs of 11 steps, 66 types
    python -m benchmarks.report_size --out /tmp/small --methods 4 --orders 2 --seeds 2

The first report reduces the predictions of every run and stores that beside them; the second reads it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
import zlib
from pathlib import Path

import numpy as np

from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.scores.scorer import count
from cl_ner_bench.testing.results import METHODS, write_run

Mention = tuple[int, int, str]
PER_SENTENCE = 2


def make_grid(
    folder: Path,
    methods: int = 15,
    orders: int = 10,
    seeds: int = 5,
    steps: int = 11,
    types: int = 66,
    mentions: int = 4,
) -> Path:
    """A grid with counts that follow from its predictions; ``mentions`` of each type in the test part."""
    known = list(METHODS)
    names = [known[i] if i < len(known) else f"variant-{i}" for i in range(methods)]
    per_task = math.ceil(types / steps)
    labels = [f"task{i // per_task}-type{i:02d}" for i in range(types)]
    groups = [labels[i : i + per_task] for i in range(0, types, per_task)]
    for order in range(orders):
        turned = [groups[(i + order) % len(groups)] for i in range(len(groups))]
        tasks = [{"name": own[0].split("-")[0], "types": own, "learned_at": k} for k, own in enumerate(turned, 1)]
        for method in names:
            for seed in range(seeds):
                _write_run(folder, method, order, seed, tasks, labels * (mentions // PER_SENTENCE))
    return folder


def _write_run(
    folder: Path, method: str, order: int, seed: int, tasks: list[dict[str, object]], sentences: list[str]
) -> None:
    """A run on sentences that hold two mentions of one type each."""
    rng = np.random.default_rng([zlib.crc32(method.encode()), order, seed])
    skill = 0.9 if method.startswith("joint") else 0.4 + 0.4 * (zlib.crc32(method.encode()) % 11) / 11
    learned: list[str] = []
    stored: dict[str, dict[int, dict[str, list[int]]]] = {"all": {}, "filter": {}, "filter_last": {}}
    rows: dict[int, list[str]] = {}
    for task in tasks:
        k = int(str(task["learned_at"]))
        learned += [str(name) for name in task["types"]]  # type: ignore[attr-defined]
        luck = rng.random((len(sentences), PER_SENTENCE))
        other = rng.integers(0, len(learned), (len(sentences), PER_SENTENCE))
        gold: list[list[Mention]] = []
        pred: list[list[Mention]] = []
        for i, type_ in enumerate(sentences):
            places = range(PER_SENTENCE)
            gold.append([(3 * j, 3 * j + 1, type_) for j in places] if type_ in learned else [])
            right = gold[-1] or [(3 * j, 3 * j + 1, "") for j in places]
            found = [luck[i, j] < (1 + skill) / 2 and (bool(m[2]) or luck[i, j] < 0.05) for j, m in enumerate(right)]
            named = [m[2] if luck[i, j] < skill and m[2] else learned[other[i, j]] for j, m in enumerate(right)]
            pred.append([(m[0], m[1], name) for m, name, there in zip(right, named, found, strict=True) if there])
        stored["all"][k] = stored["filter_last"][k] = count(gold, pred, learned)
        held = [i for i, own in enumerate(gold) if own]
        stored["filter"][k] = count([gold[i] for i in held], [pred[i] for i in held], learned)
        rows[k] = [
            json.dumps({"id": i, "gold": gold[i], "pred": [[*m, 0.5] for m in pred[i]]}) for i in range(len(sentences))
        ]
    home = write_run(
        folder, method, stored["all"], tasks, stored["filter"], stored["filter_last"], order=order, seed=seed,
        undertrained_below=1, fingerprints={"data": "d0", "split": f"s{order}", "encoder": "e0"},
    )  # fmt: skip
    for k, lines in rows.items():
        content = gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)
        (home / f"step-{k}" / "predictions.jsonl.gz").write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    sizes = {"methods": 15, "orders": 10, "seeds": 5, "steps": 11, "types": 66, "mentions": 4}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    options = vars(parser.parse_args())
    out = options.pop("out")
    if not (out / "runs").is_dir():
        make_grid(out, **options)
    for what in ("first report (reduces predictions)", "second report"):
        start = time.perf_counter()
        write_report([out], out)
        page = (out / "report.html").stat().st_size
        print(f"{what}: {time.perf_counter() - start:.1f} s, report.html {page / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
