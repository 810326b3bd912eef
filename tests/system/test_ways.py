"""Do all ways to run a command give the same files?

A grid on a tiny corpus and encoder, run once as it stands, and again with one worker or two, another PYTHONHASHSEED,
methods and orders in another order, another locale, time zone and encoding of the terminal, data and results in folders
with spaces and Unicode, a copy of the corpus, an empty cache. Tables, figures, counts, predictions, models and mentions
are compared byte by byte as the command wrote them; then, with the measured times and memory of the first run put into
the records of the other and the report made again, everything that a report writes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench import HOME
from cl_ner_bench.storage.files import write_record
from cl_ner_bench.testing.grids import bench, write_inputs

pytestmark = pytest.mark.slow

METHODS = ("spankl", "finetune-span", "extendner", "finetune-token", "joint-token")
LOCALES: dict[str, dict[str, str]] = {
    "C.UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},  # which Python reads as UTF-8
    "ASCII": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # and here it does not
}
ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns")
PLACES = ("plain", "with a space", "ñ 名 é")
TERMINALS = ("utf-8", "ascii", "latin-1")
WRITTEN = (
    *("*.csv", "mentions.csv.gz", "tables/*", "figures/*", "store/*/model.*"),
    *("runs/*/split.json", "runs/*/reduced.json.gz", "runs/*/step-*/predictions.jsonl.gz", "runs/*/step-*/counts.json"),
)
MEASURED = ("seconds", "teacher_seconds", "dev_seconds", "cpu_seconds", "predict_seconds", "peak_memory_bytes")
SAME = ("run_id", "status", "steps", "tasks", "setting", "settings", "by_hand", "fingerprints", "versions", "step_keys")


@dataclass(frozen=True)
class Way:
    """A place and manner of running a command; ``turned``: methods and orders are named in the opposite order."""

    place: str = PLACES[0]
    jobs: int = 1
    turned: bool = False
    hash_seed: str = "0"
    locale: str = "C.UTF-8"
    zone: str = ZONES[0]
    terminal: str = TERMINALS[0]

    @property
    def environment(self) -> dict[str, str]:
        own = {"PYTHONHASHSEED": self.hash_seed, "TZ": self.zone, "PYTHONIOENCODING": self.terminal}
        return own | LOCALES[self.locale]


def test_a_command_gives_the_same_files_however_it_is_run(
    tmp_path: Path, full: bool, figure: Callable[[str], None]
) -> None:
    inputs, rng = tmp_path / "inputs", random.Random(0)
    write_inputs(inputs)
    methods, orders = (METHODS, (0, 1)) if full else (METHODS[:2], (0,))
    otherwise = Way("ñ 名 é", 2, True, str(rng.randrange(2**32)), "C", "Pacific/Kiritimati", "ascii")
    ways = [drawn(rng) for _ in range(20)] if full else [otherwise]
    out, first = begin(Way(), inputs, tmp_path / "first", methods, orders)
    processes = [first]
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        other_out, other = begin(way, inputs, folder, methods, orders)
        processes.append(other)
        while processes:
            end(processes.pop())
        assert differences(out, other_out) == [], way
        shutil.rmtree(folder)
    figure(f"{len(ways)} ways gave identical files")


def test_a_name_that_the_locale_cannot_read_is_refused(tmp_path: Path) -> None:
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(HOME)}
    command = [sys.executable, "-m", "cl_ner_bench", "run", "--dry-run", "--out", str(tmp_path / "ñ")]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "set PYTHONUTF8=1" in done.stderr
    assert "Traceback" not in done.stderr


def drawn(rng: random.Random) -> Way:
    locale = rng.choice([*LOCALES])
    # A name that the locale cannot read is refused.
    place = rng.choice([place for place in PLACES if locale != "ASCII" or place.isascii()])
    seed, zone, terminal = str(rng.randrange(2**32)), rng.choice(ZONES), rng.choice(TERMINALS)
    return Way(place, rng.choice((1, 2)), rng.random() < 0.5, seed, locale, zone, terminal)


def begin(
    way: Way, inputs: Path, home: Path, methods: Sequence[str], orders: Sequence[int]
) -> tuple[Path, subprocess.Popen[str]]:
    """Start the command in this way, on a copy of the inputs, and return its results folder and the process."""
    place = home / way.place
    shutil.copytree(inputs, place / "inputs")
    turn = -1 if way.turned else 1
    words = ["--dataset", str(place / "inputs/corpus"), "--encoder", str(place / "inputs/encoder")]
    words += ["--recipe", "minilm", "--epochs", "2", "--batch-size", "4", "--bounds", "none"]
    words += ["--methods", ",".join(methods[::turn]), "--orders", ",".join(map(str, orders[::turn]))]
    out = place / "results"
    command = [sys.executable, "-m", "cl_ner_bench", "run", *words, "--jobs", str(way.jobs), "--out", str(out)]
    environment = os.environ | {"CL_NER_BENCH_CACHE": str(place / "cache")} | way.environment
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "encoding": way.terminal}
    return out, subprocess.Popen(command, env=environment, **pipes)


def end(process: subprocess.Popen[str]) -> None:
    """Wait until a command has succeeded."""
    _, said = process.communicate()
    assert process.returncode == 0, said


def differences(first: Path, other: Path) -> list[str]:
    """Return the files of two results folders that differ.

    ``other`` is given the times of ``first`` and reported again.
    """
    found = unequal(first, other, WRITTEN)
    # A table of times holds others each time: what else it shows is compared with the times of the first.
    differing = [name for name in found if not Path(name).name.startswith("cost-")]
    differing += [f"{run_id}/run.json" for run_id in take_over_times(first, other)]
    again = bench("report", str(other))
    assert again.returncode == 0, again.stderr
    return [*dict.fromkeys([*differing, *unequal(first, other, (*WRITTEN, "report.html"))])]


def unequal(first: Path, other: Path, patterns: Iterable[str]) -> list[str]:
    """Return the names of files that one folder lacks or that hold other bytes."""
    names = sorted(
        {str(p.relative_to(home)) for home in (first, other) for pattern in patterns for p in home.glob(pattern)}
    )
    contents = [
        [(home / name).read_bytes() if (home / name).exists() else None for name in names] for home in (first, other)
    ]
    return [name for name, a, b in zip(names, *contents, strict=True) if a != b]


def take_over_times(first: Path, other: Path) -> list[str]:
    """Copy what was measured in ``first`` into ``other`` and return the runs whose records differ in more."""
    differing = []
    for file in first.glob("runs/*/run.json"):
        theirs = other / file.relative_to(first)
        a, b = json.loads(file.read_bytes()), json.loads(theirs.read_bytes())
        if [a[key] for key in SAME] != [b[key] for key in SAME] or unmeasured(a) != unmeasured(b):
            differing.append(file.parent.name)
        write_record(theirs, b | {key: a[key] for key in ("learned", "times", "machine", "command")})
    return differing


def unmeasured(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in record["learned"]]
