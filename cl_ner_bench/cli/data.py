"""`bench data`: show, check, split, convert or export a corpus."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.convert import add_convert
from cl_ner_bench.cli.output import note, show, show_json, write_file
from cl_ner_bench.cli.parsing import Parser, add_command, add_options, given
from cl_ner_bench.errors import UserError

if TYPE_CHECKING:
    from cl_ner_bench.corpora.sentence import Corpus

OPTIONS = ("data", "parts", "tasks", "scenario", "split_seed", "max_sentences")
CHECKED = ("data", "parts", "split_seed")


def add_parser(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "data",
        help="show, check, split, convert or export a corpus",
        description="Show, check, split, convert or export a corpus.",
        epilog="examples:\n  bench data show synthetic\n  bench data check path/to/folder\n"
        "  bench data convert names.conll corpus --parts 80,10,10 --format jsonl",
    )
    parser.set_defaults(parser=parser)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser, required=True)
    show_parser = add_command(
        actions,
        "show",
        _show,
        "show counts (by part, type, task, step), co-occurrence, licence, and how to get the corpus",
        epilog="examples:\n  bench data show synthetic\n  bench data show ontonotes --data PATH --order 3 --json\n"
        "  bench data show fewnerd --data PATH --scenario ocilner --figure hidden.png",
    )
    split_parser = add_command(
        actions,
        "split",
        _split,
        "write the task split to a file that `bench run --split FILE.json` uses",
        epilog="example:\n  bench data split synthetic --scenario filter --order 2 --out split.json\n"
        "  bench run --split split.json",
    )
    export_parser = add_command(
        actions,
        "export",
        _export,
        "write the sentences of each step for other code; `bench import` scores its predictions",
        description="Write what a method may see in each step (step-K/train.jsonl, dev.jsonl), the test sentences\n"
        "(test.jsonl) and the task split (split.json). docs/imported.md describes the files.",
        epilog="example:\n  bench data export synthetic --scenario filter --order 2 --out sentences",
    )
    check_parser = add_command(
        actions,
        "check",
        _check,
        "find problems in a corpus, each with file and line",
        description="Find problems in a corpus, each with file, line and repair. Exit code 1 if there is one.",
        epilog="examples:\n  bench data check path/to/folder\n  bench data check names.jsonl --parts 80,10,10\n"
        "  bench data check wnut17 --data PATH --all",
    )
    add_convert(actions, _corpus)
    for command in (show_parser, split_parser, export_parser, check_parser):
        command.add_argument(
            "dataset", metavar="DATASET|PATH", help="a name of `bench list datasets`, a card, or a folder of files"
        )
    for command in (show_parser, split_parser, export_parser):
        add_options(command, OPTIONS)
        command.add_argument("--order", dest="orders", metavar="K", help="number of the task order (default: 0)")
    show_parser.add_argument("--json", action="store_true", help="print JSON")
    show_parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help="draw labelled and unlabelled mentions (.png or .pdf), and write the numbers to a .csv of that name",
    )
    split_parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="file to write")
    export_parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    add_options(check_parser, CHECKED)
    check_parser.add_argument("--all", action="store_true", help="print all problems (default: 5 of each kind)")
    check_parser.add_argument("--json", action="store_true", help="print JSON")


def _corpus_and_split(parsed: argparse.Namespace, other: bool = False) -> Any:
    """Return a corpus and its task split. ``other``: use `filter` if it is too small for the default scenario."""
    from cl_ner_bench.running.grid_data import load, make_splits
    from cl_ner_bench.running.layers import layer

    with _dataset_without_flag():
        options = layer(given(parsed, ("dataset", "orders", *OPTIONS)))[0].options
        corpus = load(options)
        try:
            return corpus, make_splits(options, corpus)[0]
        except UserError as error:
            if not other or parsed.scenario:
                raise
            split = make_splits(replace(options, scenario="filter"), corpus)[0]
            note(f"{error} The steps below are those of the scenario filter.")
            return corpus, split


def _corpus(parsed: argparse.Namespace, options: Iterable[str]) -> Corpus:
    """Return the corpus that a command line names with some ``options`` of `bench run`."""
    from cl_ner_bench.running.grid_data import load
    from cl_ner_bench.running.layers import layer

    with _dataset_without_flag():
        return load(layer(given(parsed, ("dataset", *options)))[0].options)


@contextmanager
def _dataset_without_flag() -> Iterator[None]:
    """Remove ``--dataset`` from a UserError of the block, because these commands take the dataset without a flag."""
    try:
        yield
    except UserError as error:
        raise UserError(re.sub("^--dataset:? ", "", str(error))) from error


def _show(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.cli.overview import as_text
    from cl_ner_bench.scenarios.statistics import overview

    if parsed.figure is not None and parsed.figure.suffix not in (".png", ".pdf"):
        raise UserError(f"--figure {parsed.figure}: expected a name that ends in .png or .pdf")
    facts = overview(*_corpus_and_split(parsed, other=True))
    if parsed.figure is not None:
        from cl_ner_bench.analysis.figures.unlabelled import unlabelled_figure

        figure = unlabelled_figure(facts)
        write_file("--figure", parsed.figure, figure.to_bytes(parsed.figure.suffix[1:]))
        write_file("--figure", parsed.figure.with_suffix(".csv"), figure.frame.to_csv(index=False).encode())
        note(f"{parsed.figure}: {figure.caption}")
    if parsed.json:
        show_json(facts)
    else:
        show(as_text(facts))
    return 0


def _check(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.corpora.doctor import SHOWN, as_text, check
    from cl_ner_bench.running.grid_data import division
    from cl_ner_bench.running.layers import layer

    with _dataset_without_flag():
        options = layer(given(parsed, ("dataset", *CHECKED)))[0].options
        data = None if options.data is None else Path(options.data)
        diagnosis = check(options.dataset, data, None if parsed.all else SHOWN, division(options))
    if parsed.json:
        show_json(diagnosis.to_json(), ascii=True)
    else:
        show(as_text(diagnosis))
    return 0 if diagnosis.healthy else 1


def _split(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.storage.files import canonical

    _, split = _corpus_and_split(parsed)
    write_file("--out", parsed.out, f"{canonical(split.to_json())}\n".encode())
    note(f"{parsed.out}: {split.n_steps} tasks, split {split.hash[:12]}")
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.scenarios.export import exported

    corpus, split = _corpus_and_split(parsed)
    for name, content in exported(split, corpus):
        write_file("--out", parsed.out / name, content)
    note(f"{parsed.out}: {split.n_steps} steps, {len(split.test):,} test sentences, split {split.hash[:12]}")
    if corpus.card.licence:
        note(f"licence of {corpus.card.title}: {corpus.card.licence}")
    return 0
