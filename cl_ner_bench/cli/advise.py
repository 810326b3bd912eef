"""`bench advise`: recommend a method for one new type, from a small fair grid within a time budget."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import duration, note, show, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.errors import counted

if TYPE_CHECKING:
    from pathlib import Path

    from cl_ner_bench.analysis.comparison.compare import Comparison
    from cl_ner_bench.running.advising import CandidateGrid, Question
    from cl_ner_bench.running.estimate import Rates
    from cl_ner_bench.running.runs import Prepared

OF_THE_STEP = ("recipe", "epochs", "batch_size", "lr", "head_lr", "device", "precision", "threads")
OF_THE_CORPUS = ("dataset", "data", "parts", "split_seed")
OPTIONS = (*OF_THE_CORPUS, "tasks", "encoder", *OF_THE_STEP, "jobs", "out")
EXAMPLES = """\
examples:
  bench advise --dataset path/to/folder --new PRODUCT
  bench advise --dataset path/to/folder --new PRODUCT --shots 60 --minutes 60
  bench advise --dataset path/to/folder --dry-run      show the plan and the time that it needs

Each method first learns all types but one. Then it learns the new type, from sentences that label
no other type. Give the corpus that your model was trained on, and label the new type in it. If you
have no such labels, leave --new out: types of the corpus then stand in for the new one. Without
that corpus, no method can be tried. `bench extend` then learns the type, and prints what the old
types lose. Run the same command again to resume it, or to add runs with more --minutes.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "advise",
        _execute,
        "recommend a method for one new type",
        usage="bench advise --dataset PATH [--new TYPE] [options]",
        description="Recommend a method for one new type. Train methods on a small fair grid, and say which one is\n"
        "best, how sure that is, and what it costs.",
        epilog=EXAMPLES,
    )
    group = parser.add_argument_group("question")
    group.add_argument("--new", metavar="TYPE", help="the new type (default: the types of the corpus, in turn)")
    group.add_argument("--shots", metavar="N", help="number of mentions to learn the new type from (default: all)")
    group.add_argument("--minutes", metavar="N", default=20.0, help="time budget in minutes (default: 20)")
    add_options(parser, OPTIONS)
    output = parser.add_argument_group("output")
    output.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    output.add_argument("-q", "--quiet", action="store_true", help="print only the answer, warnings and errors")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.cli import run
    from cl_ner_bench.profiling.perf import quick_rates
    from cl_ner_bench.running.advising import Advising, Question, TooFewMinutesError
    from cl_ner_bench.running.option_values import number, parse_value
    from cl_ner_bench.storage.folder import ResultsFolder

    question = Question(
        given(parsed, OPTIONS),
        parsed.new,
        None if parsed.shots is None else parse_value(number(int, 1), parsed.shots, "--shots"),
        parse_value(number(float, 0.1), parsed.minutes, "--minutes"),
    )
    advising = Advising(question, quick_rates, parsed.words)
    try:
        grid = advising.plan()
    except TooFewMinutesError as error:
        if parsed.dry_run:
            show(_plan(question, error.smallest, advising.rates))
        raise
    plan = _plan(question, grid, advising.rates)
    if parsed.dry_run:
        show(plan)
        return 0
    if not parsed.quiet:
        note(plan)
    outcome = advising.run(grid, lambda prepared: run.carry_out(prepared, parsed.quiet))
    if outcome.code:
        return _failed(question.out, outcome.code)
    show("\n".join(_answer(question, advising.comparison(), grid.rounds)))
    if not parsed.quiet:
        pictures = [p for p in outcome.written if p.name.startswith("new_type-") and p.suffix == ".png"]
        for path in (*pictures, ResultsFolder.open(question.out).report_file):
            note(str(path))
    return 0


def _failed(out: Path, code: int) -> int:
    """Print the failed runs with their reasons, and return the exit code."""
    from cl_ner_bench.analysis.data.frames import load_results

    for run in load_results(out).runs:
        if run.status == "failed":
            note(f"{run.run_id}: {run.status}. {run.reason}")
    return code


def _plan(question: Question, grid: CandidateGrid, rates: Rates) -> str:
    """Return the plan: methods, newcomers with their mentions, sentences, runs and time."""
    from cl_ner_bench.running.advising import seconds_needed

    prepared = question.prepared(grid, question.out)
    return "\n".join(_plan_lines(question, grid, prepared, seconds_needed(prepared, rates)))


