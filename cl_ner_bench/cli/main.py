"""`bench`: parse, call, print. Everything but the standard library is imported by the command that needs it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cl_ner_bench import __version__
from cl_ner_bench.cli.data import add_data
from cl_ner_bench.cli.output import log_lines
from cl_ner_bench.errors import UserError, did_you_mean, printable
from cl_ner_bench.untrusted import import_environment

if TYPE_CHECKING:
    from cl_ner_bench.analysis.data.frames import Results

RUN_EXAMPLES = """\
examples:
  bench run                                   the default methods on the generated corpus, offline
  bench run --methods spankl,extendner --dataset ontonotes --data PATH --orders all --seeds 0,1,2
  bench run --methods spankl,nokd=spankl --set nokd.kd_weight=0
  bench run --methods my_method.py --dry-run  what would be trained, where each value comes from
  bench run --config results/synthetic-split/experiment.toml --out again

Run the same command again to resume: finished steps are never trained again.
"""
PERF_EXAMPLES = """\
examples:
  bench perf                                  the default grid of `bench run`
  bench perf --methods spankl --dataset fewnerd --data PATH --orders all --seeds 0,1,2
  bench perf --precision bf16 --json

The options are those of `bench run`: what you would run is what is measured. Nothing is written.
"""
REPRODUCE_EXAMPLES = """\
examples:
  bench reproduce                             which experiments there are
  bench reproduce spankl-ontonotes-split --data PATH --seeds 0,1,2
  bench reproduce spankl-fewnerd-split --data PATH --encoder minilm --max-sentences 600

Only seeds, device, threads and files may differ from the preset. Any other change, of data, encoder
or training (as in the last line), makes it a rehearsal, which shows no difference. Exit code 1: a
difference beyond the margin was found.
"""
EXAMPLES = """\
examples:
  bench run                              the default comparison: generated corpus, offline encoder
  bench run --methods spankl,extendner --dataset fewnerd --data PATH
  bench perf --dataset fewnerd --data PATH    how fast that would be here, in about a minute
  bench status results/synthetic-split   how far that is, from any machine that sees the folder
  bench report results/synthetic-split   tables, figures and report again, without training
  bench verify results/synthetic-split   are all files whole, does every number follow?
  bench list methods
  bench data show synthetic

