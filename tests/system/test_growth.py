"""The benchmark of growth, at a size that tells nothing: it goes through, and tells growth where there is some."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.growth import growth
from cl_ner_bench import registry
from cl_ner_bench.running.environment import child_environment

SIZES = (1_000, 10_000, 100_000)


def test_growth_is_told_per_tenfold_with_its_interval() -> None:
    steady, half = [[2.0, 2.0, 2.0]] * 3, [[1.0, 1.5, 2.25], [3.0, 4.5, 6.75]]
    assert growth(SIZES, steady) == pytest.approx((0, 0, 0), abs=1e-12)
    assert growth(SIZES, half) == pytest.approx((0.5, 0.5, 0.5))
    mean, low, high = growth(SIZES, [[1.0, 1.0, 1.0], [1.0, 1.1, 1.21], [1.0, 1.05, 1.1025]])
    assert low < 0 < mean < 0.1 < high


def test_the_table_is_printed() -> None:
    options = ["--sizes", "300,600", "--rounds", "2", "--repeats", "1"]
    command = [sys.executable, "-m", "benchmarks.growth", *options]
    settings = {"cwd": registry.HOME, "env": os.environ | child_environment(1)}  # as it is, it need not start again
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, **settings).stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert rows[0][:3] == ["sentences", "300", "600"]
    stages = ["reading", "reading from the cache", "splitting", "tokenising", "batching", "decoding", "scoring"]
    assert [row[0] for row in rows[2:]] == [*(f"{s}, us a sentence" for s in stages), "memory, bytes a sub-token"]
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[1:3])
    assert rows[-1][-1] == "200 bytes: yes"
