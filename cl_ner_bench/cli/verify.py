"""`bench verify`: check a results folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import show, show_json, transient
from cl_ner_bench.cli.parsing import add_command


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "verify",
        _execute,
        "check all checksums of a results folder and recompute every score",
        description="Check all checksums of a results folder, and recompute all counts and scores from the stored\n"
        "predictions. Print each fault with its repair. Exit code 1 if there is a fault.",
        epilog="example:\n  bench verify results/synthetic-split --json",
    )
    parser.add_argument("folder", type=Path, metavar="RESULTS_DIR", help="results folder to check")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.analysis.verify import verify

    found = verify(parsed.folder, transient)
    transient("")
    if parsed.json:
        show_json(found.to_json())
    else:
        show(found.as_text())
    return 1 if found.faults else 0
