"""`bench run`: train and compare methods."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import note, show
from cl_ner_bench.cli.parsing import Parser, add_command, add_options, given
from cl_ner_bench.cli.results import show_results

if TYPE_CHECKING:
    from cl_ner_bench.running.grid import Outcome
    from cl_ner_bench.running.runs import Prepared

log = logging.getLogger(__name__)
EXAMPLES = """\
examples:
  bench run                                   the default methods on the generated corpus, offline
  bench run --methods spankl,extendner --dataset ontonotes --data PATH --orders all --seeds 0,1,2
  bench run --methods spankl,nokd=spankl --set nokd.kd_weight=0
  bench run --methods my_method.py --dry-run  show what would be trained, with which values
  bench run --config results/synthetic-split/experiment.toml --out again

Run the same command again to resume: finished steps are never trained again.
"""


def add_parser(commands: Any) -> None:
    from cl_ner_bench.running.options import OPTIONS

    parser = add_command(
        commands, "run", _execute, "train and compare methods", usage="bench run [options]", epilog=EXAMPLES
    )
    add_options(parser, OPTIONS, config=True)
    add_output_options(parser).add_argument(
        "-v", "--verbose", action="store_true", help="print the resolved plan to stderr before training"
    )


def add_output_options(parser: Parser) -> Any:
    """Add the options for the output of a command that trains, and return their group."""
    group = parser.add_argument_group("output")
    group.add_argument("--dry-run", action="store_true", help="print the resolved plan and train nothing")
    group.add_argument("-q", "--quiet", action="store_true", help="print only the results, warnings and errors")
    return group


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running import grid
    from cl_ner_bench.running.options import OPTIONS

    prepared = grid.prepare(given(parsed, OPTIONS), parsed.config, parsed.words)
    if parsed.dry_run or parsed.verbose:
        from cl_ner_bench.cli.preview import preview

        (show if parsed.dry_run else note)(preview(prepared))
        if parsed.dry_run:
            return 0
    outcome = carry_out(prepared, parsed.quiet)
    if outcome.code < 128:
        from cl_ner_bench.analysis.data.frames import load_results

        show_results(load_results(outcome.out), outcome.written, parsed.quiet)
    return outcome.code


def carry_out(prepared: Prepared, quiet: bool) -> Outcome:
    """Learn the missing steps and show the progress. After a stop, tell how to resume."""
    from cl_ner_bench.cli.live import progress_on_stderr
    from cl_ner_bench.running import grid

    outcome = grid.carry_out(prepared, None if quiet else progress_on_stderr)
    if outcome.code >= 128:
        log.warning(f"stopped; run the same command again to go on ({outcome.out})")
    return outcome
