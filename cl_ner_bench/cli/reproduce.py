"""`bench reproduce`: run a published experiment, and compare with its numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.list import as_table, details, list_presets, rows_of
from cl_ner_bench.cli.output import show, table, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.cli.results import show_results
from cl_ner_bench.cli.run import add_output_options, carry_out

if TYPE_CHECKING:
    from cl_ner_bench.analysis.comparison.agreement import Judgement
    from cl_ner_bench.analysis.scores.names import Measure
    from cl_ner_bench.running.reproduce import Reproduction

EXAMPLES = """\
examples:
  bench reproduce                             list the experiments
  bench reproduce spankl-ontonotes-split --help    show its settings and numbers
  bench reproduce spankl-ontonotes-split --data PATH --seeds 0,1,2
  bench reproduce spankl-fewnerd-split --data PATH --encoder minilm --max-sentences 600

You may change seeds, device, threads and files. Any other change of data, encoder or training (as
in the last example) makes the experiment a rehearsal, which shows no differences. Exit code 1: a
run failed, or a difference is beyond its margin.
"""


def add_parser(commands: Any) -> None:
    from cl_ner_bench.running.options import OPTIONS
    from cl_ner_bench.running.reproduce import FIXED, SET

    parser = add_command(
        commands,
        "reproduce",
        _execute,
        "run a published experiment and compare with the published numbers",
        usage="bench reproduce [PRESET] [options] | --list",
        description="Run a published experiment with all its orders, and show the differences from the published\n"
        "numbers. Without PRESET, list the experiments.",
        epilog=EXAMPLES,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this help, and what PRESET sets")
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="a name of `bench list presets`")
    parser.add_argument("--list", action="store_true", help="list the experiments, as without PRESET")
    names = [name for name in OPTIONS if name not in FIXED]
    add_options(parser, names, preset=SET)
    add_output_options(parser)
    parser.set_defaults(options=names)


def _execute(parsed: argparse.Namespace) -> int:
    if parsed.help:
        parsed.parser.print_help()
        if parsed.preset is not None:
            show("\n" + "\n".join(details(rows_of("presets", parsed.preset))))
        return 0
    if parsed.preset is None or parsed.list:
        show(as_table("presets", list_presets()))
        return 0
    from cl_ner_bench.running import grid
    from cl_ner_bench.running.reproduce import reproduction, with_differences

    options = given(parsed, parsed.options)
    asked = reproduction(parsed.preset, options)
    prepared = grid.prepare(asked.options, command=parsed.words, preset=asked.grid)
    plan = with_differences(asked, options, [run.record for run in prepared.runs])
    if plan.options != asked.options:  # a rehearsal has a folder of its own
        prepared = grid.prepare(plan.options, command=parsed.words, preset=plan.grid)
    if parsed.dry_run:
        from cl_ner_bench.cli.preview import preview

        show(preview(prepared))
        return 0
    outcome = carry_out(prepared, parsed.quiet)
    if outcome.code >= 128:
        return outcome.code

    from cl_ner_bench.analysis.comparison.agreement import DISAGREES, judge
    from cl_ner_bench.analysis.data.frames import load_results

    results = load_results(outcome.out)
    show_results(results, outcome.written, parsed.quiet)
    judgements = [] if plan.changes else judge(plan.setting, results)
    show(f"\n{as_text(plan, judgements)}")
    return max(outcome.code, int(any(j.verdict == DISAGREES for j in judgements)))


def as_text(plan: Reproduction, judgements: Sequence[Judgement]) -> str:
    """Return the end of the output: the source and its defects, then our numbers, the published numbers, differences
    and verdicts. A rehearsal has a note in place of the numbers."""
    from cl_ner_bench.analysis.scores.names import NAMES

    setting, preset = plan.setting, plan.setting.preset
    assert preset is not None, "presets() holds settings with a preset only"
    lines = wrapped(f"{setting.name}: {setting.source}; {setting.place}; {setting.evidence}")
    lines += [line for note in setting.notes for line in wrapped(f"- {note}")]
    if setting.defects:
        lines += wrapped(f"! The published numbers are of defective implementations: {setting.defects}")
    if plan.changes:
        text = f"A REHEARSAL ({'; '.join(plan.changes)}): no difference to the published numbers is shown."
        return "\n".join([*lines, "", *wrapped(text)])
    lines += ["", _as_table(judgements, NAMES), ""]
    lines += [line for j in judgements if j.why for line in wrapped(f"- {j.label}, {NAMES[j.measure].name}: {j.why}")]
    lines += wrapped(
        "agrees: the 90 % interval of the difference lies within the margin (two one-sided tests at 5 %). Margins: "
        f"{preset.why}."
    )
    lines += [line for deviation in preset.deviations for line in wrapped(f"known deviation: {deviation}")]
    return "\n".join(lines)


def _as_table(judgements: Sequence[Judgement], names: Mapping[str, Measure]) -> str:
    rows = []
    for j in judgements:
        interval = "-" if math.isnan(j.low) else f"{j.low:+.2f} to {j.high:+.2f}"
        ours, gap = ("-", "-") if math.isnan(j.ours.mean) else (f"{j.ours.mean:.2f}", f"{j.difference:+.2f}")
        numbers = [ours, str(j.n), f"{j.theirs.mean:.2f}", gap, interval, f"{j.margin:g}"]
        rows.append([j.method, names[j.measure].name, *numbers, j.verdict])
    header = ["method", "measure", "ours", "n", "theirs", "difference", "90 % interval", "margin", "verdict"]
    return table(header, rows)
