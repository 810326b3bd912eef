"""A tiny corpus and encoder on disk, and `bench` as a real process, for the tests of running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cl_ner_bench.storage.layout import STEP_SUMS
from cl_ner_bench.testing.forks import command
from cl_ner_bench.testing.tiny import tiny_corpus, tiny_encoder

METHODS = Path(__file__).with_name("grid_methods.py")
HASTE = {"PAUSE": "0"}
"""The environment in which ``slow`` of METHODS does not pause, for grids that others are compared with."""
PLAIN = {"COLUMNS": "200", "NO_COLOR": "1"}


def write_inputs(folder: Path) -> list[str]:
    """Write corpus and encoder, and return the options that select them and keep a step short."""
    (folder / "corpus").mkdir(parents=True)
    for part, sentences in tiny_corpus().parts.items():
        rows = [json.dumps({"words": s.words, "mentions": s.mentions}) for s in sentences]
        (folder / "corpus" / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    tiny_encoder(folder / "encoder")
    options = ["--dataset", str(folder / "corpus"), "--encoder", str(folder / "encoder"), "--recipe", "minilm"]
    return [*options, "--epochs", "2", "--batch-size", "4"]


def start(*words: str, extra: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """Start `bench`, with ``extra`` in its environment."""
    command = [sys.executable, "-m", "cl_ner_bench", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | PLAIN | dict(extra or {})
    return subprocess.Popen(command, env=environment, **(pipes | options))


def bench(
    *words: str, timeout: float = 300, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `bench` to its end, in a fork that has already imported the libraries (`forks`)."""
    environment = os.environ | PLAIN | dict(extra or {})
    found = command("cl_ner_bench.cli.main:main", ["bench", *words], environment, timeout)
    return subprocess.CompletedProcess(words, *found)


def fresh_bench(*words: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `bench` to its end, in a new process as a user starts it."""
    process = start(*words, **options)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Return the run records of a results folder by method (tests use one run of each)."""
    found = [json.loads(path.read_bytes()) for path in out.glob("runs/*/run.json")]
    return {record["method"]: record for record in found}


def finished(out: Path) -> dict[Path, int]:
    """Return the time (ns) at which each finished step was stored, by the path of its commit record."""
    return {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/step-*/{STEP_SUMS}")}


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait until ``holds`` returns something true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"did not happen within {seconds:g} s")
        time.sleep(0.05)


def stored(out: Path) -> dict[str, bytes]:
    """Return the content of all predictions and counts, by path."""
    files = [*out.glob("runs/*/step-*/predictions.jsonl.gz"), *out.glob("runs/*/step-*/counts.json")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}
