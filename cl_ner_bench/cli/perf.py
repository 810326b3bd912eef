"""`bench perf`: measure how fast a grid would run on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cl_ner_bench.cli.output import duration, show, show_json, table, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.errors import counted

BUSY = 0.9
"""A process with a smaller share of its core shares the core with another process."""

SPEEDS = ("sentences_per_second", "slowest", "fastest", "sub_tokens_per_second")
EXAMPLES = """\
examples:
  bench perf                                  the default grid of `bench run`
  bench perf --methods spankl --dataset fewnerd --data PATH --orders all --seeds 0,1,2
  bench perf --precision bf16 --json

The options are those of `bench run`: pass the ones that you would run with. No file is written.
"""
Row = Mapping[str, Any]
Report = Mapping[str, Any]


def add_parser(commands: Any) -> None:
    from cl_ner_bench.running.options import NOT_OF_THE_GRID, OPTIONS

    parser = add_command(
        commands,
        "perf",
        _execute,
        "measure how fast a grid would run on this machine",
        usage="bench perf [options]",
        description="Measure a sample of a grid. Print its rates, their share of the machine's limit, where the time\n"
        "goes, and how long the whole grid would take.",
        epilog=EXAMPLES,
    )
    # Options for the results folder and for failed runs do not change the speed.
    names = [name for name in OPTIONS if name == "jobs" or name not in NOT_OF_THE_GRID]
    add_options(parser, names, config=True)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(options=names)


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.profiling.perf import perf

    report = perf(given(parsed, parsed.options), parsed.config)
    if parsed.json:
        show_json(report)
    else:
        show(as_text(report))
    return 0


def as_text(report: Report) -> str:
    """Return the report as text, at most 100 columns wide."""
    rows, facts, grid = report["methods"], report["machine"], report["grid"]
    how = {f"{row['settings']['precision']}, {counted(row['settings']['threads'], 'thread')} a run" for row in rows}
    shared = f" and {grid['steps_shared']} shared with them" if grid["steps_shared"] else ""
    rates = ["", "step", "learned", "from-to", "sub-tokens", "predicted", "limit", "memory"]
    lines = [
        f"{facts['processor']}, {counted(facts['cores'], 'core')}, {facts['memory_gb']} GB; "
        f"{report['device']}, {'; '.join(sorted(how))}",
        "",
        "A second: sentences learned (slowest and fastest update), their sub-tokens, sentences predicted",
        table(rates, _rates(rows), right=True),
        "",
        "Where the time of an update goes, in %",
        table(["", *rows[0]["profile"]["shares"]], _profiles(rows), right=True),
        "",
        f"The grid: {counted(grid['runs'], 'run')}, {counted(grid['steps'], 'step')} to learn{shared}; "
        f"{grid['sentences']:,} sentences pass the model",
        f"About {duration(grid['seconds'])}, {grid['jobs']} at a time; {_gb(grid['memory_bytes'])} of memory in all",
        "",
    ]
    return "\n".join(lines + [line for note in _notes(report) for line in wrapped(note, 0)])


def _rates(rows: Sequence[Row]) -> Iterator[list[str]]:
    for row in rows:
        for rates in row["training"]:
            speed, *ends, sub_tokens = (rates[key] for key in SPEEDS)
            cells = [row["name"], str(rates["step"]), _three(speed), "-".join(map(_three, ends)), _three(sub_tokens)]
            predicted, share = row["prediction"]["sentences_per_second"], row["limit"]["share"]
            whole = [_three(predicted), "-" if share is None else f"{100 * share:.0f} %", _gb(row["memory_bytes"])]
            yield cells + (whole if rates is row["training"][-1] else [""] * len(whole))


def _profiles(rows: Sequence[Row]) -> Iterator[list[str]]:
    for row in rows:
        shares = [f"{100 * share:.0f}" for share in row["profile"]["shares"].values()]
        yield [row["name"], *shares]


def _notes(report: Report) -> Iterator[str]:
    """Yield remarks on the measurement."""
    from cl_ner_bench.running.environment import GB

    rows = report["methods"]
    updates = [rates["updates"] for row in rows for rates in row["training"]]
    learned = [rates["sentences"] for row in rows for rates in row["training"]]
    predicted = [row["prediction"]["sentences"] for row in rows]
    yield (
        f"A sample: {_range(updates)} updates of each step, {_range(learned)} sentences in all, after "
        f"{rows[0]['training'][0]['left_out']} that do not count; {_range(predicted)} sentences predicted; "
        f"{rows[0]['profile']['updates']} updates profiled, which slows small operations down. One process ran at a "
        "time: several at once share the memory's bandwidth and are slower each."
    )
    yield (
        "limit: the time that the matrix products of an update would take alone, at the rate of torch's matmul here, "
        "over the time of the update. memory: the most that a run's process held; a whole step may need more."
    )
    for row in rows:
        if "unknown" in row["limit"]:
            yield f"limit of {row['name']}: not known, {row['limit']['unknown']}."
    own = min(rates["own_share"] for row in rows for rates in row["training"])
    if own < BUSY:
        yield (
            f"BUSY: while it was measured, a process had only {100 * own:.0f} % of a core. Something else runs here: "
            "the rates are too low, the hours too many, and where the time goes is blurred."
        )
    if report["grid"]["memory_bytes"] > report["machine"]["memory_gb"] * GB:
        yield "MEMORY: that many runs at a time need more than there is; pass fewer --jobs."


def _three(value: float) -> str:
    """Return a number with three significant digits, or more before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def _range(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least} to {most}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
