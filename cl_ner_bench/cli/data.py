"""`bench data`: a corpus looked at, examined, and split."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError


def add_data(commands: Any) -> Any:
    """Add the command to ``commands``, the subparsers of `bench`; returns its parser."""
    parser = commands.add_parser("data", help="look at a corpus and its tasks", description="Look at a corpus.")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=type(parser), required=True)
    show = actions.add_parser(
        "show",
        help="counts per split, type, task and step; co-occurrence; licence; how to get it",
        epilog="examples:\n  bench data show synthetic\n  bench data show ontonotes --data PATH --order 3 --json\n"
        "  bench data show fewnerd --data PATH --scenario ocilner --figure hidden.png",
    )
    split = actions.add_parser(
        "split",
        help="the task split as a manifest; `run --split FILE.json` replays it",
        epilog="example:\n  bench data split synthetic --scenario filter --order 2 --out split.json\n"
        "  bench run --split split.json",
    )
    check = actions.add_parser(
        "check",
        help="the corpus doctor: every problem with file:line; exit 1 where one was found",
        description="The corpus doctor: every problem with file:line and what to do. Exit 1 where one was found.",
        epilog="examples:\n  bench data check path/to/folder\n  bench data check wnut17 --data PATH --all",
    )
    check.add_argument("dataset", metavar="DATASET|PATH")
    check.add_argument("--data", type=Path, metavar="PATH", help="where your own copy of the corpus lies")
    check.add_argument("--all", action="store_true", help="show all findings (default: the first 5 of each kind)")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(function=_data_check, command="data")
    for command in (show, split, check):
        command.set_defaults(parser=command)
    for command in (show, split):
        command.add_argument("dataset", metavar="DATASET|PATH")
        for flag, metavar, text in (
            ("--data", "PATH", "where your own copy of the corpus lies"),
            ("--tasks", "TASKS", 'tasks and their order by hand, as "ORG;PERSON;GPE,DATE"'),
            ("--scenario", "NAME", "as `bench list scenarios` names them, or a FILE.toml (default: split)"),
            ("--split-seed", "N", "seed of the task split (default: 1)"),
            ("--max-sentences", "N", "a sample of N train sentences"),
        ):
            command.add_argument(flag, metavar=metavar, help=text)
        command.add_argument("--order", dest="orders", metavar="K", help="order of the tasks (default: 0)")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help="draw labelled and hidden mentions (.png, .pdf; numbers as .csv beside)",
    )
    split.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where to write it")
    show.set_defaults(function=_data_show, command="data")
    split.set_defaults(function=_data_split, command="data")
    return parser


def _corpus_and_split(parsed: argparse.Namespace) -> Any:
    from cl_ner_bench.running.options import layer
    from cl_ner_bench.running.plan import load, make_splits

    names = ("dataset", "data", "tasks", "scenario", "split_seed", "max_sentences", "orders")
    options = layer({name: getattr(parsed, name) for name in names})[0].options
    corpus = load(options)
    return corpus, make_splits(options, corpus)[0]


def _data_show(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.scenarios.statistics import as_text, overview

    if parsed.figure is not None and parsed.figure.suffix not in (".png", ".pdf"):
        raise UserError(f"--figure {parsed.figure}: expected a name that ends in .png or .pdf")
    found = overview(*_corpus_and_split(parsed))
    if parsed.figure is not None:
        from cl_ner_bench.analysis.figures.unlabelled import unlabelled_figure

        picture = unlabelled_figure(found)
        _write("--figure", parsed.figure, picture.to_bytes(parsed.figure.suffix[1:]))
        _write("--figure", parsed.figure.with_suffix(".csv"), picture.frame.to_csv(index=False).encode())
        print(f"{parsed.figure}: {picture.caption}", file=sys.stderr)
    print(json.dumps(found, indent=1, ensure_ascii=False) if parsed.json else as_text(found))
    return 0


def _data_check(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.corpora.doctor import SHOWN, as_text, check

    diagnosis = check(parsed.dataset, parsed.data, None if parsed.all else SHOWN)
    print(json.dumps(diagnosis.to_json(), indent=1) if parsed.json else as_text(diagnosis))
    return 0 if diagnosis.healthy else 1


def _data_split(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.storage.store import canonical

    _, split = _corpus_and_split(parsed)
    _write("--out", parsed.out, f"{canonical(split.to_json())}\n".encode())
    print(f"{parsed.out}: {split.n_steps} tasks, split {split.hash[:12]}", file=sys.stderr)
    return 0


def _write(flag: str, path: Path, content: bytes) -> None:
    from cl_ner_bench.storage.store import write_bytes

    try:
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be written ({error.strerror}); pass another name") from None
