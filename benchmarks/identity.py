"""Does a command give the same files however and wherever it is run? python -m benchmarks.identity

A grid on a tiny corpus and encoder, run once as it stands, and again in ways that are drawn: one worker or two, another
PYTHONHASHSEED, methods and orders in another order, another locale, time zone and encoding of the terminal, data and
results in folders with spaces and Unicode, a copy of the corpus, an empty cache. Tables, figures, counts, predictions,
models and mentions are compared byte by byte as the command wrote them; then, with the measured times and memory of the
first run put into the other's records and the report made again, everything that a report writes.

Option: --ways 20.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ner_bench.storage.json_files import write_record
from cl_ner_bench.testing.grids import bench, write_inputs

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
MEASURED = ("seconds", "cpu_seconds", "predict_seconds", "peak_memory_bytes")
SAME = ("run_id", "status", "steps", "tasks", "setting", "settings", "by_hand", "fingerprints", "versions", "step_keys")


@dataclass(frozen=True)
class Way:
    """How and where a command is run; ``turned``: methods and orders are named the other way round."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", type=int, default=20)
    options = parser.parse_args()
    rng, same = random.Random(0), 0
    with tempfile.TemporaryDirectory() as home:
        inputs = Path(home) / "inputs"
        write_inputs(inputs)
        first = run(Way(), inputs, Path(home), METHODS, (0, 1))
        for number in range(options.ways):
            way = drawn(rng)
            folder = Path(home) / str(number)
            other = run(way, inputs, folder, METHODS, (0, 1))
            differing = differences(first, other)
            same += not differing
            print(way, ", ".join(differing) or "same", flush=True)
            shutil.rmtree(folder)
    print(f"{same} of {options.ways} ways gave identical files")
    sys.exit(same < options.ways)


def drawn(rng: random.Random) -> Way:
    locale = rng.choice([*LOCALES])
    # A name that the locale cannot read is refused.
    place = rng.choice([place for place in PLACES if locale != "ASCII" or place.isascii()])
    seed, zone, terminal = str(rng.randrange(2**32)), rng.choice(ZONES), rng.choice(TERMINALS)
    return Way(place, rng.choice((1, 2)), rng.random() < 0.5, seed, locale, zone, terminal)


def begin(
    way: Way, inputs: Path, home: Path, methods: Sequence[str], orders: Sequence[int]
) -> tuple[Path, subprocess.Popen[str]]:
    """Start the command in this way, on a copy of the inputs; its results folder and the process."""
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
    """Wait for a command. Raises RuntimeError, with what it said, where it failed."""
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"bench ended with {process.returncode}: {said}")


def run(way: Way, inputs: Path, home: Path, methods: Sequence[str], orders: Sequence[int]) -> Path:
    out, process = begin(way, inputs, home, methods, orders)
    end(process)
    return out


def differences(first: Path, other: Path) -> list[str]:
    """The files of two results folders that differ. Gives ``other`` the times of ``first`` and reports it again."""
    found = unequal(first, other, WRITTEN)
    # A table of times holds others each time: what else it shows is compared with the times of the first.
    differing = [name for name in found if not Path(name).name.startswith("cost-")]
    differing += [f"{run_id}/run.json" for run_id in take_over_times(first, other)]
    again = bench("report", str(other))
    if again.returncode:
        raise RuntimeError(again.stderr)
    return [*dict.fromkeys([*differing, *unequal(first, other, (*WRITTEN, "report.html"))])]


def unequal(first: Path, other: Path, patterns: Iterable[str]) -> list[str]:
    """Names of files that one folder lacks or that hold other bytes."""
    names = sorted(
        {str(p.relative_to(home)) for home in (first, other) for pattern in patterns for p in home.glob(pattern)}
    )
    contents = [
        [(home / name).read_bytes() if (home / name).exists() else None for name in names] for home in (first, other)
    ]
    return [name for name, a, b in zip(names, *contents, strict=True) if a != b]


def take_over_times(first: Path, other: Path) -> list[str]:
    """Put what was measured in ``first`` into the records of ``other``; the runs whose records differ in more."""
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


if __name__ == "__main__":
    main()
