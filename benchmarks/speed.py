"""How fast the engine is: python benchmarks/speed.py --data PATH

Prints the Markdown table of docs/performance.md: figure | min / median / max | bound | aim | met | key. PATH is the
folder of Few-NERD (train, dev and test files). The plain loop is cl_ner_bench/testing/plain.py: padded random
batches of 32, the teacher at every step, fp32, stock AdamW. Ratios are of CPU times by turns in one process with one
thread, in the environment of the suite's workers; each of the rounds trains and evaluates on what `--updates` and
`--sentences` say. How costs grow with a corpus is a table of its own: `python -m benchmarks.growth`.

    --only train,eval     rows whose key begins so; slow rows only if they are named (grid, default)
    --grid "OPTIONS"      of the row `grid`: `bench run` options that say how large it is
    --json FILE           every value, with the machine and the versions
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of Few-NERD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=4, help="training steps a round")
    parser.add_argument("--sentences", type=int, default=256, help="sentences evaluated a round")
    parser.add_argument("--only", help="keys of rows, separated by commas")
    parser.add_argument("--grid", default="", help="options of the whole grid")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the plain path is among the tests
    from benchmarks.measure import as_a_worker

    as_a_worker()
    import torch

    from benchmarks.rows import FIGURES, Settings
    from cl_ner_bench.running.environment import hardware, versions

    torch.set_num_threads(1)
    sizes = (arguments.rounds, arguments.updates, arguments.sentences)
    settings = Settings(arguments.data.resolve(), *sizes, tuple(shlex.split(arguments.grid)))
    wanted = tuple(arguments.only.split(",")) if arguments.only else ()
    chosen = [f for f in FIGURES if (f.key.startswith(wanted) if wanted else not f.slow)]
    if not chosen:
        parser.error(f"--only: no row begins so; there are {', '.join(dict.fromkeys(f.key for f in FIGURES))}")
    print("| figure | min / median / max | bound | aim | met | `--only` |\n|---|---:|---:|---:|---|---|")
    rows = []
    for figure in chosen:
        values = figure.measure(settings)
        print("| " + " | ".join(figure.shown(values)) + " |", flush=True)
        row = {"key": figure.key, "figure": figure.text, "unit": figure.unit, "values": values}
        rows.append(row | {"bound": figure.bound, "aim": figure.aim, "met": figure.met(values)})
    if arguments.json:
        about = {"schema": 1, "machine": hardware(), "versions": versions(), "command": sys.argv[1:]}
        arguments.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
