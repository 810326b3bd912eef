"""A whole grid: `bench run` against the plain loop in one process, one thread, nothing shared.

    python -m benchmarks.grid --data PATH -- --max-sentences 800 --epochs 2 --batch-size 32

The grid is `spankl` and `extendner` with their joint references, 2 orders, 2 seeds; what follows `--` are options of
`bench run` that say how large it is, with which recipe and precision. Both learn every step of every run, evaluate dev
after each epoch and the test set after each step; the plain loop is in fp32 and has no files to write. Whole processes
by the clock.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

METHODS = ("spankl", "extendner", "joint-span", "joint-token")
GRID = ["--methods", ",".join(METHODS), "--dataset", "fewnerd-coarse", "--orders", "0,1", "--seeds", "0,1"]
SAMPLE = ("--max-sentences", "800", "--epochs", "2", "--batch-size", "32", "--joint-steps", "last",
          "--precision", "bf16", "--max-span-width", "12")  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="be the plain loop")
    parser.add_argument("options", nargs="*", help="of `bench run`")
    arguments = parser.parse_args()
    if arguments.plain:
        plain_loop(arguments.data, arguments.options)
    else:
        print(f"{ratio(arguments.data, arguments.options):.2f} x")


def ratio(data: Path, options: Sequence[str]) -> float:
    """Time of the plain loop over that of the suite."""
    options = [*(options or SAMPLE)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cl_ner_bench", "run", *GRID, "--data", str(data), *options]
        suite = clock([*command, "--quiet", "--out", folder])
    plain = clock([sys.executable, "-m", "benchmarks.grid", "--plain", "--data", str(data), "--", *options])
    print(f"grid: {suite:.0f} s against {plain:.0f} s of the plain loop", file=sys.stderr)
    return plain / suite


def clock(command: Sequence[str]) -> float:
    """Seconds of a process with one thread, from its start to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begin


def plain_loop(data: Path, options: Sequence[str]) -> None:
    """Learn and evaluate all runs of the grid, one after the other."""
    import torch

    from cl_ner_bench.corpora.load import load_corpus
    from cl_ner_bench.running.grid import prepare

    torch.set_num_threads(1)
    names = [name.removeprefix("--").replace("-", "_") for name in (*GRID[::2], *options[::2])]
    with tempfile.TemporaryDirectory() as folder:
        given = dict(zip(names, (*GRID[1::2], *options[1::2]), strict=True))
        prepared = prepare({**given, "data": str(data), "out": folder})
    settings = prepared.runs[0].record.settings
    corpus = load_corpus("fewnerd-coarse", data, None, settings["max_sentences"], settings["split_seed"])
    for run in prepared.runs:
        learn(run, corpus)


def learn(run: Any, corpus: Any) -> None:
    """All steps of a run by the plain path, as cl_ner_bench/testing/plain.py does each update."""
    from cl_ner_bench import registry
    from cl_ner_bench.learning.trainer import Trainer
    from cl_ner_bench.models.encoders.info import encoder_info
    from cl_ner_bench.testing.plain import Plain, Training, predict, read, score

    card, recipe = registry.methods()[run.record.method], run.record.settings | {"max_span_width": 0}
    folder, union = encoder_info("minilm").folder, card.data == "union"

    def new() -> Plain:
        trainer = Trainer(registry.load_class(card), card.settings, recipe, "minilm", run.record.seed)
        return Plain(trainer.learner, folder, recipe["dropout"])

    model, rng = new(), random.Random(run.record.seed)
    for step in run.record.steps:
        data = run.split.step_data(corpus, step, union)
        teacher = None
        if card.start == "pretrained":
            model = new()
        elif step > 1:
            teacher = copy.deepcopy(model)
        model.grow([type for type in data.types if type not in model.types])
        train, dev = read(data.train, folder), read(data.dev, folder)
        training = Training(model, recipe, recipe["epochs"] * math.ceil(len(train) / recipe["batch_size"]))
        best, kept = -1.0, copy.deepcopy(model.state_dict())
        for _ in range(recipe["epochs"]):
            model.train()
            for batch in batches(train, recipe["batch_size"], rng):
                training.update(batch, data.labelled, teacher)
            found = f1(score(dev, predict(model, dev, data.dev_labelled), data.dev_labelled))
            if found > best:
                best, kept = found, copy.deepcopy(model.state_dict())
        model.load_state_dict(kept)
        test = read(run.split.test_part(corpus, step), folder)
        score(test, predict(model, test), data.types)


def batches(rows: Sequence[Any], size: int, rng: random.Random) -> Iterator[list[Any]]:
    order = rng.sample(range(len(rows)), len(rows))
    for start in range(0, len(order), size):
        yield [rows[i] for i in order[start : start + size]]


def f1(counts: dict[str, list[int]]) -> float:
    """Macro-F1 of the types that there are."""
    scores = [200 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts.values() if tp + fp + fn]
    return sum(scores) / len(scores) if scores else 0.0


if __name__ == "__main__":
    main()
