"""`bench import`: score predictions of other code, and show them beside the suite's own runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import note
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.cli.results import show_results
from cl_ner_bench.errors import UserError

OPTIONS = ("dataset", "data", "parts", "tasks", "scenario", "split_seed", "split", "max_sentences", "out")
EXAMPLES = """\
examples:
  bench data export synthetic --order 0 --out sentences      write the data for other code
  bench import after-*.jsonl --method Mine --dataset synthetic --order 0 --encoder roberta-base
  bench import answers.jsonl --method "LLM, 5 examples" --dataset fewnerd --data PATH --encoder NAME
  bench import step2.conll --step 2 --method Mine --dataset synthetic --split sentences/split.json

A file holds predictions for every test sentence after one step: JSON lines
{"id": 0, "pred": [[start, end, type], ...]}, or CoNLL columns with `# id = 0` before each sentence.
docs/imported.md describes both forms and the checks.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "import",
        _execute,
        "score predictions of other code, and store them as a run",
        usage="bench import PREDICTIONS... --method NAME [options]",
        description="Score predictions of other code or of a language model, and store them as a run in a results\n"
        "folder. Tables, figures and report.html show that run beside the others, marked as imported.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="PREDICTIONS", help="file of the predictions after a step"
    )
    run = parser.add_argument_group("the run")
    run.add_argument("--method", required=True, metavar="NAME", help="name of the row in tables and figures")
    run.add_argument(
        "--step",
        metavar="K,...",
        help="step of each file (default: the last step for one file; steps 1, 2, ... for as many files as steps)",
    )
    run.add_argument("--order", dest="orders", metavar="K", help="number of the task order (default: 0)")
    run.add_argument("--seed", dest="seeds", metavar="N", help="number of the repetition (default: 0)")
    run.add_argument(
        "--encoder",
        default="unknown",
        metavar="NAME",
        help="encoder or model behind the predictions (default: unknown)",
    )
    run.add_argument(
        "--about", default="", metavar="TEXT", help="the settings, in your words: training, prompt, version"
    )
    run.add_argument("--replace", action="store_true", help="replace an earlier import of the same run and steps")
    add_options(parser, OPTIONS)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--no-report", action="store_true", help="store the run, but write no tables, figures or report.html"
    )
    output.add_argument("-q", "--quiet", action="store_true", help="print only the results, warnings and errors")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.importing import Origin, import_predictions
    from cl_ner_bench.running.option_values import numbers

    try:
        steps = None if parsed.step is None else numbers(parsed.step)
    except ValueError:
        raise UserError(f"--step {parsed.step!r}: expected the number of each file's step, as in --step 1,2") from None
    origin = Origin(parsed.method, parsed.encoder, parsed.about)
    chosen = given(parsed, (*OPTIONS, "orders", "seeds"))
    out, record = import_predictions(parsed.files, steps, origin, chosen, parsed.replace)
    if not parsed.quiet:
        n = len(record.steps)
        note(f"{record.run_id}: step{'s' * (n > 1)} {', '.join(map(str, record.steps))} of {record.n_steps} in {out}")
    if record.status != "done":
        note(f"{record.reason}; tables show the run after that import")
    elif not parsed.no_report:
        from cl_ner_bench.analysis.data.frames import load_results
        from cl_ner_bench.analysis.report.files import write_report

        written = write_report([out], out)
        show_results(load_results(out), written, parsed.quiet)
    return 0
