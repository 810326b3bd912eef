"""`bench`: parse the command line, run the command, return its exit code.

Each command is a module. Its ``add_parser`` declares the command's arguments and function. The function itself imports
the modules it needs, so `bench --help` and `bench list` are fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from cl_ner_bench import __version__
from cl_ner_bench.cli.output import log_lines, note
from cl_ner_bench.cli.parsing import Parser
from cl_ner_bench.errors import UserError
from cl_ner_bench.untrusted import import_environment

COMMANDS = {
    "run": "run",
    "tune": "tune",
    "advise": "advise",
    "perf": "perf",
    "status": "status",
    "report": "report",
    "verify": "verify",
    "export": "export",
    "import": "import_results",
    "reproduce": "reproduce",
    "predict": "predict",
    "extend": "extend",
    "list": "list",
    "data": "data",
    "init-method": "init_method",
    "check-method": "check_method",
}
"""Commands in the order of the help, and their modules in this package."""

EXAMPLES = """\
examples:
  bench run                              compare the default methods on a generated corpus, offline
  bench run --methods spankl,extendner --dataset fewnerd --data PATH
  bench perf --dataset fewnerd --data PATH    estimate how long a grid takes here
  bench status results/synthetic-split   show the progress, on any machine that sees the folder
  bench report results/synthetic-split   write tables, figures and report again, without training
  bench verify results/synthetic-split   check all files and scores
  bench predict results/synthetic-split/runs/RUN_ID --file texts.txt    find mentions in text
  bench export results/mine/runs/RUN_ID --out my-model   write a model as a folder of its own
  bench extend MODEL --data PATH --out PATH    learn one more type on top of a model
  bench tune --methods spankl,extendner --dataset fewnerd --data PATH    choose hyper-parameters
  bench list methods
  bench check-method mine.py             check a method of your own
  bench data show synthetic

`bench COMMAND --help` explains a command. Exit codes: 0 done, 1 some run failed or a fault was
found, 2 wrong use or bad input, 130 / 143 stopped by Ctrl-C / SIGTERM. After a stop, run the same
command again to go on.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks must not end a grid
    if arguments is None:
        os.environ.update(import_environment())
    try:
        return _dispatch(sys.argv[1:] if arguments is None else [*arguments])
    except UserError as error:
        note(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        note("stopped")  # `bench run` itself tells how to resume
        return 130
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # flushing the buffer must not fail again
        return 0


def _dispatch(words: Sequence[str]) -> int:
    parser = Parser(
        prog="bench", description="The benchmark suite for continual named entity recognition.", epilog=EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"cl-ner-bench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:  # declare only the command in use
        import_module(f"cl_ner_bench.cli.{COMMANDS[name]}").add_parser(commands)
    parsed = parser.parse_known_command(words)
    if not hasattr(parsed, "execute"):
        parser.print_help()
        return 0
    parsed.words = ["bench", *words]
    with log_lines(getattr(parsed, "quiet", False)):
        code: int = parsed.execute(parsed)
    return code
