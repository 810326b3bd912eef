"""The benchmarks' commands at a small size: they end, and no cost is far from its expected growth.

The figures of docs/performance.md are measured at full size; this only catches what would throw them away.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd
import pytest

from cl_ner_bench import HOME
from cl_ner_bench.running.environment import child_environment
from cl_ner_bench.testing.forks import command
from cl_ner_bench.testing.timing import growth_per_tenfold

pytestmark = pytest.mark.slow

SIZES = (1_000, 10_000, 100_000)
STAGES = ["reading", "reading from the cache", "splitting", "tokenising", "batching", "decoding", "scoring"]
RUNS = """
import json, sys, tempfile
from pathlib import Path
import psutil, torch
from cl_ner_bench import method_code, registry
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus, tiny_encoder

torch.set_num_threads(1)
corpus, held = tiny_corpus(), []
with tempfile.TemporaryDirectory() as folder:
    encoder = str(tiny_encoder(Path(folder)))
    for seed in range(int(sys.argv[1])):
        card, made = registry.methods()[("spankl", "extendner", "joint-span")[seed % 3]], make_split(corpus)
        trainer = Trainer(method_code.load_class(card), card.settings, RECIPE, encoder, seed)
        for step in range(1, made.n_steps + 1):
            trainer.learn(made.step_data(corpus, step, card.is_cumulative))
            trainer.predict([s.only(()) for s in made.test_part(corpus, step)])
        held.append(psutil.Process().memory_info().rss)
print(json.dumps(held))
"""
TEXT = "the committee of Oslo met again in 1990 to discuss unemployment statistics with Anna and two other guests"


def benchmark(name: str, *words: str) -> str:
    """Run a benchmark in a worker's environment, so that it need not start again, and return what it prints."""
    environment = os.environ | child_environment(1)
    code, out, err = command(f"benchmarks.{name}:main", [f"benchmarks.{name}", *words], environment)
    assert code == 0, err
    return out


def test_growth_is_per_tenfold_with_its_interval() -> None:
    steady, half = [[2.0, 2.0, 2.0]] * 3, [[1.0, 1.5, 2.25], [3.0, 4.5, 6.75]]
    assert growth_per_tenfold(SIZES, steady) == pytest.approx((0, 0, 0), abs=1e-12)
    assert growth_per_tenfold(SIZES, half) == pytest.approx((0.5, 0.5, 0.5))
    mean, low, high = growth_per_tenfold(SIZES, [[1.0, 1.0, 1.0], [1.0, 1.1, 1.21], [1.0, 1.05, 1.1025]])
    assert low < 0 < mean < 0.1 < high


def test_the_table_of_stages_is_printed() -> None:
    out = benchmark("scaling", "stages", "--sizes", "300,600", "--rounds", "2", "--repeats", "1")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert rows[0][:3] == ["sentences", "300", "600"]
    assert [row[0] for row in rows[2:]] == [*(f"{s}, us a sentence" for s in STAGES), "memory, bytes a sub-token"]
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[1:3])
    assert rows[-1][-1] == "200 bytes: yes"


def test_ten_times_the_sentences_take_no_more_than_their_share() -> None:
    # What grows with the square would take 100 times as long; the bound of 10.5 is that of the full size.
    out = benchmark("scaling", "tenfold", "--sentences", "300", "--rounds", "1")
    times = re.findall(r"^(\w+), 300 to 3,000 sentences: ([\d.]+) times the time", out, re.MULTILINE)
    assert [name for name, _ in times] == ["splitter", "scorer"]
    assert all(float(ratio) < 20 for _, ratio in times), out
    shares = re.findall(r"^\w+, 3,000 sentences: ([\d.]+) of the corpus's memory", out, re.MULTILINE)
    assert [float(share) < 1.5 for share in shares] == [True, True], out


def test_training_and_evaluation_stay_faster_than_the_plain_path(tmp_path: Path) -> None:
    """Ratios of CPU times by turns, on sentences of 20 words on average, some of them much longer: as in text."""
    rng = random.Random(0)
    for part, n in (("train", 300), ("dev", 8), ("test", 32)):
        rows = []
        for _ in range(n):
            words = [rng.choice(TEXT.split()) for _ in range(max(3, round(rng.gammavariate(2.2, 9.2))))]
            rows.append(json.dumps({"words": words, "mentions": [[i, i + 1, "ABC"[i]] for i in range(3)]}))
        (tmp_path / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    file, command = tmp_path / "found.json", [sys.executable, "-m", "benchmarks.timing", "--dataset", str(tmp_path)]
    command += ["--only", "train-fp32,eval-fp32", "--updates", "1", "--sentences", "32", "--batch-size", "8"]
    command += ["--rounds", "3", "--json", str(file)]
    subprocess.run(command, cwd=HOME, env=os.environ | child_environment(1), check=True, timeout=300)
    ratios = {row["figure"]: row["values"] for row in json.loads(file.read_bytes())["rows"]}
    assert len(ratios) == 4
    for figure, values in ratios.items():
        assert len(values) == 3
        assert median(values) >= (1.5 if "training" in figure else 1.3), ratios


def test_runs_in_one_process_leave_no_memory_behind(figure: Callable[[str], None]) -> None:
    """Resident memory after 20 runs of three steps, three methods by turns, against that after the third run."""
    command, environment = [sys.executable, "-c", RUNS, "20"], os.environ | child_environment(1)
    held = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(held) == 20
    figure(f"resident memory grows by {100 * (held[-1] / held[2] - 1):.2f} % from run 3 to 20")
    assert held[-1] / held[2] < 1.05, held


def test_the_instruments_numbers_follow_from_its_runs(tmp_path: Path) -> None:
    page = (HOME / "docs" / "synthetic.md").read_text(encoding="utf-8")
    reference = HOME / "results" / "reference"
    table = benchmark(
        "instrument", "--draw", "--results", str(reference / "instrument"), "--out", str(tmp_path / "one")
    )
    assert table.strip() in page
    stored = pd.read_csv(HOME / "docs" / "instrument.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "one.csv"), stored)
    more = ["--knobs", "co_occurrence,tasks", "--out", str(tmp_path / "two")]
    table = benchmark("instrument", "--draw", "--results", str(reference / "instrument-2"), *more)
    assert table.strip() in page