`bench COMMAND --help` explains a command. Exit codes: 0 done, 1 some run failed or a fault was
found, 2 wrong use or bad input, 130 / 143 stopped by Ctrl-C / SIGTERM (run it again to go on).
"""


class Parser(argparse.ArgumentParser):
    """Wrong use is a UserError with a suggestion, like every other mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = did_you_mean(wrong[1], re.findall(r"'(.*?)'", wrong[2])) if wrong else ""
        raise UserError(f"{message}.{hint} See `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shall not end a grid in a traceback
    if arguments is None:
        os.environ.update(import_environment())
    try:
        return _run_command(sys.argv[1:] if arguments is None else list(arguments))
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # `bench run` itself tells how to go on
        return 130
    except BrokenPipeError:  # `bench list | head`
        sys.stderr.close()
        return 0


def _run_command(words: list[str]) -> int:
    parser, commands = _parser()
    parsed, unknown = parser.parse_known_args(words)
    command = getattr(parsed, "command", None)
    if unknown:
        of = getattr(parsed, "parser", None) or commands.get(command or "", parser)
        hint = did_you_mean(unknown[0].partition("=")[0], list(of._option_string_actions))
        raise UserError(f"unknown argument {unknown[0]!r}.{hint} See `{of.prog} --help`")
    if command is None:
        parser.print_help()
        return 0
    parsed.words = ["bench", *words]
    with log_lines(getattr(parsed, "quiet", False)):
        code: int = parsed.function(parsed)
    return code


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="bench",
        description="The benchmark suite for continual named entity recognition.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"cl-ner-bench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    parsers = {
        "run": _add_run(commands),
        "perf": _add_perf(commands),
        "status": _add_status(commands),
        "report": _add_report(commands),
        "verify": _add_verify(commands),
        "reproduce": _add_reproduce(commands),
        "list": _add_list(commands),
        "data": add_data(commands),
    }
    return parser, parsers


def _add_run(commands: Any) -> Parser:
    from cl_ner_bench.running.options import OPTIONS

    parser: Parser = commands.add_parser(
        "run",
        help="train and compare methods",
        usage="bench run [options]",
        description="Train and compare methods.",
        epilog=RUN_EXAMPLES,
    )
    _add_options(parser, OPTIONS)
    show = parser.add_argument_group("output")
    show.add_argument("--dry-run", action="store_true", help="print the resolved plan and train nothing")
    show.add_argument("-v", "--verbose", action="store_true", help="say what is resolved before it starts")
    show.add_argument("-q", "--quiet", action="store_true", help="no progress, only the table and errors")
    parser.set_defaults(function=_run, command="run")
    return parser


def _add_perf(commands: Any) -> Parser:
    from cl_ner_bench.running.options import NOT_OF_THE_GRID, OPTIONS

    parser: Parser = commands.add_parser(
        "perf",
        help="how fast a grid would be on this machine",
        usage="bench perf [options]",
        description="Measure a grid on a sample: rates, share of the machine's limit, where the time goes, hours.",
        epilog=PERF_EXAMPLES,
    )
    # Where results go, and what becomes of runs that fail, has no part in it.
    names = [name for name in OPTIONS if name == "jobs" or name not in NOT_OF_THE_GRID]
    _add_options(parser, {name: OPTIONS[name] for name in names})
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(function=_perf, command="perf", options=names)
    return parser


def _perf(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.profiling.perf import as_text, perf
    from cl_ner_bench.running.grid import warn

    report = perf({name: getattr(parsed, name) for name in parsed.options}, parsed.config, warn)
    print(json.dumps(report, indent=1, ensure_ascii=False) if parsed.json else as_text(report))
    return 0


def _add_options(parser: Parser, options: Mapping[str, Field[Any]], config: bool = True) -> None:
    """The options of a grid, by group, and the file that may hold them."""
    titles = dict.fromkeys(option.metadata["group"] for option in options.values())
    groups = {title: parser.add_argument_group(title) for title in titles}
    for name, option in options.items():
        group, flag = groups[option.metadata["group"]], f"--{name.replace('_', '-')}"
        text = option.metadata["help"].replace("%", "%%")  # argparse formats with %
        if isinstance(option.default, bool):
            group.add_argument(flag, action="store_true", default=None, help=text)
        else:
            action = "append" if option.default_factory is dict else "store"
            text += _default(option.default)
            group.add_argument(flag, metavar=option.metadata["metavar"], action=action, help=text)
    if config:
        files = groups.get("files", parser)
        files.add_argument("--config", metavar="FILE.toml", help="the same keys in a file; flags stand above it")


def _default(value: Any) -> str:
    if value is None or value is MISSING:
        return ""
    return f" (default: {','.join(map(str, value)) if isinstance(value, tuple) else value})"


def _run(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.grid import carry_out, prepare, warn
    from cl_ner_bench.running.options import OPTIONS

    prepared = prepare({name: getattr(parsed, name) for name in OPTIONS}, parsed.config, parsed.words)
    if parsed.dry_run or parsed.verbose:
        from cl_ner_bench.running.preview import preview

        text = preview(prepared)
        print(text, file=sys.stdout if parsed.dry_run else sys.stderr)
        if parsed.dry_run:
            return 0
    outcome = carry_out(prepared, parsed.quiet)
    if outcome.code >= 128:
        warn(f"stopped; run the same command again to go on ({outcome.out})")
        return outcome.code

    from cl_ner_bench.analysis.data.frames import load_results

    _print_results(load_results(outcome.out), outcome.written, parsed.quiet)
    return outcome.code


def _print_results(results: Results, written: Iterable[Path], quiet: bool = False) -> None:
    from cl_ner_bench.analysis.tables.scores import terminal_table

    print(printable(terminal_table(results)))
    for damaged in results.damaged:
        print(printable(f"left out: {damaged}"), file=sys.stderr)
    if not quiet:
        many = ("tables", "figures")  # these folders hold a file for each view and corpus
        lines = dict.fromkeys(f"{path.parent}/" if path.parent.name in many else str(path) for path in written)
        print("\n".join(lines), file=sys.stderr)


def _add_status(commands: Any) -> Parser:
    parser: Parser = commands.add_parser(
        "status",
        help="how far a grid is that runs elsewhere",
        description="What of a grid is done, runs (and where), failed, waits; and how long it takes still.\n"
        "Works while any other process or machine learns it.",
        epilog="examples:\n  bench status results/synthetic-split --watch\n"
        "  bench status results/synthetic-split --json\n"
        "  bench status results/synthetic-split --store s3://bucket/grid",
    )
    parser.add_argument("folder", type=Path, metavar="RESULTS_DIR")
    parser.add_argument(
        "--store", metavar="URL", help="bring RESULTS_DIR up to date first: the object store of the grid"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="go on until nothing runs: live on a terminal, else lines")
    how.add_argument("--json", action="store_true", help="as JSON, with every run")
    parser.set_defaults(function=_status, command="status")
    return parser


def _status(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.status import Reader, watch

    if parsed.watch:
        watch(parsed.folder, parsed.store)
        return 0
    status = Reader(parsed.folder, parsed.store).read()
    print(json.dumps(status.to_json(), indent=1, ensure_ascii=False) if parsed.json else "\n".join(status.lines()))
    return 0


def _add_report(commands: Any) -> Parser:
    parser: Parser = commands.add_parser(
        "report",
        help="tables, figures and report.html from stored results",
        description="Tables, figures and report.html from what results folders store. Never trains.",
        epilog="example:\n  bench report results/synthetic-split results/more --out both\n"
        "  bench report results/synthetic-split --style slides --format png,svg",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="RESULTS_DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: the first folder)")
    texts = parser.add_argument_group("examples of forgetting")
    texts.add_argument(
        "--examples", action="store_true", help="write examples.md: sentences that went from right to wrong"
    )
    texts.add_argument("--data", type=Path, metavar="PATH", help="where the corpus lies now (default: where it was)")
    texts.add_argument(
        "--examples-per-type", type=int, default=3, metavar="N", help="at most N examples of a type (default: 3)"
    )
    looks = parser.add_argument_group("figures")
    looks.add_argument("--style", default="paper", metavar="paper|slides", help="for print or slides (default: paper)")
    looks.add_argument(
        "--format", default="pdf,png", metavar="LIST", help="file formats out of pdf, png, svg (default: pdf,png)"
    )
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--columns",
        type=int,
        choices=(1, 2),
        default=2,
        metavar="1|2",
        help="LaTeX tables over one column or two (default: 2)",
    )
    tables.add_argument(
        "--form",
        choices=("wide", "long"),
        default="wide",
        metavar="wide|long",
        help="long: a number a row (default: wide)",
    )
    tables.add_argument(
        "--caption",
        action="append",
        default=[],
        metavar="TABLE=TEXT",
        help="instead of the caption of the tables whose names begin with TABLE (main, steps-all); may be repeated",
    )
    tables.add_argument(
        "--label-prefix", default="tab:", metavar="TEXT", help="before names in \\label (default: tab:)"
    )
    parser.set_defaults(function=_report, command="report")
    return parser


def _report(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.analysis.figures.style import formats_of, style_of

    style, formats = style_of(parsed.style).name, formats_of(parsed.format)  # before anything is read

    from cl_ner_bench.analysis.report.files import finished_results, write_files
    from cl_ner_bench.analysis.tables.text import TableLayout

    captions = dict(caption.partition("=")[::2] for caption in parsed.caption)
    layout = TableLayout(parsed.columns, parsed.form, captions, parsed.label_prefix)
    out = parsed.out or parsed.folders[0]
    results = finished_results(parsed.folders)
    if parsed.examples:  # first: a corpus that is not there is told before a long report
        from cl_ner_bench.running.examples import write_examples

        print(write_examples(results, out, parsed.data, parsed.examples_per_type)[1], end="\n\n")
    written = write_files(results, out, style, formats, layout)
    _print_results(results, written)
    return 0


def _add_verify(commands: Any) -> Parser:
    parser: Parser = commands.add_parser(
        "verify",
        help="is every file what was written, does every number follow?",
        description="Check all seals and checksums of a results folder, and derive all counts and scores from the\n"
        "stored predictions again. Exit 1 where a fault was found; each is told with its repair.",
        epilog="example:\n  bench verify results/synthetic-split --json",
    )
    parser.add_argument("folder", type=Path, metavar="RESULTS_DIR")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(function=_verify, command="verify")
    return parser


def _verify(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.analysis.verify import verify

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    found = verify(parsed.folder, say)
    say("")
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if parsed.json else printable(found.as_text()))
    return 1 if found.faults else 0


def _add_reproduce(commands: Any) -> Parser:
    from cl_ner_bench.running.options import OPTIONS
    from cl_ner_bench.running.reproduce import FIXED

    parser: Parser = commands.add_parser(
        "reproduce",
        help="a published experiment with its grid, and its difference to the published numbers",
        usage="bench reproduce [PRESET] [options]",
        description="Run a published experiment with all its orders, and show how far the published numbers are.\n"
        "Without PRESET: which there are.",
        epilog=REPRODUCE_EXAMPLES,
    )
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="as `bench list presets` names them")
    names = [name for name in OPTIONS if name not in FIXED]
    _add_options(parser, {name: OPTIONS[name] for name in names}, config=False)
    show = parser.add_argument_group("output")
    show.add_argument("--dry-run", action="store_true", help="print the resolved plan and train nothing")
    show.add_argument("-q", "--quiet", action="store_true", help="no progress, only the tables and errors")
    parser.set_defaults(function=_reproduce, command="reproduce", options=names)
    return parser


def _reproduce(parsed: argparse.Namespace) -> int:
    if parsed.preset is None:
        from cl_ner_bench.running.listing import list_presets, table

        print(table("presets", list_presets()))
        return 0
    from cl_ner_bench.running.grid import carry_out, prepare, warn
    from cl_ner_bench.running.reproduce import as_found, as_text, reproduction

    given = {name: getattr(parsed, name) for name in parsed.options}
    asked = reproduction(parsed.preset, given)
    prepared = prepare(asked.options, command=parsed.words)
    plan = as_found(asked, given, [run.record for run in prepared.runs])
    if plan.options != asked.options:  # a rehearsal has a folder of its own
        prepared = prepare(plan.options, command=parsed.words)
    if parsed.dry_run:
        from cl_ner_bench.running.preview import preview

        print(preview(prepared))
        return 0
    outcome = carry_out(prepared, parsed.quiet)
    if outcome.code >= 128:
        warn(f"stopped; run the same command again to go on ({outcome.out})")
        return outcome.code

    from cl_ner_bench.analysis.comparison.agreement import DISAGREES, judge
    from cl_ner_bench.analysis.data.frames import load_results

    results = load_results(outcome.out)
    _print_results(results, outcome.written, parsed.quiet)
    judgements = [] if plan.changes else judge(plan.setting, results)
    print(f"\n{as_text(plan, judgements)}")
    return max(outcome.code, int(any(j.verdict == DISAGREES for j in judgements)))


def _add_list(commands: Any) -> Parser:
    from cl_ner_bench.running.listing import KINDS, WIDE

    parser: Parser = commands.add_parser(
        "list",
        help="what there is to choose from",
        usage="bench list KIND [NAME] [options]",
        description="What there is to choose from; with NAME, or -v, all that is known of it.",
        epilog="examples:\n  bench list methods\n"
        "  bench list methods spankl      its paper, status, deviations, settings\n"
        "  bench list methods -v\n  bench list datasets --json\n\n"
        f"A terminal of {WIDE} columns shows papers, status and deviations in the table of methods.",
    )
    parser.add_argument("kind", choices=list(KINDS), metavar=" | ".join(KINDS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-v", "--verbose", action="store_true", help="all that is known of each")
    how.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(function=_list, command="list")
    return parser


def _list(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.listing import KINDS, WIDTH, broken, details, named, table

    rows = KINDS[parsed.kind]() if parsed.name is None else named(parsed.kind, parsed.name)
    wrong = broken(parsed.kind) if parsed.name is None else {}
    if parsed.json:
        more = {"broken": [{"name": name, "error": error} for name, error in wrong.items()]} if wrong else {}
        print(json.dumps({"schema": 1, parsed.kind: rows, **more}, indent=1, ensure_ascii=False))
        return 0
    width = max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    in_full = parsed.verbose or parsed.name is not None
    print(printable(details(rows, width) if in_full else table(parsed.kind, rows, width)))
    for name, error in wrong.items():
        print(printable(f"broken: {name}: {error}"))
    return 0
