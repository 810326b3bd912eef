"""`bench check-method`: run the conformance suite on methods."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from cl_ner_bench.cli.output import WIDTH, duration, show, table, transient
from cl_ner_bench.cli.parsing import add_command


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "check-method",
        _execute,
        "check that your own or built-in methods keep the contract",
        usage="bench check-method METHOD... [--full]",
        description="Check methods with a tiny encoder and generated sentences. The checks ask if a method's card is\n"
        "true, and if the method learns, sees no hidden label, predicts each sentence by itself, repeats and\n"
        "resumes to the bit, copes with unusual tasks, and runs on any device. They take some seconds per\n"
        "method. Each fault says what to change. Exit code 1 if there is a fault.",
        epilog="examples:\n  bench check-method mine.py\n  bench check-method mine.py:my-variant --full\n"
        "  bench check-method spankl extendner\n"
        "  bench check-method plug.py+extendner plug.py:NAME+spankl    a plug-in on other methods\n\n"
        "`bench init-method NAME` writes a file to start from. A method file runs as code: check only files\n"
        "that you trust.",
    )
    parser.add_argument(
        "methods",
        nargs="+",
        metavar="METHOD",
        help="a name of `bench list methods`, FILE.py, FILE.py:NAME or PLUG+METHOD",
    )
    parser.add_argument(
        "--full", action="store_true", help="also check stops in each epoch, other processes and encoders, and bf16"
    )


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench import registry

    variants = registry.resolve(parsed.methods)
    from cl_ner_bench.testing.conformance.suite import checks, run_checks, title

    rows = []
    for variant in variants:
        names = [title(check) for check in checks(variant.card, parsed.full)]
        width, seconds, done = max(map(len, names)), 0.0, 0
        faults: dict[str, list[str]] = {}  # fault -> the checks that found it
        show(f"{variant.card.name} ({variant.card.architecture}, {variant.card.group})")
        transient(f"  ...    {names[0]}")
        for result in run_checks(variant.card, parsed.full):
            transient("")
            seconds, done = seconds + result.seconds, done + 1
            text = result.fault or result.remark
            if result.fault:
                said_by = faults.setdefault(result.fault, [])
                text = f"as {said_by[0]}" if said_by else text
                said_by.append(result.check)
            begin = f"  {'FAULT' if result.fault else 'ok':7}{result.check:{width + 2}}"
            show(textwrap.fill(text, WIDTH, initial_indent=begin, subsequent_indent=" " * len(begin)) or begin)
            if done < len(names):
                transient(f"  ...    {names[done]}")
        transient("")
        for said_by in faults.values():
            if len(said_by) > 1:
                show(f"  The fault of {said_by[0]} occurs in {len(said_by)} of {done} checks and counts once.")
        if done < len(names):
            show(f"  It ends the checks: all others ({len(names) - done}) would run the same code.")
        rows.append((variant.card.name, done, len(faults), duration(seconds)))
    show("")
    show(table(("method", "checks", "faults", "processor time"), rows))
    return 1 if any(faults for _, _, faults, _ in rows) else 0
