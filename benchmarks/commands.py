"""Processor seconds (user and system, with all child processes) of commands that learn nothing.

    bench run --max-sentences 60 --epochs 1 --out small        make a results folder
    python -m benchmarks.commands small                        measure the commands of this checkout
    git worktree add ../before COMMIT
    python -m benchmarks.commands small --against ../before    also compare them with another checkout

The table has a row per command with the minimum, median and maximum over rounds. With ``--against``, both checkouts run
each command by turns. The last column is then the time of the other checkout divided by the time of this checkout.
``report`` writes to an empty folder, and ``report again`` writes to the same folder once more.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HOME = Path(__file__).resolve().parents[1]
CODE = "import sys\nfrom cl_ner_bench.cli.main import main\nsys.exit(main())"


def commands(results: Path, out: Path) -> dict[str, list[str]]:
    """Return the arguments of each command by its name, in the order of measurement."""
    report = ["report", str(results), "--out", str(out)]
    return {
        "--help": ["--help"],
        "list": ["list", "methods"],
        "status": ["status", str(results)],
        "verify": ["verify", str(results)],
        "report": report,
        "report again": report,
    }


def processor_seconds(words: list[str], checkout: Path, folder: Path) -> float:
    """Run a command of the suite of ``checkout`` in ``folder``, and return its processor seconds.

    Raises CalledProcessError if the command fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", CODE, *words], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of `bench run`")
    parser.add_argument("--against", type=Path, help="checkout to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="commands to measure, separated by commas (default: all)")
    given = parser.parse_args()
    checkouts = [HOME, *([given.against.resolve()] if given.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        out = [Path(folder, str(place)) for place in range(len(checkouts))]
        chosen = [name for name in commands(given.results, out[0]) if not given.only or name in given.only.split(",")]
        seconds: dict[tuple[str, int], list[float]] = {}
        for turn in range(given.rounds + 1):
            for path in out:
                shutil.rmtree(path, ignore_errors=True)
            for name in chosen:
                for place, checkout in enumerate(checkouts):
                    words = commands(given.results.resolve(), out[place])[name]
                    found = processor_seconds(words, checkout, Path(folder))
                    if turn:  # the first turn does not count, because Python compiles the modules in it
                        seconds.setdefault((name, place), []).append(found)
    print("| command | processor seconds: min / median / max | before / now: min / median / max |\n|---|---:|---:|")
    for name in chosen:
        now = seconds[name, 0]
        ratios = [a / b for a, b in zip(seconds.get((name, 1), ()), now, strict=False)]
        print(f"| `bench {name}` | {spread(now)} | {spread(ratios) if ratios else ''} |")


def spread(values: list[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in (min(values), median(values), max(values)))


if __name__ == "__main__":
    main()