def _plan_lines(question: Question, grid: CandidateGrid, prepared: Prepared, seconds: float) -> Iterator[str]:
    from cl_ner_bench.analysis.comparison.compare import GROUPS

    corpus = prepared.plans[0].corpus
    by_group: dict[str, dict[str, None]] = {}
    for run in prepared.runs:
        by_group.setdefault(run.record.group, {})[run.record.method] = None
    methods = "; ".join(f"{GROUPS[group].lower()}: {', '.join(of)}" for group, of in by_group.items())
    news = []
    for split in prepared.plans[0].splits:
        type_, ids = split.tasks[-1].types[0], split.tasks[-1].train
        mentions = sum(m.type == type_ for i in ids for m in corpus.parts["train"][i].mentions)
        news.append(f"{type_} ({counted(mentions, 'mention')} in {counted(len(ids), 'sentence')})")
    used = question.size if grid.sentences is None else grid.sentences
    rounds = f"{counted(len(news), 'newcomer')}, {counted(len(prepared.options.seeds), 'seed')} each"
    rows = {
        "methods": methods,
        "newcomers": ", ".join(news),
        "not tried": ", ".join(t for t in question.types if t not in question.newcomers)
        if question.new is None
        else "",
        "sentences": f"{used:,} of {question.size:,} for training",
        "runs": f"{counted(len(prepared.runs), 'run')}: {rounds}",
        "time": f"about {duration(seconds)} of {question.minutes:g} min, with the report",
        "out": str(prepared.out),
    }
    yield "plan"
    for name, text in rows.items():
        if text:
            why = " (too few mentions)" if name == "not tried" else ""
            yield from wrapped(f"  {name:<12}{text}{why}", 14)
    for remark in _remarks(prepared):
        yield from wrapped(f"  {'note':<12}{remark}", 14)


def _remarks(prepared: Prepared) -> list[str]:
    from cl_ner_bench.scenarios.statistics import corpus_notes

    return corpus_notes(prepared.plans[0].corpus, *prepared.plans[0].splits)


def _answer(question: Question, c: Comparison, planned: int) -> Iterator[str]:
    """Yield the table, the sentences of the answer and the commands that follow it; ``planned``: number of rounds."""
    from cl_ner_bench.analysis.data.frames import load_results
    from cl_ner_bench.analysis.report.advice import advice
    from cl_ner_bench.analysis.tables.new_type import new_type_tables
    from cl_ner_bench.cli.results import table_text

    for table in new_type_tables(load_results(question.out)):
        if table.name.endswith(c.slug):
            yield f"{c.title}\n{table_text(table)}"
    found = advice(c, planned, question.size)
    yield ""
    for sentence in found.sentences:
        yield from wrapped(sentence, 0)
    if row := found.method:
        name = next(run for run in c.runs if c.row_of[run.run_id] == row).registry_name
        yield ""
        yield from _commands(question, row.group, name)


def _commands(question: Question, group: str, name: str) -> Iterator[str]:
    """Yield the commands with which a method learns the user's new type, with the settings of the grid.

    Methods of groups ``exemplar`` and ``closed-form`` cannot start from the user's model.
    """
    run = f"bench run --methods {name} --bounds none{_flags(question, OF_THE_CORPUS)}"
    if group == "exemplar":
        text = "A model does not hold the sentences that it keeps, so that both steps are learned in one run:"
        yield from wrapped(text, 0)
        order = question.types.index(question.new) if question.new else "NUMBER_OF_THE_NEW_TYPE"
        settings = _flags(question, ("tasks", "encoder", *OF_THE_STEP))
        yield f"{run} --scenario {question.scenario} --orders {order}{settings} --out NEW"
        yield "bench export NEW/runs/RUN_ID --out NEW_MODEL"
        return
    model = "MODEL"
    if group == "closed-form":
        model = "OLD/runs/RUN_ID"
        yield from wrapped(
            "It goes on from models that it has learned itself, so that it learns the old types, too:", 0
        )
        old = shlex.quote(",".join(t for t in question.types if t != question.new))
        yield f"{run} --tasks {old}{_flags(question, ('encoder', *OF_THE_STEP))} --out OLD"
    settings = _flags(question, ("parts", *OF_THE_STEP))
    yield f"bench extend {model} --data NEW_SENTENCES --method {name}{settings} --out NEW_MODEL"


def _flags(question: Question, names: Sequence[str]) -> str:
    """Return the options among ``names`` that the user gave, as a command line has them."""
    given = {name: question.given.get(name) for name in names}
    return "".join(f" --{k.replace('_', '-')} {shlex.quote(str(v))}" for k, v in given.items() if v is not None)
