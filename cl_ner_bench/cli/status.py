"""`bench status`: the progress of a grid that this, another process or another machine learns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import show, show_json
from cl_ner_bench.cli.parsing import add_command


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        _execute,
        "show the progress of a grid, wherever it runs",
        description="Show which runs are done, running (and where), failed or waiting, and the estimated time left.\n"
        "Works while any other process or machine trains them.",
        epilog="examples:\n  bench status results/synthetic-split --watch\n"
        "  bench status results/synthetic-split --json\n"
        "  bench status results/synthetic-split --store s3://bucket/grid",
    )
    parser.add_argument("folder", type=Path, metavar="RESULTS_DIR", help="results of `bench run`")
    parser.add_argument(
        "--store", metavar="URL", help="update RESULTS_DIR first from the object store that the grid shares"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="continue until nothing runs: live on a terminal, else lines")
    how.add_argument("--json", action="store_true", help="print JSON with every run")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.status import Reader, watch

    if parsed.watch:
        watch(parsed.folder, parsed.store)
        return 0
    status = Reader(parsed.folder, parsed.store).read()
    if parsed.json:
        show_json(status.to_json())
    else:
        show("\n".join(status.lines()))
    return 0
